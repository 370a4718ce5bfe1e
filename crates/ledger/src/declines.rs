//! Why an outcome earned nothing, per campaign.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use laurel_events::{CampaignId, EventId, OutcomeKey, Partition, PlayerId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::LedgerError;

/// A campaign's refusal to grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decline {
    /// The campaign.
    pub campaign: CampaignId,
    /// Dense per campaign, from 0.
    pub number: u64,
    /// Where the outcome stands in the journal.
    pub cause: EventId,
    /// The outcome.
    pub outcome: OutcomeKey,
    /// The player.
    pub player: PlayerId,
    /// A stable code.
    pub reason: String,
    /// The rule that was in force.
    pub rule_version: i32,
}

/// Writes declines. The caller has locked the books and numbered the declines from there.
///
/// # Errors
/// If an outcome was declined by its campaign before, or the database does not answer.
pub async fn insert_declines(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    declines: &[Decline],
) -> Result<(), LedgerError> {
    if declines.is_empty() {
        return Ok(());
    }
    let campaigns: Vec<i64> = declines.iter().map(|decline| decline.campaign.number()).collect();
    let numbers: Vec<i64> = declines.iter().map(|decline| decline.number.cast_signed()).collect();
    let parts: Vec<i16> = declines.iter().map(|decline| decline.cause.partition.number()).collect();
    let positions: Vec<i64> = declines.iter().map(|decline| decline.cause.offset).collect();
    let indexes: Vec<i32> = declines.iter().map(|decline| decline.cause.index).collect();
    let outcomes: Vec<Uuid> = declines.iter().map(|decline| decline.outcome.uuid()).collect();
    let players: Vec<Uuid> = declines.iter().map(|decline| decline.player.uuid()).collect();
    let reasons: Vec<String> = declines.iter().map(|decline| decline.reason.clone()).collect();
    let rules: Vec<i32> = declines.iter().map(|decline| decline.rule_version).collect();
    let inserted = sqlx::query!(
        r#"
        INSERT INTO declines
            (campaign, number, part, position, idx, outcome, player, reason, rule_version, recorded_at)
        SELECT d.*, $10
        FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::integer[], $6::uuid[], $7::uuid[],
                    $8::text[], $9::integer[]) AS d
        "#,
        &campaigns,
        &numbers,
        &parts,
        &positions,
        &indexes,
        &outcomes,
        &players,
        &reasons,
        &rules,
        now,
    )
    .execute(&mut *conn)
    .await?;
    LedgerError::expect_rows("decline", declines.len(), inserted.rows_affected())?;
    count_declines(conn, declines).await
}

async fn count_declines(conn: &mut PgConnection, declines: &[Decline]) -> Result<(), LedgerError> {
    let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
    for decline in declines {
        *counts.entry(decline.campaign.number()).or_default() += 1;
    }
    let campaigns: Vec<i64> = counts.keys().copied().collect();
    let counts: Vec<i64> = counts.values().copied().collect();
    let counted = sqlx::query!(
        r#"
        UPDATE accounts a SET declines = declines + s.count
        FROM unnest($1::bigint[], $2::bigint[]) AS s (campaign, count)
        WHERE a.campaign = s.campaign
        "#,
        &campaigns,
        &counts,
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("count declines", campaigns.len(), counted.rows_affected())
}

/// A campaign's declines after the one of number `after`, for `reason` if one is given, with the time of each.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_declines(
    conn: &mut PgConnection,
    campaign: CampaignId,
    reason: Option<&str>,
    after: Option<u64>,
    limit: i64,
) -> Result<Vec<(Decline, DateTime<Utc>)>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT number, part, position, idx, outcome, player, reason, rule_version, recorded_at FROM declines
        WHERE campaign = $1 AND number > $2 AND ($4::text IS NULL OR reason = $4)
        ORDER BY number
        LIMIT $3
        "#,
        campaign.number(),
        after.map_or(-1, |after| i64::try_from(after).unwrap_or(i64::MAX)),
        limit,
        reason,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let wrong = |column| LedgerError::inconsistent("declines", column, row.number);
            let partition = Partition::new(row.part).ok_or_else(|| wrong("part"))?;
            let decline = Decline {
                campaign,
                number: u64::try_from(row.number).map_err(|_| wrong("number"))?,
                cause: EventId { partition, offset: row.position, index: row.idx },
                outcome: row.outcome.into(),
                player: row.player.into(),
                reason: row.reason,
                rule_version: row.rule_version,
            };
            Ok((decline, row.recorded_at))
        })
        .collect()
}
