//! The journal: every chunk is there, and hashes to its digest (INV 9); no stage stands beyond its end, and every outcome in it is
//! known by its key (INV 7).

use std::collections::BTreeMap;

use alloy::primitives::B256;
use laurel_events::{Envelope, Event, EventId, EventKind, Partition};
use laurel_ledger::read;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    AuditError,
    error::inconsistent,
    finding::{Code, Findings},
    snapshot::{any_campaign, hash_of},
};

/// How many positions of a partition are hashed by one statement: enough to be quick, and few enough to end long before
/// a statement's time is over.
const CHUNKS_MAX: i64 = 16_384;

/// Events that are read at a time.
const EVENTS_MAX: i64 = 1_000;

/// Verifies the chunks that were not verified before, or all. What was verified is noted for the next time unless
/// something was found.
pub(crate) async fn verify(pool: &PgPool, whole: bool, findings: &mut Findings) -> Result<u64, AuditError> {
    let parts = sqlx::query!(
        r#"
        SELECT h.part, h.next AS head, coalesce(a.next, 0) AS "verified!"
        FROM heads h LEFT JOIN audit_journal a USING (part)
        ORDER BY h.part
        "#,
    )
    .fetch_all(pool)
    .await?;
    find_beyond(pool, findings).await?;
    let mut chunks = 0;
    for part in parts {
        let mut from = if whole { 0 } else { part.verified };
        let mut good = true;
        while from < part.head {
            let to = part.head.min(from + CHUNKS_MAX);
            good &= verify_range(pool, part.part, from, to, findings).await?;
            if good {
                good = read_range(pool, part.part, from, to, findings).await?;
            }
            chunks += (to - from).unsigned_abs();
            from = to;
        }
        if good {
            note(pool, part.part, part.head).await?;
        }
    }
    Ok(chunks)
}

/// The database hashes: payloads are large, and nothing of them is needed here.
async fn verify_range(
    pool: &PgPool,
    part: i16,
    from: i64,
    to: i64,
    findings: &mut Findings,
) -> Result<bool, AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT n.position AS "position!", j.kind AS "kind?"
        FROM generate_series($2::bigint, $3::bigint - 1) AS n (position)
        LEFT JOIN journal j ON j.part = $1 AND j.position = n.position AND j.position >= $2 AND j.position < $3
        WHERE j.digest IS DISTINCT FROM sha256(j.payload) OR j.position IS NULL
        ORDER BY n.position
        "#,
        part,
        from,
        to,
    )
    .fetch_all(pool)
    .await?;
    for row in &rows {
        let about = format!("journal:{part}/{}", row.position);
        match &row.kind {
            Some(kind) => add_broken(findings, about, kind),
            None => {
                let detail = format!(
                    "the partition's head is beyond it; there is no chunk of the offset {}",
                    row.position
                );
                findings.add(Code::JournalGap, about, None, detail);
            }
        }
    }
    Ok(rows.is_empty())
}

/// Names a chunk whose payload does not hash to its digest.
pub(crate) fn add_broken(findings: &mut Findings, about: String, kind: &str) {
    let detail = format!("the payload of this chunk of {kind} does not hash to its digest");
    findings.add(Code::JournalDigestDiffers, about, None, detail);
}

/// Looks for the rows that were committed together with what the journal says. Says whether all are there.
async fn read_range(
    pool: &PgPool,
    part: i16,
    from: i64,
    to: i64,
    findings: &mut Findings,
) -> Result<bool, AuditError> {
    let partition = Partition::new(part).ok_or_else(|| inconsistent("heads", "part", part))?;
    let kinds = [
        EventKind::BlockchainTxSubmitted,
        EventKind::BlockchainTxReplaced,
        EventKind::GameOutcomeRecorded,
        EventKind::StaffActed,
        EventKind::PersonalDataRead,
    ];
    let mut conn = pool.acquire().await?;
    let mut next = from;
    let mut good = true;
    while next < to {
        let (events, upto) = read(&mut conn, partition, next, to, &kinds, EVENTS_MAX).await?;
        next = upto;
        good &= find_hidden(&mut conn, part, &events, findings).await?;
        good &= find_forgotten(&mut conn, part, &events, findings).await?;
        good &= find_unrecorded(&mut conn, part, &events, findings).await?;
    }
    Ok(good)
}

