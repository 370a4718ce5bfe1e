//! UserTokenView: what a player has got, per token.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use laurel_events::{Amount, OrgId, PlayerId};
use laurel_ledger::LedgerError;
use sqlx::PgConnection;

use crate::{GrantFilter, list_grant_views};

/// A player's grants in one token, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenBalance {
    /// Paid, in a final block.
    pub completed: Amount,
    /// On its way.
    pub pending: Amount,
}

/// How many grants of one player are summed up at the most; a player has some thousands in a lifetime.
const GRANTS_MAX: i64 = 100_000;

/// A player's balances, by chain and token. Derived from the player's grants: a kept row per player would cost every
/// grant more than all stages together.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn token_balances(
    conn: &mut PgConnection,
    org: OrgId,
    player: PlayerId,
) -> Result<BTreeMap<(u64, Address), TokenBalance>, LedgerError> {
    let filter = GrantFilter { player: Some(player), ..GrantFilter::default() };
    let mut balances: BTreeMap<(u64, Address), TokenBalance> = BTreeMap::new();
    for grant in list_grant_views(conn, org, &filter, GRANTS_MAX).await? {
        let balance = balances.entry((grant.chain_id, grant.token)).or_default();
        match grant.state.as_str() {
            "completed" => balance.completed = balance.completed.plus(grant.amount)?,
            "failed" | "compensated" => {}
            _ => balance.pending = balance.pending.plus(grant.amount)?,
        }
    }
    Ok(balances)
}
