//! Notices that a budget comes to its end.

use chrono::{DateTime, Utc};
use laurel_events::{Amount, BudgetNoticed, CampaignId};
use laurel_ledger::{Balances, LedgerError, amount_from_sql, amount_to_sql};
use sqlx::PgConnection;

/// How many percent of a cap are told of.
pub const NOTICED: [u8; 3] = [50, 80, 100];

/// Those that books have come to which had not come to them `before`.
fn reached(before: &Balances, after: &Balances) -> impl Iterator<Item = u8> {
    let (before, after) = (*before, *after);
    NOTICED.into_iter().filter(move |percent| !is_past(&before, *percent) && is_past(&after, *percent))
}

fn is_past(books: &Balances, percent: u8) -> bool {
    let granted = granted_of(books).units();
    // A cap is a uint96: a hundred of them fit.
    !books.funded.is_zero()
        && granted.saturating_mul(alloy_primitives::U256::from(100))
            >= books.funded.units().saturating_mul(alloy_primitives::U256::from(percent))
}

/// What of a cap is held or paid.
fn granted_of(books: &Balances) -> Amount {
    let left = books.available.plus(books.returned).unwrap_or(books.available);
    books.funded.minus(left).unwrap_or(Amount::ZERO)
}

/// Notes what the budget of a campaign, whose books are locked, has come to; once for each cap, however often holds are given back.
pub(crate) async fn note_budget(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    before: &Balances,
    after: &Balances,
) -> Result<Vec<BudgetNoticed>, LedgerError> {
    let percents: Vec<i16> = reached(before, after).map(i16::from).collect();
    if percents.is_empty() {
        return Ok(Vec::new());
    }
    let cap = after.funded;
    let noted = sqlx::query_scalar!(
        r#"
        INSERT INTO budget_notices (campaign, percent, cap, noted_at)
        SELECT $1, percent, $3, $4 FROM unnest($2::smallint[]) AS percent
        ON CONFLICT DO NOTHING
        RETURNING percent
        "#,
        campaign.number(),
        &percents,
        amount_to_sql(cap),
        now,
    )
    .fetch_all(conn)
    .await?;
    let granted = granted_of(after);
    let mut noted: Vec<u8> = noted.into_iter().filter_map(|percent| percent.try_into().ok()).collect();
    noted.sort_unstable();
    Ok(noted.into_iter().map(|percent| BudgetNoticed { campaign, percent, cap, granted }).collect())
}

/// That a campaign came to so much of a cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetNotice {
    /// How many percent.
    pub percent: u8,
    /// Of which cap.
    pub cap: Amount,
    /// When.
    pub at: DateTime<Utc>,
}

/// What was told of a campaign's budget, the last first.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_notices(
    conn: &mut PgConnection,
    campaign: CampaignId,
    limit: i64,
) -> Result<Vec<BudgetNotice>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT percent, cap, noted_at FROM budget_notices WHERE campaign = $1
        ORDER BY noted_at DESC, cap DESC, percent DESC LIMIT $2
        "#,
        campaign.number(),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let wrong = |_| LedgerError::Inconsistent {
                table: "budget_notices",
                column: "percent",
                id: campaign.to_string(),
            };
            Ok(BudgetNotice {
                percent: row.percent.try_into().map_err(wrong)?,
                cap: amount_from_sql(&row.cap, "budget_notices", "cap", campaign)?,
                at: row.noted_at,
            })
        })
        .collect()
}
