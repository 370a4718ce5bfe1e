//! `GET /v1/audit/vaults`

use axum::{Json, extract::State};
use laurel_chain::{Holdings, vault_holdings};
use laurel_events::Amount;
use laurel_views::{VaultShare, vault_shares};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{ApiState, Principal, Problem, extract::Page};

/// What a vault holds of a token, in base units, and what of it the organisation's campaigns have.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct VaultOut {
    /// The chain.
    chain_id: u64,
    /// The vault.
    vault: String,
    /// The token.
    token: String,
    /// All that the vault holds, in the latest block.
    #[schema(value_type = String)]
    balance: Amount,
    /// What of that no campaign of anybody has a cap for: nobody is owed it, and the vault's owner may withdraw it.
    #[schema(value_type = String)]
    uncommitted: Amount,
    /// What the books have free for grants of the organisation's campaigns.
    #[schema(value_type = String)]
    available: Amount,
    /// What they hold for grants under way.
    #[schema(value_type = String)]
    reserved: Amount,
}

/// What the vaults hold that nobody is owed
///
/// Asked of the chains, of each vault and token that campaigns of the organisation pay from.
#[utoipa::path(
    get, path = "/audit/vaults", tag = "audit", operation_id = "list_vaults",
    responses((status = 200, body = Page<VaultOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
) -> Result<Json<Page<VaultOut>>, Problem> {
    let shares = vault_shares(&mut *state.read_pool.acquire().await?, principal.org).await?;
    let mut items = Vec::with_capacity(shares.len());
    for VaultShare { chain_id, vault, token, available, reserved } in shares {
        let node = state.nodes.get(&chain_id);
        let node = node.ok_or_else(|| Problem::internal("a vault on a chain that is not configured"))?;
        let Holdings { balance, uncommitted } = vault_holdings(&**node, vault, token).await?;
        items.push(VaultOut {
            chain_id,
            vault: vault.to_checksum(None),
            token: token.to_checksum(None),
            balance,
            uncommitted,
            available,
            reserved,
        });
    }
    Ok(Json(Page { items, next: None }))
}
