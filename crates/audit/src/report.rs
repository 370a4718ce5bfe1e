//! What was found, kept: for the interface, the metrics, and as alerts.

use chrono::{DateTime, Utc};
use laurel_events::{CampaignId, NewEvent, OperatorAlertRaised};
use laurel_ledger::{Context, append, clear_alert, commit, raise_alert};
use sqlx::{PgConnection, PgPool};

use crate::{AuditError, Code, Finding, Reconciliation, Severity};

/// When the last comparison of everything began.
pub(crate) async fn last_started(pool: &PgPool) -> Result<Option<DateTime<Utc>>, AuditError> {
    let last = sqlx::query_scalar!("SELECT max(started_at) FROM reconciliations WHERE campaign IS NULL");
    Ok(last.fetch_one(pool).await?)
}

/// Keeps a reconciliation, and alerts for what it found.
pub(crate) async fn save(pool: &PgPool, made: &Reconciliation) -> Result<(), AuditError> {
    let mut tx = pool.begin().await?;
    insert(&mut tx, made).await?;
    let mut events = raise_all(&mut tx, made.finished_at, &made.findings).await?;
    // Only who looked at everything knows what is gone.
    if made.campaign.is_none() {
        for (code, about) in ended(&mut tx, made).await? {
            events.extend(clear_alert(&mut tx, &code, &about).await?.map(NewEvent::from));
        }
    }
    append(&mut tx, &Context::at(made.finished_at), &events).await?;
    commit(tx, "audit_report").await?;
    Ok(())
}

/// Alerts for what a comparison found that came to no end.
pub(crate) async fn raise(pool: &PgPool, now: DateTime<Utc>, findings: &[Finding]) -> Result<(), AuditError> {
    let mut tx = pool.begin().await?;
    let events = raise_all(&mut tx, now, findings).await?;
    append(&mut tx, &Context::at(now), &events).await?;
    commit(tx, "audit_raised").await?;
    Ok(())
}

async fn raise_all(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    findings: &[Finding],
) -> Result<Vec<NewEvent>, AuditError> {
    let mut alarming: Vec<&Finding> =
        findings.iter().filter(|finding| finding.severity != Severity::Warning).collect();
    // In one order: two audits that end together must not wait for each other.
    alarming.sort_by_key(|finding| (finding.code.as_str(), &finding.about));
    let mut events = Vec::new();
    for finding in alarming {
        let alert = OperatorAlertRaised {
            code: finding.code.as_str().to_owned(),
            about: finding.about.clone(),
            detail: finding.detail.clone(),
        };
        events.extend(raise_alert(&mut *conn, now, alert).await?.map(NewEvent::from));
    }
    Ok(events)
}

async fn insert(conn: &mut PgConnection, made: &Reconciliation) -> Result<(), AuditError> {
    let count = |severity| made.counts.get(&severity).copied().unwrap_or(0).cast_signed();
    sqlx::query!(
        r#"
        INSERT INTO reconciliations
            (id, started_at, finished_at, whole, campaign, campaigns, places, settlements, critical, errors, warnings)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        "#,
        made.id,
        made.started_at,
        made.finished_at,
        made.whole,
        made.campaign.map(CampaignId::number),
        made.campaigns.cast_signed(),
        made.places.cast_signed(),
        made.settlements.cast_signed(),
        count(Severity::Critical),
        count(Severity::Error),
        count(Severity::Warning),
    )
    .execute(&mut *conn)
    .await?;
    for chain in &made.chains {
        sqlx::query!(
            "INSERT INTO reconciled_chains (reconciliation, chain_id, number, hash) VALUES ($1, $2, $3, $4)",
            made.id,
            chain.chain_id.cast_signed(),
            chain.block.cast_signed(),
            chain.hash.as_slice(),
        )
        .execute(&mut *conn)
        .await?;
    }
    let severities: Vec<String> =
        made.findings.iter().map(|finding| finding.severity.as_str().to_owned()).collect();
    let codes: Vec<String> = made.findings.iter().map(|finding| finding.code.as_str().to_owned()).collect();
    let abouts: Vec<String> = made.findings.iter().map(|finding| finding.about.clone()).collect();
    let details: Vec<String> = made.findings.iter().map(|finding| finding.detail.clone()).collect();
    let campaigns: Vec<Option<i64>> =
        made.findings.iter().map(|finding| finding.campaign.map(CampaignId::number)).collect();
    sqlx::query!(
        r#"
        INSERT INTO findings (reconciliation, number, severity, code, about, detail, campaign, org)
        SELECT $1, f.number - 1, f.severity, f.code, f.about, f.detail, f.campaign, c.org
        FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
                 WITH ORDINALITY AS f (severity, code, about, detail, campaign, number)
        LEFT JOIN campaigns c ON c.id = f.campaign
        "#,
        made.id,
        &severities,
        &codes,
        &abouts,
        &details,
        &campaigns as &[Option<i64>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What is looked for in what came since the last reconciliation: that it is not found again says nothing, unless everything was
/// looked at.
const OF_WHAT_IS_NEW: [Code; 7] = [
    Code::AttemptDiffers,
    Code::AttemptMissing,
    Code::BatchMissing,
    Code::BatchNotOnChain,
    Code::JournalDigestDiffers,
    Code::JournalGap,
    // Of what was declined; of a grant it is found each time, and ends with the next look at everything as well.
    Code::OutcomeMissing,
];

/// The codes of which a reconciliation knows that what it has not found is not there.
fn conclusive(made: &Reconciliation) -> Vec<String> {
    let unread = [Code::ChainNotCompared, Code::ChainDiffers, Code::FinalBlockDiffers];
    let all_read = !made.findings.iter().any(|finding| unread.contains(&finding.code));
    let codes = Code::ALL.iter().filter(|code| {
        code.severity() != Severity::Warning
            && (all_read || unread.contains(code))
            && (made.whole || !OF_WHAT_IS_NEW.contains(code))
    });
    codes.map(|code| code.as_str().to_owned()).collect()
}

/// Alerts of ours whose cause was not found again.
async fn ended(conn: &mut PgConnection, made: &Reconciliation) -> Result<Vec<(String, String)>, AuditError> {
    let ours = conclusive(made);
    let found = &made.findings;
    let codes: Vec<String> = found.iter().map(|finding| finding.code.as_str().to_owned()).collect();
    let abouts: Vec<String> = found.iter().map(|finding| finding.about.clone()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT code, about FROM alerts a
        WHERE code = ANY ($1)
          AND NOT EXISTS (SELECT FROM unnest($2::text[], $3::text[]) AS f (code, about)
                          WHERE f.code = a.code AND f.about = a.about)
        ORDER BY code, about
        "#,
        &ours,
        &codes,
        &abouts,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.code, row.about)).collect())
}
