//! What the ledger and the chain have of a window of places.

use std::collections::HashMap;

use alloy::primitives::{B256, U256};
use laurel_chain::PaidMask;
use laurel_events::Amount;
use laurel_ledger::amount_from_sql;
use uuid::Uuid;

use super::Span;
use crate::{
    AuditError,
    error::inconsistent,
    finding::Code,
    snapshot::{Snapshot, hash_of},
};

/// More places than a run has: requests come some thousands at a time.
const RUN_MAX: i64 = 65_536;

/// More words than a settlement has: nodes take no transaction of more than 4,096 of them.
const SETTLED_MAX: i64 = 65_536;

/// More places than a segment of ours has.
pub(super) const SEGMENT_MAX: i64 = 1_024;

/// A place as a run gave it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) number: i64,
    pub(super) word: B256,
}

/// What the ledger has of a grant.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) amount: Option<Amount>,
    pub(super) state: Option<String>,
    pub(super) seq: Option<i64>,
    pub(super) proof: Option<serde_json::Value>,
}

/// A settled segment, as the chain has it.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) tx: B256,
    pub(super) block: i64,
    pub(super) first_seq: i64,
    pub(super) words: Vec<u8>,
    pub(super) paid: PaidMask,
}

/// A segment of a batch, as the ledger has it.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) batch: Uuid,
    pub(super) first_seq: i64,
    pub(super) count: i32,
    pub(super) words_hash: B256,
    /// Places whose words were sent as zero: they are not in the batch.
    pub(super) holes: Vec<i64>,
    /// Places that its settlement did not pay.
    pub(super) unpaid: Vec<i64>,
    pub(super) posted: bool,
    pub(super) reverted: bool,
    /// Whether the chain settled something by one of its transactions.
    pub(super) settled: bool,
    /// Whether its stage has still to hear of that.
    pub(super) pending: bool,
}

impl Segment {
    /// How much it has to say about a place: what has ended there says less than what may yet pay it, and that less than what did.
    pub(super) fn rank(&self, seq: i64) -> u8 {
        match () {
            () if self.is_over(seq) => 0,
            () if !self.posted => 1,
            () => 2,
        }
    }

    /// Whether it has ended without paying a place.
    pub(super) fn is_over(&self, seq: i64) -> bool {
        self.reverted || self.unpaid.contains(&seq)
    }
}

/// A window of places.
#[derive(Debug)]
pub(super) struct Window {
    /// From the span's first place to its last, and some more for the segments that reach over it.
    pub(super) places: Vec<Option<Place>>,
    pub(super) held: HashMap<i64, Held>,
    pub(super) settled: Vec<Settled>,
    /// In the order in which they were made.
    pub(super) segments: Vec<Segment>,
    /// Bits that were burned without a payment, and the transaction.
    pub(super) cancelled: Vec<(u64, U256, B256)>,
    /// Transactions that released the campaign.
    pub(super) released: Vec<B256>,
    pub(super) marks: Marks,
}

/// What is known of each place of a span, by its number from the first one.
#[derive(Debug)]
pub(super) struct Marks {
    /// It waits to be sent, or is burned by a batch.
    pub(super) waiting: Vec<bool>,
    /// A recovery passed over it: nobody has it, or whoever took an orphan.
    pub(super) skipped: Vec<bool>,
    /// It was paid and waits for its grant.
    pub(super) orphaned: Vec<bool>,
}

impl Window {
    /// How many places the span has; not those behind it.
    pub(super) fn count(&self, span: &Span) -> u64 {
        let inside = (span.to - span.from) as usize;
        self.places.iter().take(inside).flatten().count() as u64
    }
}

/// Loads a window.
pub(super) async fn load(snapshot: &mut Snapshot<'_>, span: &Span) -> Result<Window, AuditError> {
    let places = places(snapshot, span).await?;
    let held = held(snapshot, span, &places).await?;
    let settled = settled(snapshot, span).await?;
    let segments = segments(snapshot, span).await?;
    let (cancelled, released) = burned(snapshot, span).await?;
    let marks = marks(snapshot, span).await?;
    Ok(Window { places, held, settled, segments, cancelled, released, marks })
}

