//! Adopting what a settlement of ours has paid that the ledger did not know: it becomes a batch as if we had never forgotten it.
//!
//! ```text
//!   a final settlement ──► suspense ──► known place, same word ──► batch, "mined" ──► BlockchainTxConfirmed, told again
//!                                  └──► place never given ──► orphan ──► a grant of that word ──► the same
//! ```
//!
//! Several batches may be made of one transaction: a grant that takes an orphan comes when its outcome is sent again.

use alloy::primitives::{Address, B256, keccak256};
use chrono::{DateTime, Utc};
use laurel_chain::{PaidMask, SettlementSegment};
use laurel_events::{
    Amount, AttemptId, BatchId, BlockchainTxConfirmed, BlockchainTxSubmitted, CampaignId, Event, LaneId,
    SegmentRef, SettledSegment, Sighting, time_ordered,
};
use laurel_ledger::{LedgerError, amount_from_sql, amount_to_sql};
use rand::{SeedableRng, rngs::StdRng};
use sqlx::PgConnection;
use uuid::Uuid;

/// Places that a transaction paid, which follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PaidRun {
    /// The log that says so.
    pub(crate) log_index: u32,
    pub(crate) campaign: CampaignId,
    pub(crate) first_seq: u64,
    pub(crate) words: Vec<B256>,
}

/// One place that a log paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PaidPlace {
    pub(crate) log_index: u32,
    pub(crate) seq: u64,
    pub(crate) word: B256,
}

/// Puts together what follows each other in one log. The places come in order.
pub(crate) fn runs_of(campaign: CampaignId, places: &[PaidPlace]) -> Vec<PaidRun> {
    let mut runs: Vec<PaidRun> = Vec::new();
    for place in places {
        let follows = |run: &&mut PaidRun| {
            run.log_index == place.log_index && run.first_seq + run.words.len() as u64 == place.seq
        };
        match runs.last_mut().filter(follows) {
            Some(run) => run.words.push(place.word),
            None => runs.push(PaidRun {
                log_index: place.log_index,
                campaign,
                first_seq: place.seq,
                words: vec![place.word],
            }),
        }
    }
    runs
}

/// Makes a batch of what the recovered transaction `tx` paid, and tells of it as of every other, so that the stages post it
/// and complete its grants. The places were given.
pub(crate) async fn adopt(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    chain_id: u64,
    tx: B256,
    runs: &[PaidRun],
) -> Result<[Event; 2], LedgerError> {
    let batch = BatchId::from(derived(now, tx, runs, "batch"));
    let adopted = insert_batch(conn, now, (chain_id, tx), batch, runs).await?;
    let (mut segments, mut refs) = (Vec::with_capacity(runs.len()), Vec::with_capacity(runs.len()));
    for run in runs {
        let words =
            SettlementSegment { campaign: run.campaign, first_seq: run.first_seq, words: run.words.clone() };
        let settled = SettledSegment {
            log_index: run.log_index,
            campaign: run.campaign,
            first_seq: run.first_seq,
            count: u32::try_from(run.words.len()).unwrap_or(u32::MAX),
            total: words.total()?,
            words_hash: words.words_hash(),
            paid: PaidMask::run(run.first_seq, run.words.len() as u64).into_words(),
        };
        insert_segment(conn, batch, (chain_id, tx), &settled).await?;
        refs.push(SegmentRef {
            campaign: settled.campaign,
            first_seq: settled.first_seq,
            count: settled.count,
            total: settled.total,
            words_hash: settled.words_hash,
            holes: Vec::new(),
        });
        segments.push(settled);
    }
    // What the transaction cost is told once.
    let (attempt, first) =
        insert_attempt(conn, (chain_id, tx), batch, derived(now, tx, runs, "attempt").into()).await?;
    let submitted = BlockchainTxSubmitted {
        batch,
        attempt,
        lane: adopted.lane,
        chain_id,
        vault: adopted.vault,
        nonce: adopted.nonce,
        tx,
        deadline: adopted.deadline,
        segments: refs,
        cancels: None,
    };
    let transition = sqlx::query_scalar!(
        "UPDATE chains SET transition = transition + 1 WHERE id = $1 RETURNING transition",
        chain_id.cast_signed(),
    )
    .fetch_one(conn)
    .await?;
    let sighting = Sighting {
        chain_id,
        vault: adopted.vault,
        transition: transition.cast_unsigned(),
        tx,
        batch: Some(batch),
        block_number: adopted.block_number,
        block_hash: adopted.block_hash,
    };
    let gas_used = if first { adopted.gas_used } else { 0 };
    let effective_gas_price = adopted.effective_gas_price;
    let confirmed = BlockchainTxConfirmed { sighting, gas_used, effective_gas_price, segments };
    Ok([submitted.into(), confirmed.into()])
}

