//! What operators do with lanes while everything runs.

use alloy::primitives::B256;
use chrono::{DateTime, Utc};
use laurel_chain::{BlockRef, ChainError, ChainNode, NonceAt, NonceUse, NonceUser, find_nonce_use};
use laurel_events::{Amount, BatchId, BlockchainTxReverted, LaneId, NewEvent, Sighting};
use laurel_ledger::{Context, LedgerError, Vault, append, clear_alert, commit};
use sqlx::{PgConnection, PgPool};

use crate::{
    Lane, LaneState,
    lane::{LANE_ALERTS, attempt_hashes},
};

/// How many blocks are read for the user of a nonce where nobody keeps their states: more than an hour of the fastest chains has.
pub(crate) const BLOCKS_READ_MAX: u64 = 20_000;

/// Why a lane does not go on.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Another transaction than ours has one of its nonces, in a block that is not final.
    #[error(
        "nonce {nonce} of the lane was used by {tx}, which is none of ours and not final yet: try again when block \
         {block_number} is final"
    )]
    NotFinal {
        /// The nonce.
        nonce: u64,
        /// The transaction.
        tx: B256,
        /// Its block.
        block_number: u64,
    },
}

impl From<sqlx::Error> for OperateError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}

/// Has a lane that does not stand get no more batches; those it has are seen to. Says whether it was another before.
///
/// # Errors
/// If the database does not answer.
pub async fn retire_lane(conn: &mut PgConnection, lane: LaneId) -> Result<bool, LedgerError> {
    let retired = sqlx::query!(
        "UPDATE lanes SET state = 'retired', reason = 'operator' WHERE id = $1 AND state <> 'retired'",
        lane.0
    )
    .execute(conn)
    .await?;
    Ok(retired.rows_affected() == 1)
}

/// A batch whose nonce a final block has given to a transaction that is none of ours.
struct Displaced {
    batch: BatchId,
    user: NonceUser,
    gas_used: u64,
    effective_gas_price: u128,
}

/// Has a lane that stands go on with nonces that nobody has used; where it is `to` be retired, only to see to what it has. Batches
/// whose nonces a final block has given to somebody else's transactions end unpaid, and their grants go again with their
/// places. Returns how many these are.
///
/// # Errors
/// If somebody else's transaction is not final yet, or database or chain do not answer.
pub async fn settle_lane(
    pool: &PgPool,
    node: &dyn ChainNode,
    now: DateTime<Utc>,
    vault: &Vault,
    lane: &Lane,
    to: LaneState,
) -> Result<usize, OperateError> {
    let displaced = find_displaced(pool, node, vault, lane).await?;
    // One that is to be given nothing more passes over nothing: whoever else has its key cannot keep it from being retired.
    let used = match to {
        LaneState::Retired => lane.next_nonce,
        _ => node.nonce(lane.address, NonceAt::Latest).await?,
    };
    require_final(pool, node, vault, lane, used).await?;
    let mut tx = pool.begin().await?;
    let mut events: Vec<NewEvent> = Vec::new();
    for displaced in &displaced {
        let transition = sqlx::query_scalar!(
            "UPDATE chains SET transition = transition + 1 WHERE id = $1 RETURNING transition",
            vault.identity.chain_id.cast_signed(),
        )
        .fetch_one(&mut *tx)
        .await?;
        events.push(displaced.told(vault, transition.cast_unsigned()).into());
    }
    skip_nonces(&mut tx, now, lane.id, used).await?;
    let resumed = sqlx::query!(
        r#"
        UPDATE lanes SET state = $3, reason = CASE WHEN $3 = 'retired' THEN reason END,
                         next_nonce = greatest(next_nonce, $2), fence = fence + 1, holder = NULL
        WHERE id = $1
        "#,
        lane.id.0,
        used.cast_signed(),
        to as LaneState,
    )
    .execute(&mut *tx)
    .await?;
    if resumed.rows_affected() != 1 {
        let touched = resumed.rows_affected();
        return Err(LedgerError::RowCount { operation: "resume a lane", wanted: 1, touched }.into());
    }
    // The lane may be driven before they end. After the lane, as whoever drives it locks them.
    for displaced in &displaced {
        sqlx::query!(
            "UPDATE batches SET displaced_by = $2 WHERE id = $1 AND state = 'submitted'",
            displaced.batch.uuid(),
            displaced.user.tx.as_slice(),
        )
        .execute(&mut *tx)
        .await?;
    }
    for code in LANE_ALERTS {
        let about = format!("lane:{}", lane.id);
        events.extend(clear_alert(&mut tx, code, &about).await?.map(NewEvent::from));
    }
    append(&mut tx, &Context::at(now), &events).await?;
    commit(tx, "lane_resumed").await?;
    Ok(displaced.len())
}

