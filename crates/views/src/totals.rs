//! What grants add up to.

use laurel_events::{Amount, OrgId};
use laurel_ledger::{LedgerError, amount_from_sql};
use sqlx::PgConnection;

use crate::{GrantFilter, GrantWalk, campaign_journal::TABLE, candidates::Scope, list_grant_views};

/// How many grants at the most are added up one by one: some seconds.
const GRANTS_MAX: u64 = 500_000;

/// How many are looked at together where they are looked for one by one.
const PAGE: i64 = 500;

/// What grants add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantTotals {
    /// How many there are.
    pub grants: u64,
    /// Their amounts. Of several tokens that is a sum of unlike things.
    pub amount: Amount,
    /// Whether that is all of them: of very many only the first are added up.
    pub complete: bool,
}

impl GrantTotals {
    fn add(&mut self, grants: u64, amount: Amount) -> Result<(), LedgerError> {
        let overflow =
            |_| LedgerError::Inconsistent { table: "grants", column: "amount", id: self.grants.to_string() };
        self.amount = self.amount.plus(amount).map_err(overflow)?;
        self.grants += grants;
        Ok(())
    }
}

/// What all grants add up to that the filter lets pass; what it says of `after` is not looked at.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn grant_totals(
    conn: &mut PgConnection,
    org: OrgId,
    filter: &GrantFilter<'_>,
) -> Result<GrantTotals, LedgerError> {
    let filter = GrantFilter { after: None, ..*filter };
    match (filter.asks_of_campaigns_and_time(), filter.finds_few()) {
        (true, _) => by_chunk(conn, org, &filter).await,
        (false, true) => by_page(conn, org, filter).await,
        (false, false) => by_walk(conn, org, &filter).await,
    }
}

/// A chunk of the journal has one time, so its grants are in a span together or not at all.
async fn by_chunk(
    conn: &mut PgConnection,
    org: OrgId,
    filter: &GrantFilter<'_>,
) -> Result<GrantTotals, LedgerError> {
    let mut totals = GrantTotals { complete: true, ..GrantTotals::default() };
    let mut after = (0, -1);
    loop {
        let scope = Scope::load(conn, org, filter, after).await?;
        let campaigns = scope.columns().campaigns;
        let row = sqlx::query!(
            r#"
            WITH counted AS (
                SELECT sum(j.events) AS grants, sum(j.amount) AS amount FROM campaign_journal j
                WHERE j.campaign = ANY ($1) AND j.kind = 'TokenGrantRequested' AND j.first IS NOT NULL
                  AND ($2::timestamptz IS NULL OR j.recorded_at >= $2) AND ($3::timestamptz IS NULL OR j.recorded_at < $3)
            ), later AS (
                -- what the journal of the campaign has not come to yet
                SELECT count(*) AS grants, sum(g.amount) AS amount
                FROM unnest($1::bigint[]) AS c (id)
                JOIN grants g ON g.campaign = c.id AND g.number >= coalesce((
                    SELECT j.granted FROM campaign_journal j WHERE j.campaign = c.id
                    ORDER BY j.position DESC, j.idx DESC LIMIT 1), 0)
                WHERE ($2::timestamptz IS NULL OR g.recorded_at >= $2) AND ($3::timestamptz IS NULL OR g.recorded_at < $3)
            )
            SELECT coalesce(c.grants, 0) + l.grants AS "grants!", coalesce(c.amount, 0) + coalesce(l.amount, 0) AS "amount!"
            FROM counted c, later l
            "#,
            &campaigns,
            filter.granted.0,
            filter.granted.1,
        )
        .fetch_one(&mut *conn)
        .await?;
        totals.add(row.grants.unsigned_abs(), amount_from_sql(&row.amount, TABLE, "amount", "sum")?)?;
        let Some(more) = scope.more else { return Ok(totals) };
        after = more;
    }
}

async fn by_page(
    conn: &mut PgConnection,
    org: OrgId,
    mut filter: GrantFilter<'_>,
) -> Result<GrantTotals, LedgerError> {
    let mut totals = GrantTotals::default();
    while totals.grants < GRANTS_MAX {
        let page = list_grant_views(conn, org, &filter, PAGE).await?;
        for grant in &page.grants {
            totals.add(1, grant.amount)?;
        }
        if page.next.is_none() {
            totals.complete = true;
            break;
        }
        filter.after = page.next;
    }
    Ok(totals)
}

async fn by_walk(
    conn: &mut PgConnection,
    org: OrgId,
    filter: &GrantFilter<'_>,
) -> Result<GrantTotals, LedgerError> {
    let mut totals = GrantTotals::default();
    let mut walk = GrantWalk::begin(conn, org, filter).await?;
    let mut looked_at = 0;
    while looked_at < GRANTS_MAX {
        let Some(grants) = walk.next(conn, filter).await? else {
            totals.complete = true;
            break;
        };
        looked_at += GrantWalk::WINDOW.unsigned_abs();
        for grant in &grants {
            totals.add(1, grant.amount)?;
        }
    }
    Ok(totals)
}