/// An id that follows from what it names: whoever adopts the same again finds it there.
fn derived(now: DateTime<Utc>, tx: B256, runs: &[PaidRun], of: &str) -> Uuid {
    let mut named = tx.to_vec();
    named.extend_from_slice(of.as_bytes());
    for run in runs {
        named.extend_from_slice(&run.campaign.on_chain().to_be_bytes());
        named.extend_from_slice(&run.first_seq.to_be_bytes());
    }
    time_ordered(now, &mut StdRng::from_seed(keccak256(named).0))
}

struct Adopted {
    vault: Address,
    lane: LaneId,
    nonce: u64,
    deadline: u64,
    block_number: u64,
    block_hash: B256,
    gas_used: u64,
    effective_gas_price: Amount,
}

async fn insert_batch(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    (chain_id, tx): (u64, B256),
    batch: BatchId,
    runs: &[PaidRun],
) -> Result<Adopted, LedgerError> {
    let grants: usize = runs.iter().map(|run| run.words.len()).sum();
    let row = sqlx::query!(
        r#"
        WITH made AS (
            INSERT INTO batches
                (id, lane, nonce, state, deadline, grants, created_at, accepted_at, mined_tx, block_number, block_hash,
                 adopted)
            SELECT $3, lane, nonce, 'mined', deadline, $4, $5, $5, tx, block_number, block_hash, true
            FROM recovered_txs WHERE chain_id = $1 AND tx = $2
            RETURNING lane
        )
        SELECT v.address, r.lane, r.nonce, r.deadline, r.block_number, r.block_hash, r.gas_used, r.effective_gas_price
        FROM made JOIN lanes l ON l.id = made.lane JOIN vaults v ON v.id = l.vault
        JOIN recovered_txs r ON r.chain_id = $1 AND r.tx = $2
        "#,
        chain_id.cast_signed(),
        tx.as_slice(),
        batch.uuid(),
        i32::try_from(grants).unwrap_or(i32::MAX),
        now,
    )
    .fetch_one(conn)
    .await?;
    let wrong = |column| LedgerError::Inconsistent { table: "recovered_txs", column, id: tx.to_string() };
    let price = amount_from_sql(&row.effective_gas_price, "recovered_txs", "effective_gas_price", tx)?;
    Ok(Adopted {
        vault: Address::try_from(row.address.as_slice()).map_err(|_| wrong("lane"))?,
        lane: LaneId(row.lane),
        nonce: row.nonce.cast_unsigned(),
        deadline: row.deadline.cast_unsigned(),
        block_number: row.block_number.cast_unsigned(),
        block_hash: B256::try_from(row.block_hash.as_slice()).map_err(|_| wrong("block_hash"))?,
        gas_used: row.gas_used.cast_unsigned(),
        effective_gas_price: price,
    })
}

async fn insert_segment(
    conn: &mut PgConnection,
    batch: BatchId,
    (chain_id, tx): (u64, B256),
    settled: &SettledSegment,
) -> Result<(), LedgerError> {
    let (campaign, first_seq) = (settled.campaign.number(), settled.first_seq.cast_signed());
    let total = amount_to_sql(settled.total);
    sqlx::query!(
        r#"
        WITH segment AS (
            INSERT INTO segments (batch, campaign, first_seq, count, total, words_hash) VALUES ($1, $2, $3, $4, $5, $6)
        )
        INSERT INTO adoptions (batch, campaign, first_seq, chain_id, tx, log_index, amount)
        VALUES ($1, $2, $3, $7, $8, $9, $5)
        "#,
        batch.uuid(),
        campaign,
        first_seq,
        settled.count.cast_signed(),
        total,
        settled.words_hash.as_slice(),
        chain_id.cast_signed(),
        tx.as_slice(),
        settled.log_index.cast_signed(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives the transaction's bytes to its first batch; a transaction belongs to one. Returns their id, and whether this is it.
async fn insert_attempt(
    conn: &mut PgConnection,
    (chain_id, tx): (u64, B256),
    batch: BatchId,
    attempt: AttemptId,
) -> Result<(AttemptId, bool), LedgerError> {
    let inserted = sqlx::query!(
        r#"
        INSERT INTO attempts
            (id, batch, number, empty, tx, raw, gas_limit, max_fee_per_gas, max_priority_fee_per_gas, signed_at,
             chain_time)
        SELECT $3, $4, 0, false, tx, raw, gas_limit, max_fee_per_gas, max_priority_fee_per_gas, recovered_at, block_time
        FROM recovered_txs WHERE chain_id = $1 AND tx = $2
        ON CONFLICT (tx) DO NOTHING
        "#,
        chain_id.cast_signed(),
        tx.as_slice(),
        attempt.uuid(),
        batch.uuid(),
    )
    .execute(&mut *conn)
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok((attempt, true));
    }
    let known = sqlx::query_scalar!("SELECT id FROM attempts WHERE tx = $1", tx.as_slice());
    Ok((known.fetch_one(conn).await?.into(), false))
}
