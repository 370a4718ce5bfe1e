//! Holds: numbered densely, each number once, and each for an outcome of its own that is known by its key.

use laurel_events::GrantId;

use crate::{
    AuditError,
    finding::Code,
    snapshot::{Snapshot, any_campaign},
};

/// How many missing numbers of one gap are named one by one.
const GAP_MAX: i64 = 1_000;

/// Looks for holds that are missing, numbered twice, or for an outcome that has another.
pub(crate) async fn compare(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    compare_numbers(snapshot).await?;
    compare_outcomes(snapshot).await?;
    find_forgotten(snapshot).await
}

async fn compare_numbers(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    // A campaign's grants in the order of their numbers, with a place before the first and one behind the last.
    let rows = sqlx::query!(
        r#"
        SELECT campaign AS "campaign!", number AS "number!", next AS "next!"
        FROM (
            SELECT campaign, number, lead(number) OVER (PARTITION BY campaign ORDER BY number) AS next
            FROM (
                SELECT campaign, number FROM grants WHERE $1::bigint IS NULL OR campaign = $1
                UNION ALL SELECT campaign, -1 FROM accounts WHERE $1::bigint IS NULL OR campaign = $1
                UNION ALL SELECT campaign, grants FROM accounts WHERE $1::bigint IS NULL OR campaign = $1
            ) n
        ) n
        WHERE next <> number + 1
        ORDER BY campaign, number
        "#,
        snapshot.only(),
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    for row in rows {
        let campaign = any_campaign(row.campaign);
        let named = |number: i64| format!("grant:{}", GrantId { campaign, number: number.cast_unsigned() });
        let counted = snapshot.campaigns.get(&campaign).map_or(0, |campaign| campaign.grants);
        if row.next == row.number {
            let what =
                if row.number == counted { "is one more than the books count" } else { "is there twice" };
            let detail =
                format!("hold {} of campaign {campaign} {what}; the books count {counted}", row.number);
            snapshot.findings.add(Code::GrantNumberTwice, named(row.number), Some(campaign), detail);
            continue;
        }
        for number in row.number + 1..row.next.min(row.number + 1 + GAP_MAX) {
            snapshot.known.missing.insert((campaign, number));
            let detail = format!(
                "the books count {counted} holds of campaign {campaign}; there is no hold of the number {number}"
            );
            snapshot.findings.add(Code::GrantMissing, named(number), Some(campaign), detail);
        }
    }
    Ok(())
}

/// A campaign meets each outcome once.
async fn compare_outcomes(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT campaign, outcome, min(number) AS "first!", max(number) AS "last!", count(*) AS "grants!"
        FROM grants
        WHERE $1::bigint IS NULL OR campaign = $1
        GROUP BY campaign, outcome
        HAVING min(number) <> max(number)
        "#,
        snapshot.only(),
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    for row in rows {
        let campaign = any_campaign(row.campaign);
        let about = GrantId { campaign, number: row.last.cast_unsigned() };
        let first = GrantId { campaign, number: row.first.cast_unsigned() };
        let detail =
            format!("there are {} grants for outcome {}, the first one is {first}", row.grants, row.outcome);
        snapshot.findings.add(Code::OutcomeGrantedTwice, format!("grant:{about}"), Some(campaign), detail);
    }
    Ok(())
}

/// Outcomes that would be granted once more if they were sent again.
async fn find_forgotten(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT g.campaign, g.number, g.outcome
        FROM grants g LEFT JOIN outcomes o ON o.key = g.outcome
        WHERE o.key IS NULL AND ($1::bigint IS NULL OR g.campaign = $1)
        ORDER BY g.campaign, g.number
        "#,
        snapshot.only(),
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    for row in rows {
        let campaign = any_campaign(row.campaign);
        let grant = GrantId { campaign, number: row.number.cast_unsigned() };
        let detail = format!("outcome {} was granted and is not known by its key", row.outcome);
        snapshot.findings.add(Code::OutcomeMissing, format!("grant:{grant}"), Some(campaign), detail);
    }
    Ok(())
}
