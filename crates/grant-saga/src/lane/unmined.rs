//! What a lane has signed and no block has, as the database knows it.

use alloy::primitives::B256;
use bigdecimal::{BigDecimal, ToPrimitive};
use chrono::{DateTime, Utc};
use laurel_events::{AttemptId, BatchId, LaneId};
use laurel_ledger::LedgerError;
use sqlx::PgConnection;

use crate::fees::Price;

/// A batch that is in no block, with its latest attempt.
#[derive(Clone, Debug)]
pub(crate) struct Unmined {
    pub(crate) batch: BatchId,
    pub(crate) nonce: u64,
    /// Block time after which the vault refuses it.
    pub(crate) deadline: u64,
    pub(crate) created_at: DateTime<Utc>,
    /// Rises whenever the chain is seen to take it or to give it back.
    pub(crate) transition: i64,
    /// Whoever has its nonce, if an operator was told of that and has the lane go on.
    pub(crate) displaced_by: Option<B256>,
    pub(crate) attempt: AttemptId,
    pub(crate) number: u32,
    pub(crate) tx: B256,
    /// The latest attempt settles nothing.
    pub(crate) empty: bool,
    pub(crate) price: Price,
    /// The latest block's time when the attempt was signed.
    pub(crate) chain_time: u64,
}

/// The batches of a lane that are in no block, lowest nonce first.
pub(crate) async fn list_unmined(conn: &mut PgConnection, lane: LaneId) -> Result<Vec<Unmined>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT b.id, b.nonce, b.deadline, b.created_at, b.transition, b.displaced_by, a.id AS attempt, a.number, a.tx, a.empty, a.max_fee_per_gas,
               a.max_priority_fee_per_gas, a.chain_time
        FROM batches b
        CROSS JOIN LATERAL (
            SELECT id, number, tx, empty, max_fee_per_gas, max_priority_fee_per_gas, chain_time
            FROM attempts WHERE batch = b.id ORDER BY number DESC LIMIT 1
        ) a
        WHERE b.lane = $1 AND b.state = 'submitted'
        ORDER BY b.nonce
        "#,
        lane.0,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let wrong =
                |column| LedgerError::Inconsistent { table: "attempts", column, id: row.attempt.to_string() };
            let wei = |value: &BigDecimal, column| value.to_u128().ok_or_else(|| wrong(column));
            Ok(Unmined {
                batch: row.id.into(),
                nonce: row.nonce.cast_unsigned(),
                deadline: row.deadline.cast_unsigned(),
                created_at: row.created_at,
                transition: row.transition,
                displaced_by: row
                    .displaced_by
                    .map(|tx| B256::try_from(tx.as_slice()).map_err(|_| wrong("displaced_by")))
                    .transpose()?,
                attempt: row.attempt.into(),
                number: row.number.cast_unsigned(),
                tx: B256::try_from(row.tx.as_slice()).map_err(|_| wrong("tx"))?,
                empty: row.empty,
                price: Price {
                    max_fee: wei(&row.max_fee_per_gas, "max_fee_per_gas")?,
                    tip: wei(&row.max_priority_fee_per_gas, "max_priority_fee_per_gas")?,
                },
                chain_time: row.chain_time.cast_unsigned(),
            })
        })
        .collect()
}

/// The signed bytes of an attempt.
pub(crate) async fn attempt_bytes(
    conn: &mut PgConnection,
    attempt: AttemptId,
) -> Result<Vec<u8>, LedgerError> {
    Ok(sqlx::query_scalar!("SELECT raw FROM attempts WHERE id = $1", attempt.uuid()).fetch_one(conn).await?)
}

/// The hashes of everything that was signed for a batch.
pub(crate) async fn attempt_hashes(
    conn: &mut PgConnection,
    batch: BatchId,
) -> Result<Vec<B256>, LedgerError> {
    let hashes =
        sqlx::query_scalar!("SELECT tx FROM attempts WHERE batch = $1 ORDER BY number", batch.uuid())
            .fetch_all(conn)
            .await?;
    let wrong = |_| LedgerError::Inconsistent { table: "attempts", column: "tx", id: batch.to_string() };
    hashes.iter().map(|hash| B256::try_from(hash.as_slice()).map_err(wrong)).collect()
}