async fn places(snapshot: &mut Snapshot<'_>, span: &Span) -> Result<Vec<Option<Place>>, AuditError> {
    let id = span.campaign.id;
    let runs = sqlx::query!(
        r#"
        SELECT first_seq, numbers, words FROM runs
        WHERE campaign = $1 AND first_seq > $2 AND first_seq < $3
        ORDER BY first_seq
        "#,
        id.number(),
        span.from - RUN_MAX,
        span.to + SEGMENT_MAX,
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    let mut places: Vec<Option<Place>> = vec![None; (span.to - span.from + SEGMENT_MAX) as usize];
    for run in runs {
        for ((number, word), seq) in run.numbers.iter().zip(run.words.chunks(32)).zip(run.first_seq..) {
            let Some(place) = usize::try_from(seq - span.from).ok().and_then(|at| places.get_mut(at)) else {
                continue;
            };
            let word = hash_of(word, "runs", "words")?;
            let Some(first) = place else {
                *place = Some(Place { number: *number, word });
                continue;
            };
            if seq < span.to {
                let detail = format!(
                    "seq {seq} of campaign {id} was given to grant {id}-{} and to grant {id}-{number}",
                    first.number
                );
                snapshot.findings.add(Code::SeqGivenTwice, format!("grant:{id}-{number}"), Some(id), detail);
            }
        }
    }
    Ok(places)
}

async fn held(
    snapshot: &mut Snapshot<'_>,
    span: &Span,
    places: &[Option<Place>],
) -> Result<HashMap<i64, Held>, AuditError> {
    let inside = &places[..(span.to - span.from) as usize];
    let numbers: Vec<i64> = inside.iter().flatten().map(|place| place.number).collect();
    let rows = sqlx::query!(
        r#"
        SELECT n.number AS "number!", g.amount AS "amount?", e.state AS "state?", e.seq AS "seq?", v.proof AS "proof?"
        FROM (SELECT DISTINCT number FROM unnest($2::bigint[]) AS n (number)) n
        LEFT JOIN grants g ON g.campaign = $1 AND g.number BETWEEN $3 AND $4 AND g.number = n.number
        LEFT JOIN exceptions e ON e.campaign = $1 AND e.number BETWEEN $3 AND $4 AND e.number = n.number
        LEFT JOIN standing_voids v ON v.campaign = $1 AND v.number = n.number
        "#,
        span.campaign.id.number(),
        &numbers,
        numbers.iter().min().copied().unwrap_or(0),
        numbers.iter().max().copied().unwrap_or(0),
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let amount = row.amount.map(|amount| amount_from_sql(&amount, "grants", "amount", row.number));
            let amount = amount.transpose()?;
            Ok((row.number, Held { amount, state: row.state, seq: row.seq, proof: row.proof }))
        })
        .collect()
}

async fn settled(snapshot: &mut Snapshot<'_>, span: &Span) -> Result<Vec<Settled>, AuditError> {
    let Some(block) = span.block else { return Ok(Vec::new()) };
    let rows = sqlx::query!(
        r#"
        SELECT tx, block_number, first_seq, words, paid FROM audit_settlements
        WHERE campaign = $1 AND chain_id = $2 AND vault = $3 AND block_number <= $4
          AND first_seq > $5 AND first_seq < $6
        ORDER BY block_number, log_index
        "#,
        span.campaign.id.number(),
        span.campaign.chain_id.cast_signed(),
        span.campaign.vault.as_slice(),
        block,
        span.from - SETTLED_MAX,
        span.to,
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let bits = row.paid.chunks(32).map(U256::try_from_be_slice);
            let bits: Option<Vec<U256>> = bits.collect();
            let bits = bits.ok_or_else(|| inconsistent("audit_settlements", "paid", row.first_seq))?;
            Ok(Settled {
                tx: hash_of(&row.tx, "audit_settlements", "tx")?,
                block: row.block_number,
                first_seq: row.first_seq,
                words: row.words,
                paid: PaidMask::new(row.first_seq.cast_unsigned(), bits),
            })
        })
        .collect()
}

