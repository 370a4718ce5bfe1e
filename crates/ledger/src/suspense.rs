//! What the chain paid without a hold of ours.

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_events::{SettledSegment, Sighting};
use sqlx::PgConnection;

use crate::{LedgerError, Written, numeric::amount_to_sql};

/// Books a payment that no batch explains, unless it is booked.
///
/// # Errors
/// [`LedgerError::ExistsDifferent`], or if the vault is none of ours or the database does not answer.
pub async fn record_suspense(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    sighting: &Sighting,
    settled: &SettledSegment,
) -> Result<Written, LedgerError> {
    let vault = sqlx::query_scalar!(
        "SELECT id FROM vaults WHERE chain_id = $1 AND address = $2",
        sighting.chain_id.cast_signed(),
        sighting.vault.as_slice(),
    )
    .fetch_optional(&mut *conn)
    .await?
    .ok_or_else(|| LedgerError::inconsistent("vaults", "address", sighting.vault))?;
    let created = sqlx::query!(
        r#"
        INSERT INTO suspense (chain_id, tx, vault, on_chain_campaign, first_seq, amount, reason, recorded_at)
        VALUES ($1, $2, $3, $4, $5, $6, 'no batch of this ledger', $7)
        ON CONFLICT DO NOTHING
        "#,
        sighting.chain_id.cast_signed(),
        sighting.tx.as_slice(),
        vault,
        BigDecimal::from(settled.campaign.on_chain()),
        BigDecimal::from(settled.first_seq),
        amount_to_sql(settled.total),
        now,
    )
    .execute(&mut *conn)
    .await?;
    if created.rows_affected() == 1 {
        return Ok(Written::Created);
    }
    let found = sqlx::query_scalar!(
        r#"
        SELECT amount FROM suspense
        WHERE chain_id = $1 AND tx = $2 AND on_chain_campaign = $3 AND first_seq = $4
        "#,
        sighting.chain_id.cast_signed(),
        sighting.tx.as_slice(),
        BigDecimal::from(settled.campaign.on_chain()),
        BigDecimal::from(settled.first_seq),
    )
    .fetch_one(conn)
    .await?;
    if found == amount_to_sql(settled.total) {
        Ok(Written::Exists)
    } else {
        let id = format!("{}/{}/{}", sighting.tx, settled.campaign, settled.first_seq);
        Err(LedgerError::ExistsDifferent { transfer: "suspense", id, field: "amount" })
    }
}
