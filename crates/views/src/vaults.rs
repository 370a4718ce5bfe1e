//! What the campaigns of an organisation have in each vault.

use alloy_primitives::Address;
use laurel_events::{Amount, OrgId};
use laurel_ledger::{LedgerError, amount_from_sql};
use sqlx::PgConnection;

/// What the campaigns of an organisation have of a token in a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultShare {
    /// The chain.
    pub chain_id: u64,
    /// The vault.
    pub vault: Address,
    /// The token.
    pub token: Address,
    /// Free for grants.
    pub available: Amount,
    /// Held for grants under way.
    pub reserved: Amount,
}

/// What the organisation's campaigns have in each vault, by chain, vault and token.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn vault_shares(conn: &mut PgConnection, org: OrgId) -> Result<Vec<VaultShare>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT v.chain_id, v.address, c.token, sum(a.available) AS "available!", sum(a.reserved) AS "reserved!"
        FROM campaigns c
        JOIN vaults v ON v.id = c.vault
        JOIN accounts a ON a.campaign = c.id
        WHERE c.org = $1
        GROUP BY v.chain_id, v.address, c.token
        ORDER BY v.chain_id, v.address, c.token
        "#,
        org.0,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let id = row.chain_id;
            let address = |bytes: &[u8], table, column| {
                Address::try_from(bytes).map_err(|_| LedgerError::Inconsistent {
                    table,
                    column,
                    id: id.to_string(),
                })
            };
            Ok(VaultShare {
                chain_id: id.cast_unsigned(),
                vault: address(&row.address, "vaults", "address")?,
                token: address(&row.token, "campaigns", "token")?,
                available: amount_from_sql(&row.available, "accounts", "available", id)?,
                reserved: amount_from_sql(&row.reserved, "accounts", "reserved", id)?,
            })
        })
        .collect()
}