async fn segments(snapshot: &mut Snapshot<'_>, span: &Span) -> Result<Vec<Segment>, AuditError> {
    let unsettled: Vec<&[u8]> = snapshot.pending.unsettled.iter().map(|tx| tx.as_slice()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT s.batch, s.first_seq, s.count, s.words_hash, s.holes, s.unpaid, s.posted_at IS NOT NULL AS "posted!",
               coalesce(b.state = 'reverted', false) AS "reverted!",
               EXISTS (SELECT FROM attempts a JOIN audit_settlements t ON t.tx = a.tx WHERE a.batch = s.batch)
                   OR EXISTS (SELECT FROM audit_settlements t WHERE t.tx = b.mined_tx) AS "settled!",
               EXISTS (SELECT FROM attempts a WHERE a.batch = s.batch AND a.tx = ANY ($4)) AS "pending!"
        FROM segments s LEFT JOIN batches b ON b.id = s.batch
        WHERE s.campaign = $1 AND s.first_seq > $2 AND s.first_seq < $3
        ORDER BY b.created_at NULLS FIRST, s.batch
        "#,
        span.campaign.id.number(),
        span.from - SEGMENT_MAX,
        span.to,
        &unsettled as &[&[u8]],
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Segment {
                batch: row.batch,
                first_seq: row.first_seq,
                count: row.count,
                words_hash: hash_of(&row.words_hash, "segments", "words_hash")?,
                holes: row.holes,
                unpaid: row.unpaid,
                posted: row.posted,
                reverted: row.reverted,
                settled: row.settled,
                pending: row.pending,
            })
        })
        .collect()
}

type Burned = (Vec<(u64, U256, B256)>, Vec<B256>);

async fn burned(snapshot: &mut Snapshot<'_>, span: &Span) -> Result<Burned, AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT tx, word, mask FROM audit_logs
        WHERE campaign = $1 AND chain_id = $2 AND vault = $3 AND block_number <= $4
          AND (kind = 'released' OR (kind = 'cancelled' AND word BETWEEN $5 AND $6))
        "#,
        span.campaign.id.number(),
        span.campaign.chain_id.cast_signed(),
        span.campaign.vault.as_slice(),
        span.block.unwrap_or(-1),
        span.from >> 8,
        span.to >> 8,
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    let mut burned = Burned::default();
    for row in rows {
        let tx = hash_of(&row.tx, "audit_logs", "tx")?;
        match (row.word, row.mask.as_deref().and_then(U256::try_from_be_slice)) {
            (Some(word), Some(mask)) => burned.0.push((word.cast_unsigned(), mask, tx)),
            _ => burned.1.push(tx),
        }
    }
    Ok(burned)
}

async fn marks(snapshot: &mut Snapshot<'_>, span: &Span) -> Result<Marks, AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT mark AS "mark!", first_seq AS "first_seq!", upto AS "upto!"
        FROM (
            SELECT 'waiting' AS mark, campaign, batched_to AS first_seq, next_seq AS upto FROM queues
            UNION ALL SELECT 'waiting', campaign, first_seq, first_seq + count FROM requeues
            UNION ALL SELECT 'waiting', c.campaign, c.seq, c.seq + 1
            FROM cancels c JOIN batches b ON b.id = c.batch WHERE b.state <> 'reverted' AND c.seq >= $2
            UNION ALL SELECT 'skipped', campaign, first_seq, first_seq + count FROM skipped_seqs
            UNION ALL SELECT 'orphaned', campaign, seq, seq + 1 FROM orphans WHERE number IS NULL AND seq >= $2
        ) m
        WHERE campaign = $1 AND first_seq < $3 AND upto > $2
        "#,
        span.campaign.id.number(),
        span.from,
        span.to,
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    let none = || vec![false; (span.to - span.from) as usize];
    let mut marks = Marks { waiting: none(), skipped: none(), orphaned: none() };
    for row in rows {
        let marked = match row.mark.as_str() {
            "waiting" => &mut marks.waiting,
            "skipped" => &mut marks.skipped,
            _ => &mut marks.orphaned,
        };
        let (first, end) = (row.first_seq.max(span.from), row.upto.min(span.to));
        marked[(first - span.from) as usize..(end - span.from) as usize].fill(true);
    }
    Ok(marks)
}
