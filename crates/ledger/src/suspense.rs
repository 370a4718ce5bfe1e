//! What the chain paid without a hold of ours.

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_events::{SettledSegment, Sighting};
use sqlx::PgConnection;

use crate::{LedgerError, Written, numeric::amount_to_sql};

/// Books a payment that no batch explains, unless it is booked. Each log of a transaction is a payment of its own.
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
    let campaign = BigDecimal::from(settled.campaign.on_chain());
    let first_seq = BigDecimal::from(settled.first_seq);
    let amount = amount_to_sql(settled.total);
    let created = sqlx::query!(
        r#"
        INSERT INTO suspense
            (chain_id, tx, log_index, vault, on_chain_campaign, first_seq, amount, reason, recorded_at, block_number,
             block_hash, turn)
        SELECT $1, $2, $3, $4, $5, $6, $7, 'no batch of this ledger', $8, $9, $10, coalesce(max(turn) + 1, 0)
        FROM suspense WHERE chain_id = $1 AND tx = $2 AND log_index = $3
        HAVING coalesce(max(turn), 1) % 2 = 1
        ON CONFLICT DO NOTHING
        "#,
        sighting.chain_id.cast_signed(),
        sighting.tx.as_slice(),
        settled.log_index.cast_signed(),
        vault,
        campaign,
        first_seq,
        amount,
        now,
        sighting.block_number.cast_signed(),
        sighting.block_hash.as_slice(),
    )
    .execute(&mut *conn)
    .await?;
    if created.rows_affected() == 1 {
        return Ok(Written::Created);
    }
    let found = sqlx::query!(
        r#"
        SELECT vault, on_chain_campaign, first_seq, amount FROM suspense
        WHERE chain_id = $1 AND tx = $2 AND log_index = $3
        ORDER BY turn DESC LIMIT 1
        "#,
        sighting.chain_id.cast_signed(),
        sighting.tx.as_slice(),
        settled.log_index.cast_signed(),
    )
    .fetch_one(conn)
    .await?;
    let differs = [
        ("vault", found.vault != vault),
        ("on_chain_campaign", found.on_chain_campaign != campaign),
        ("first_seq", found.first_seq != first_seq),
        ("amount", found.amount != amount),
    ];
    match differs.into_iter().find(|(_, differs)| *differs) {
        None => Ok(Written::Exists),
        Some((field, _)) => {
            let id = format!("{}/{}", sighting.tx, settled.log_index);
            Err(LedgerError::ExistsDifferent { transfer: "suspense", id, field })
        }
    }
}

/// Takes a payment back out of suspense, if it is there.
///
/// # Errors
/// If the database does not answer.
pub async fn undo_suspense(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    sighting: &Sighting,
    settled: &SettledSegment,
) -> Result<bool, LedgerError> {
    let undone = sqlx::query!(
        r#"
        INSERT INTO suspense
            (chain_id, tx, log_index, turn, vault, on_chain_campaign, first_seq, amount, reason, recorded_at, block_number,
             block_hash)
        SELECT chain_id, tx, log_index, turn + 1, vault, on_chain_campaign, first_seq, -amount, 'taken back by the chain', $4,
               block_number, block_hash
        FROM (SELECT * FROM suspense WHERE chain_id = $1 AND tx = $2 AND log_index = $3 ORDER BY turn DESC LIMIT 1) s
        WHERE turn % 2 = 0
        "#,
        sighting.chain_id.cast_signed(),
        sighting.tx.as_slice(),
        settled.log_index.cast_signed(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(undone.rows_affected() == 1)
}

/// Notes a settlement that no batch explains and that paid nothing, unless that was noted.
///
/// # Errors
/// If the database does not answer.
pub async fn note_unpaid(
    conn: &mut PgConnection,
    sighting: &Sighting,
    settled: &SettledSegment,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO unpaid_settlements (chain_id, tx, log_index, vault, block_number, block_hash)
        SELECT chain_id, $3, $4, id, $5, $6 FROM vaults WHERE chain_id = $1 AND address = $2
        ON CONFLICT DO NOTHING
        "#,
        sighting.chain_id.cast_signed(),
        sighting.vault.as_slice(),
        sighting.tx.as_slice(),
        settled.log_index.cast_signed(),
        sighting.block_number.cast_signed(),
        sighting.block_hash.as_slice(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets it: the chain took the settlement back.
///
/// # Errors
/// If the database does not answer.
pub async fn forget_unpaid(conn: &mut PgConnection, sighting: &Sighting) -> Result<(), LedgerError> {
    sqlx::query!(
        "DELETE FROM unpaid_settlements WHERE chain_id = $1 AND tx = $2",
        sighting.chain_id.cast_signed(),
        sighting.tx.as_slice(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