/// Transactions that the journal says were signed, and that have no row.
async fn find_hidden(
    conn: &mut PgConnection,
    part: i16,
    events: &[Envelope],
    findings: &mut Findings,
) -> Result<bool, AuditError> {
    let signed: Vec<(B256, Uuid)> = events
        .iter()
        .filter_map(|envelope| match &envelope.event {
            Event::BlockchainTxSubmitted(signed) => Some((signed.tx, signed.batch.uuid())),
            Event::BlockchainTxReplaced(signed) => Some((signed.tx, signed.batch.uuid())),
            _ => None,
        })
        .collect();
    let txs: Vec<&[u8]> = signed.iter().map(|(tx, _)| tx.as_slice()).collect();
    let batches: Vec<Uuid> = signed.iter().map(|(_, batch)| *batch).collect();
    let hidden = sqlx::query!(
        r#"
        SELECT s.tx AS "tx!", s.batch AS "batch!", b.id IS NOT NULL AS "known!",
               (SELECT min(g.campaign) FROM segments g WHERE g.batch = s.batch) AS campaign
        FROM unnest($1::bytea[], $2::uuid[]) AS s (tx, batch)
        LEFT JOIN batches b ON b.id = s.batch
        -- of batches that were adopted from one transaction, the first one has the bytes
        LEFT JOIN attempts a ON a.tx = s.tx AND (a.batch = s.batch OR b.adopted)
        WHERE a.id IS NULL
        "#,
        &txs as &[&[u8]],
        &batches,
    )
    .fetch_all(conn)
    .await?;
    for row in &hidden {
        let code = if row.known { Code::AttemptMissing } else { Code::BatchMissing };
        let tx = hash_of(&row.tx, "journal", "payload")?;
        let detail = format!(
            "partition {part} of the journal says that transaction {tx} was signed for it; there is no such row"
        );
        findings.add(code, format!("batch:{}", row.batch), row.campaign.map(any_campaign), detail);
    }
    Ok(hidden.is_empty())
}

/// Outcomes that are not known by their keys. Those that were granted are named where grants are.
async fn find_forgotten(
    conn: &mut PgConnection,
    part: i16,
    events: &[Envelope],
    findings: &mut Findings,
) -> Result<bool, AuditError> {
    let told: BTreeMap<Uuid, EventId> = events
        .iter()
        .filter_map(|envelope| match &envelope.event {
            Event::GameOutcomeRecorded(outcome) => Some((outcome.outcome.uuid(), envelope.id)),
            _ => None,
        })
        .collect();
    let keys: Vec<Uuid> = told.keys().copied().collect();
    let mut forgotten = sqlx::query_scalar!(
        r#"SELECT key AS "key!" FROM unnest($1::uuid[]) AS t (key) WHERE NOT EXISTS (SELECT FROM outcomes o WHERE o.key = t.key)"#,
        &keys,
    )
    .fetch_all(&mut *conn)
    .await?;
    if forgotten.is_empty() {
        return Ok(true);
    }
    let granted = sqlx::query_scalar!("SELECT outcome FROM grants WHERE outcome = ANY ($1)", &forgotten)
        .fetch_all(conn)
        .await?;
    forgotten.retain(|key| !granted.contains(key));
    for key in forgotten {
        let EventId { offset, index, .. } = told[&key];
        let detail = format!("outcome {key} was accepted and is not known by its key");
        findings.add(Code::OutcomeMissing, format!("journal:{part}/{offset}/{index}"), None, detail);
    }
    Ok(false)
}

/// What the audit log had a record of, and has none any more.
async fn find_unrecorded(
    conn: &mut PgConnection,
    part: i16,
    events: &[Envelope],
    findings: &mut Findings,
) -> Result<bool, AuditError> {
    let told: BTreeMap<Uuid, &Envelope> = events
        .iter()
        .filter_map(|envelope| match &envelope.event {
            Event::StaffActed(event) => Some((event.id, envelope)),
            Event::PersonalDataRead(event) => Some((event.id, envelope)),
            _ => None,
        })
        .collect();
    let ids: Vec<Uuid> = told.keys().copied().collect();
    let unrecorded = sqlx::query_scalar!(
        r#"SELECT id AS "id!" FROM unnest($1::uuid[]) AS t (id) WHERE NOT EXISTS (SELECT FROM staff_log s WHERE s.id = t.id)"#,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    for id in &unrecorded {
        let EventId { offset, index, .. } = told[id].id;
        let detail = format!("the audit log has no record {id} of this {}", told[id].event.kind().as_str());
        findings.add(Code::RecordMissing, format!("journal:{part}/{offset}/{index}"), None, detail);
    }
    Ok(unrecorded.is_empty())
}

/// Stages that would pass over what is appended next.
async fn find_beyond(pool: &PgPool, findings: &mut Findings) -> Result<(), AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT c.stage, c.part, c.next, h.next AS head
        FROM cursors c JOIN heads h USING (part)
        WHERE c.next > h.next
        ORDER BY c.stage, c.part
        "#,
    )
    .fetch_all(pool)
    .await?;
    for row in rows {
        let detail = format!("it goes on at offset {}; the partition ends at {}", row.next, row.head);
        let about = format!("stage:{}/{}", row.stage, row.part);
        findings.add(Code::CursorBeyondJournal, about, None, detail);
    }
    Ok(())
}

async fn note(pool: &PgPool, part: i16, next: i64) -> Result<(), AuditError> {
    sqlx::query!(
        r#"
        INSERT INTO audit_journal (part, next) VALUES ($1, $2)
        ON CONFLICT (part) DO UPDATE SET next = greatest(audit_journal.next, EXCLUDED.next)
        "#,
        part,
        next,
    )
    .execute(pool)
    .await?;
    Ok(())
}
