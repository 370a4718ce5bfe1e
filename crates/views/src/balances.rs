//! The books of an organisation day by day: what each account held, and what went in and out.
//!
//! A day ends where the journal of a campaign has the first event that was recorded later, so that one day's end is the next one's
//! beginning, and what lies between is what moved.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use bigdecimal::BigDecimal;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use laurel_events::OrgId;
use laurel_ledger::LedgerError;
use sqlx::PgConnection;

use crate::campaign_journal::TABLE;

/// An account of the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// Where budgets come from: below zero by what the vault has caps for.
    Chain,
    /// Free for grants; below zero where the chain took back what grants stand on.
    Available,
    /// Held for grants under way.
    Reserved,
    /// Paid, in final blocks.
    Paid,
    /// Given back when the vault released a campaign.
    Returned,
}

impl Account {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Chain, Self::Available, Self::Reserved, Self::Paid, Self::Returned];

    /// Its name, as transfers have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Available => "available",
            Self::Reserved => "reserved",
            Self::Paid => "paid",
            Self::Returned => "returned",
        }
    }
}

/// From which account to which an event of that kind moves.
fn movement(kind: &str) -> Option<(Account, Account)> {
    use Account::{Available, Chain, Paid, Reserved, Returned};
    Some(match kind {
        "BudgetFunded" => (Chain, Available),
        "BudgetUnfunded" => (Available, Chain),
        "TokenGrantRequested" => (Available, Reserved),
        "BudgetReleased" => (Reserved, Available),
        "BudgetReheld" => (Available, Reserved),
        "BudgetPosted" => (Reserved, Paid),
        "BudgetUnposted" => (Paid, Reserved),
        "BudgetReturned" => (Available, Returned),
        "BudgetReclaimed" => (Returned, Available),
        _ => return None,
    })
}

/// An account of a token's books on a day (UTC), in base units: `closing` is `opening` with `credits` and without `debits`, and all
/// accounts of a token add up to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayBalance {
    /// The day.
    pub day: NaiveDate,
    /// The chain.
    pub chain_id: u64,
    /// The token.
    pub token: Address,
    /// The account.
    pub account: Account,
    /// What it held when the day began.
    pub opening: BigDecimal,
    /// What left it.
    pub debits: BigDecimal,
    /// What entered it.
    pub credits: BigDecimal,
    /// What it held when the day ended.
    pub closing: BigDecimal,
}

/// A token on a chain.
type Token = (u64, Address);

/// The organisation's accounts on each day from `first` on, before `until`, token by token. Days on which nothing moved are there, too.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn day_balances(
    conn: &mut PgConnection,
    org: OrgId,
    first: NaiveDate,
    until: NaiveDate,
) -> Result<Vec<DayBalance>, LedgerError> {
    let mut holds = openings(conn, org, midnight(first)).await?;
    let moved = movements(conn, org, midnight(first), midnight(until)).await?;
    let mut tokens: Vec<Token> = holds.keys().chain(moved.keys().map(|(_, token)| token)).copied().collect();
    tokens.sort_unstable();
    tokens.dedup();
    let mut balances = Vec::new();
    let mut day = first;
    while day < until {
        for token in &tokens {
            let none = BTreeMap::new();
            let turnover = moved.get(&(day, *token)).unwrap_or(&none);
            let held = holds.entry(*token).or_default();
            for account in Account::ALL {
                let (debits, credits) = turnover.get(&account).cloned().unwrap_or_default();
                let opening = held.get(&account).cloned().unwrap_or_default();
                let closing = &opening - &debits + &credits;
                held.insert(account, closing.clone());
                let (chain_id, token) = *token;
                balances.push(DayBalance {
                    day,
                    chain_id,
                    token,
                    account,
                    opening,
                    debits,
                    credits,
                    closing,
                });
            }
        }
        let Some(next) = day.checked_add_days(Days::new(1)) else { break };
        day = next;
    }
    Ok(balances)
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

fn token_of(chain_id: i64, token: &[u8]) -> Result<Token, LedgerError> {
    let wrong =
        |_| LedgerError::Inconsistent { table: "campaigns", column: "token", id: chain_id.to_string() };
    Ok((chain_id.cast_unsigned(), Address::try_from(token).map_err(wrong)?))
}

/// What each token's accounts held at a moment.
async fn openings(
    conn: &mut PgConnection,
    org: OrgId,
    at: DateTime<Utc>,
) -> Result<BTreeMap<Token, BTreeMap<Account, BigDecimal>>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT v.chain_id, c.token, sum(j.funded) AS "funded!", sum(j.granted_amount) AS "granted!",
               sum(j.released_amount) AS "released!", sum(j.paid_amount) AS "paid!", sum(j.returned) AS "returned!"
        FROM campaigns c
        JOIN vaults v ON v.id = c.vault
        CROSS JOIN LATERAL (
            SELECT * FROM campaign_journal j
            WHERE j.campaign = c.id AND j.peak_at < $2
            ORDER BY j.peak_at DESC, j.position DESC, j.idx DESC
            LIMIT 1
        ) j
        WHERE c.org = $1
        GROUP BY v.chain_id, c.token
        "#,
        org.0,
        at,
    )
    .fetch_all(conn)
    .await?;
    let openings = rows.into_iter().map(|row| {
        let reserved = &row.granted - &row.released - &row.paid;
        let available = &row.funded - &reserved - &row.paid - &row.returned;
        let held = BTreeMap::from([
            (Account::Chain, -row.funded),
            (Account::Available, available),
            (Account::Reserved, reserved),
            (Account::Paid, row.paid),
            (Account::Returned, row.returned),
        ]);
        Ok((token_of(row.chain_id, &row.token)?, held))
    });
    openings.collect()
}

/// What left each account, and what entered it.
type Turnover = BTreeMap<Account, (BigDecimal, BigDecimal)>;

/// What moved on each day.
async fn movements(
    conn: &mut PgConnection,
    org: OrgId,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<BTreeMap<(NaiveDate, Token), Turnover>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT v.chain_id, c.token, (j.peak_at AT TIME ZONE 'UTC')::date AS "day!", j.kind, sum(j.amount) AS "amount!"
        FROM campaigns c
        JOIN vaults v ON v.id = c.vault
        JOIN campaign_journal j ON j.campaign = c.id AND j.peak_at >= $2 AND j.peak_at < $3
        WHERE c.org = $1 AND j.amount > 0
        GROUP BY 1, 2, 3, 4
        "#,
        org.0,
        from,
        until,
    )
    .fetch_all(conn)
    .await?;
    let mut moved: BTreeMap<(NaiveDate, Token), Turnover> = BTreeMap::new();
    for row in rows {
        let (debit, credit) = movement(&row.kind).ok_or_else(|| LedgerError::Inconsistent {
            table: TABLE,
            column: "kind",
            id: row.kind.clone(),
        })?;
        let turnover = moved.entry((row.day, token_of(row.chain_id, &row.token)?)).or_default();
        turnover.entry(debit).or_default().0 += &row.amount;
        turnover.entry(credit).or_default().1 += &row.amount;
    }
    Ok(moved)
}
