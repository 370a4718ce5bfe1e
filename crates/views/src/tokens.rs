//! UserTokenView: what a player has got, per token.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use laurel_events::{Amount, OrgId, PlayerId};
use laurel_ledger::{LedgerError, amount_from_sql};
use sqlx::PgConnection;

/// A player's grants in one token, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenBalance {
    /// Paid, in a final block.
    pub completed: Amount,
    /// On its way.
    pub pending: Amount,
}

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
    let rows = sqlx::query!(
        r#"
        SELECT v.chain_id, c.token,
               coalesce(sum(g.amount) FILTER (WHERE g.state = 'completed'), 0) AS "completed!",
               coalesce(sum(g.amount) FILTER (WHERE g.state NOT IN ('completed', 'failed', 'compensated')), 0)
                   AS "pending!"
        FROM grant_states g
        JOIN campaigns c ON c.id = g.campaign
        JOIN vaults v ON v.id = c.vault
        WHERE g.player = $2 AND c.org = $1
        GROUP BY v.chain_id, c.token
        "#,
        org.0,
        player.uuid(),
    )
    .fetch_all(conn)
    .await?;
    let mut balances = BTreeMap::new();
    for row in rows {
        let token = Address::try_from(row.token.as_slice()).map_err(|_| LedgerError::Inconsistent {
            table: "campaigns",
            column: "token",
            id: player.to_string(),
        })?;
        let completed = amount_from_sql(&row.completed, "grants", "amount", player)?;
        let pending = amount_from_sql(&row.pending, "grants", "amount", player)?;
        balances.insert((row.chain_id.cast_unsigned(), token), TokenBalance { completed, pending });
    }
    Ok(balances)
}