/// Notes the nonces up to `used` that this ledger never gave: the chain knows what they were used for.
async fn skip_nonces(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    lane: LaneId,
    used: u64,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO skipped_nonces (lane, first, count, skipped_at)
        SELECT id, next_nonce, $2::bigint - next_nonce, $3 FROM lanes WHERE id = $1 AND next_nonce < $2
        "#,
        lane.0,
        used.cast_signed(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Refuses to pass over nonces that somebody else has used while that may be undone: nobody would fill them then.
async fn require_final(
    pool: &PgPool,
    node: &dyn ChainNode,
    vault: &Vault,
    lane: &Lane,
    used: u64,
) -> Result<(), OperateError> {
    if used <= lane.next_nonce {
        return Ok(());
    }
    let (last_final, latest) = last_blocks(pool, node, vault).await?;
    let nonce = used - 1;
    match find_nonce_use(node, lane.address, nonce, last_final + 1..=latest, BLOCKS_READ_MAX).await? {
        NonceUse::By(NonceUser { tx, block_number, .. }) => {
            Err(OperateError::NotFinal { nonce, tx, block_number })
        }
        NonceUse::Earlier => Ok(()),
        NonceUse::Unused => Err(unknown_user(nonce).into()),
    }
}

/// An endpoint that is behind the others does not have it yet.
pub(crate) fn unknown_user(nonce: u64) -> ChainError {
    ChainError::Untrue(format!("the node does not find who used nonce {nonce}"))
}

/// The last final block of a vault's chain, and the latest one.
async fn last_blocks(pool: &PgPool, node: &dyn ChainNode, vault: &Vault) -> Result<(u64, u64), OperateError> {
    let chain_id = vault.identity.chain_id.cast_signed();
    let last_final = sqlx::query_scalar!("SELECT final_number FROM chains WHERE id = $1", chain_id);
    let last_final = last_final.fetch_one(pool).await?.map_or(0, i64::cast_unsigned);
    let latest = node.block(BlockRef::Latest).await?;
    let latest = latest.ok_or_else(|| ChainError::Untrue("the node has no latest block".to_owned()))?;
    Ok((last_final, latest.header.number))
}

/// The lane's batches that can never be mined any more. The highest nonce is looked for first: the others are in no later block.
async fn find_displaced(
    pool: &PgPool,
    node: &dyn ChainNode,
    vault: &Vault,
    lane: &Lane,
) -> Result<Vec<Displaced>, OperateError> {
    let (last_final, mut last) = last_blocks(pool, node, vault).await?;
    let mut conn = pool.acquire().await?;
    let open = sqlx::query!(
        "SELECT id, nonce FROM batches WHERE lane = $1 AND state = 'submitted' ORDER BY nonce DESC",
        lane.id.0
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut displaced = Vec::new();
    for row in open {
        let (batch, nonce) = (BatchId::from(row.id), row.nonce.cast_unsigned());
        let NonceUse::By(user) = find_nonce_use(node, lane.address, nonce, 0..=last, BLOCKS_READ_MAX).await?
        else {
            continue;
        };
        last = user.block_number;
        if attempt_hashes(&mut conn, batch).await?.contains(&user.tx) {
            continue;
        }
        if user.block_number > last_final {
            return Err(OperateError::NotFinal { nonce, tx: user.tx, block_number: user.block_number });
        }
        let receipts = node.receipts(user.block_hash).await?.unwrap_or_default();
        let receipt = receipts.into_iter().find(|receipt| receipt.tx == user.tx).ok_or_else(|| {
            ChainError::Untrue(format!("the node has transaction {} without its receipt", user.tx))
        })?;
        let (gas_used, effective_gas_price) = (receipt.gas_used, receipt.effective_gas_price);
        displaced.push(Displaced { batch, user, gas_used, effective_gas_price });
    }
    displaced.reverse();
    Ok(displaced)
}

impl Displaced {
    fn told(&self, vault: &Vault, transition: u64) -> BlockchainTxReverted {
        BlockchainTxReverted {
            sighting: Sighting {
                chain_id: vault.identity.chain_id,
                vault: vault.identity.vault,
                transition,
                tx: self.user.tx,
                batch: Some(self.batch),
                block_number: self.user.block_number,
                block_hash: self.user.block_hash,
            },
            gas_used: self.gas_used,
            effective_gas_price: Amount::from(self.effective_gas_price),
        }
    }
}
