//! Adopting what a settlement of ours has paid that the ledger did not know: it becomes a batch as if we had never forgotten it.
//!
//! ```text
//!   a final settlement ──► suspense ──► known place, same word ──► batch, "mined" ──► BlockchainTxConfirmed, told again
//!                                  └──► place never given ──► orphan ──► a grant of that word ──► the same
//! ```
//!
//! Several batches may be made of one transaction: a grant that takes an orphan comes when its outcome is sent again.

use alloy::primitives::{Address, B256, keccak256};
use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_chain::{GrantWord, PaidMask, SettlementSegment};
use laurel_events::{
    Amount, AttemptId, BatchId, BlockchainTxConfirmed, BlockchainTxSubmitted, CampaignId, Event, GrantId,
    LaneId, SegmentRef, SettledSegment, Sighting, time_ordered,
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

/// A place that was paid for a grant that is lost, and the grant that takes it now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) grant: GrantId,
    pub(crate) seq: u64,
    pub(crate) word: GrantWord,
    chain_id: u64,
    tx: B256,
    log_index: u32,
}

/// Finds orphans with these words and gives them to the grants, one each, in order of their places: payments of one amount
/// to one wallet by one campaign are as good as each other. The caller holds the campaign's queue.
pub(crate) async fn take_orphans(
    conn: &mut PgConnection,
    campaign: CampaignId,
    wanted: &[(GrantId, GrantWord)],
) -> Result<Vec<Taken>, LedgerError> {
    let numbers: Vec<i64> = wanted.iter().map(|(grant, _)| grant.number.cast_signed()).collect();
    let words: Vec<B256> = wanted.iter().map(|(_, word)| word.encode()).collect();
    let words: Vec<&[u8]> = words.iter().map(B256::as_slice).collect();
    let rows = sqlx::query!(
        r#"
        WITH asked AS (
            SELECT number, word, row_number() OVER (PARTITION BY word ORDER BY ord) AS nth
            FROM unnest($2::bigint[], $3::bytea[]) WITH ORDINALITY AS w (number, word, ord)
        ), had AS (
            SELECT o.seq, o.word, row_number() OVER (PARTITION BY o.word ORDER BY o.seq) AS nth
            FROM orphans o
            WHERE o.campaign = $1 AND o.number IS NULL AND o.word IN (SELECT word FROM asked)
        )
        UPDATE orphans o SET number = a.number
        FROM asked a JOIN had h ON h.word = a.word AND h.nth = a.nth
        WHERE o.campaign = $1 AND o.seq = h.seq AND o.number IS NULL
        RETURNING o.seq, a.number AS "number!", o.chain_id, o.tx, o.log_index
        "#,
        campaign.number(),
        &numbers,
        &words as &[&[u8]],
    )
    .fetch_all(conn)
    .await?;
    let mut taken = Vec::with_capacity(rows.len());
    for row in rows {
        let wrong = |column| LedgerError::Inconsistent {
            table: "orphans",
            column,
            id: format!("{campaign}/{}", row.seq),
        };
        let grant = GrantId { campaign, number: row.number.cast_unsigned() };
        let (_, word) = wanted.iter().find(|(wanted, _)| *wanted == grant).ok_or_else(|| wrong("number"))?;
        taken.push(Taken {
            grant,
            seq: row.seq.cast_unsigned(),
            word: *word,
            chain_id: row.chain_id.cast_unsigned(),
            tx: B256::try_from(row.tx.as_slice()).map_err(|_| wrong("tx"))?,
            log_index: row.log_index.cast_unsigned(),
        });
    }
    taken.sort_by_key(|taken| (taken.chain_id, taken.tx, taken.seq));
    Ok(taken)
}

/// Adopts what grants have taken, whose places the caller has written. A transaction's are one batch.
pub(crate) async fn adopt_taken(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    taken: &[Taken],
) -> Result<Vec<Event>, LedgerError> {
    note_places(conn, now, campaign, taken).await?;
    let mut events = Vec::new();
    for of_one in taken.chunk_by(|left, right| (left.chain_id, left.tx) == (right.chain_id, right.tx)) {
        let place = |taken: &Taken| PaidPlace {
            log_index: taken.log_index,
            seq: taken.seq,
            word: taken.word.encode(),
        };
        let places: Vec<PaidPlace> = of_one.iter().map(place).collect();
        let Some(Taken { chain_id, tx, .. }) = of_one.first() else { continue };
        events.extend(adopt(conn, now, *chain_id, *tx, &runs_of(campaign, &places)).await?);
    }
    Ok(events)
}

/// Their runs are no straight ones: their places are found by a row of their own.
async fn note_places(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    taken: &[Taken],
) -> Result<(), LedgerError> {
    let numbers: Vec<i64> = taken.iter().map(|taken| taken.grant.number.cast_signed()).collect();
    let seqs: Vec<i64> = taken.iter().map(|taken| taken.seq.cast_signed()).collect();
    let amounts: Vec<BigDecimal> = taken.iter().map(|taken| amount_to_sql(taken.word.amount())).collect();
    sqlx::query!(
        r#"
        INSERT INTO exceptions (campaign, number, state, player, chain_id, amount, seq, updated_at)
        SELECT g.campaign, g.number, 'queued', g.player, v.chain_id, t.amount, t.seq, $5
        FROM unnest($2::bigint[], $3::bigint[], $4::numeric[]) AS t (number, seq, amount)
        JOIN grants g ON g.campaign = $1 AND g.number = t.number
        JOIN campaigns c ON c.id = g.campaign
        JOIN vaults v ON v.id = c.vault
        ON CONFLICT (campaign, number) DO NOTHING
        "#,
        campaign.number(),
        &numbers,
        &seqs,
        &amounts,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
