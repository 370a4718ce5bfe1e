//! The journal: every chunk is there, and hashes to its digest (INV 9).

use sqlx::PgPool;

use crate::{
    AuditError,
    finding::{Code, Findings},
};

/// How many positions of a partition are hashed by one statement: enough to be quick, and few enough to end long before
/// a statement's time is over.
const CHUNKS_MAX: i64 = 16_384;

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
    let mut chunks = 0;
    for part in parts {
        let mut from = if whole { 0 } else { part.verified };
        let mut good = true;
        while from < part.head {
            let to = part.head.min(from + CHUNKS_MAX);
            good &= verify_range(pool, part.part, from, to, findings).await?;
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
            Some(kind) => {
                let detail = format!("the payload of this chunk of {kind} does not hash to its digest");
                findings.add(Code::JournalDigestDiffers, about, None, detail);
            }
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
