//! `GET /v1/audit/vaults`

use std::time::Duration;

use alloy_primitives::Address;
use axum::{Json, extract::State};
use laurel_chain::{Holdings, vault_holdings};
use laurel_events::Amount;
use laurel_views::{VaultShare, vault_shares};
use moka::future::Cache;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{ApiState, Principal, Problem, extract::Page};

/// How old what a node said gets at the most: a few blocks, in which whoever asks again costs nothing.
const FRESH: Duration = Duration::from_secs(5);

/// How many tokens of vaults are kept.
const KEPT_MAX: u64 = 10_000;

/// What vaults held a moment ago, by chain, vault and token. Organisations that share a vault share what was asked of it.
#[derive(Clone, Debug)]
pub(crate) struct HoldingsCache(Cache<(u64, Address, Address), Holdings>);

impl Default for HoldingsCache {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(KEPT_MAX).time_to_live(FRESH).build())
    }
}

impl HoldingsCache {
    /// What a vault holds, asked once for all who ask at the same time.
    async fn get(&self, state: &ApiState, share: &VaultShare) -> Result<Holdings, Problem> {
        let VaultShare { chain_id, vault, token, .. } = *share;
        let ask = async {
            let node = state.nodes.get(&chain_id);
            let node = node.ok_or_else(|| Problem::internal("a vault on a chain that is not configured"))?;
            Ok::<_, Problem>(vault_holdings(&**node, vault, token).await?)
        };
        self.0.try_get_with((chain_id, vault, token), ask).await.map_err(|problem| (*problem).clone())
    }
}

/// What a vault holds of a token, in base units, and what of it the organisation's campaigns have.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct VaultOut {
    /// The chain.
    chain_id: u64,
    /// The vault.
    vault: String,
    /// The token.
    token: String,
    /// All that the vault holds, in a block of the last seconds.
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
    for share in shares {
        let Holdings { balance, uncommitted } = state.holdings().get(&state, &share).await?;
        let VaultShare { chain_id, vault, token, available, reserved } = share;
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
