//! The campaigns' double-entry books: two-phase transfers, as in TigerBeetle.
//!
//! ```text
//!   chain ──fund──► available ──hold──► reserved ──post──► paid
//!                     │   ▲                │
//!   returned ◄──return──┘   └──────void──────┘
//! ```
//!
//! A transfer is immutable and has a natural key: writing it again says [`Written::Exists`], and with other content it
//! is an error. Balances move in the same transaction and cannot fall below zero.
//!
//! # What the chain takes back
//!
//! ```text
//!   turn 0  written   +a      turn 1  undone   -a      turn 2  written again   +a'   …
//! ```
//!
//! A transfer is undone by a row of its own, with the opposite amount: what the rows of its key sum up to is true at any time.
//! Undoing one twice changes nothing. What is undone may have been granted to others by then: the campaign is overdrawn by what
//! it lacks, grants nothing, and whatever comes covers that first.

use std::collections::BTreeMap;

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_events::{Amount, CampaignId, EventId, GrantId, OutcomeKey, PlayerId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    LedgerError,
    numeric::{amount_from_sql, amount_to_sql},
};

/// A campaign's balances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balances {
    /// The vault's cap, and what is overdrawn: the sum of the next four.
    pub funded: Amount,
    /// Free for grants.
    pub available: Amount,
    /// Held for grants under way.
    pub reserved: Amount,
    /// Paid on the chain.
    pub paid: Amount,
    /// Given back when the vault released the campaign.
    pub returned: Amount,
    /// What grants stand on and the vault has no cap for, since the chain took back what was final. Nothing is available then.
    pub overdrawn: Amount,
    /// How many grants there are: the next grant's number.
    pub grants: u64,
    /// How many declines there are: the next decline's number.
    pub declines: u64,
}

impl Balances {
    /// The vault's cap.
    pub fn cap(&self) -> Amount {
        self.funded.minus(self.overdrawn).unwrap_or(Amount::ZERO)
    }
}

/// Whether a transfer was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was written now.
    Created,
    /// The same transfer was there already; nothing changed.
    Exists,
}

/// A hold: available -> reserved for one grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The grant.
    pub grant: GrantId,
    /// Where the outcome that earned it stands in the journal.
    pub cause: EventId,
    /// That outcome.
    pub outcome: OutcomeKey,
    /// Who earned it.
    pub player: PlayerId,
    /// How much.
    pub amount: Amount,
    /// The rule that granted it.
    pub rule_version: i32,
}

/// Opens a campaign's books, empty.
///
/// # Errors
/// If they exist or the database does not answer.
pub async fn open_account(conn: &mut PgConnection, campaign: CampaignId) -> Result<(), LedgerError> {
    sqlx::query!("INSERT INTO accounts (campaign) VALUES ($1)", campaign.number()).execute(conn).await?;
    Ok(())
}

/// Locks the books of `campaigns`, in ascending order, until the transaction ends.
///
/// # Errors
/// If a balance is no amount or the database does not answer.
pub async fn lock_accounts(
    conn: &mut PgConnection,
    campaigns: &[CampaignId],
) -> Result<BTreeMap<CampaignId, Balances>, LedgerError> {
    #[cfg(feature = "faults")]
    if crate::planted!(CapOutsideTransaction) {
        return crate::faults::read_accounts(conn, campaigns).await;
    }
    let ids: Vec<i64> = campaigns.iter().map(|campaign| campaign.number()).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT campaign, funded, available, reserved, paid, returned, overdrawn, grants, declines
        FROM accounts
        WHERE campaign = ANY ($1)
        ORDER BY campaign
        FOR NO KEY UPDATE
        "#,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::balances).collect()
}

/// A campaign's balances as they are at the moment.
///
/// # Errors
/// If a balance is no amount or the database does not answer.
pub async fn find_balances(
    conn: &mut PgConnection,
    campaign: CampaignId,
) -> Result<Option<Balances>, LedgerError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT campaign, funded, available, reserved, paid, returned, overdrawn, grants, declines
        FROM accounts
        WHERE campaign = $1
        "#,
        campaign.number(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Row::balances).transpose()?.map(|(_, balances)| balances))
}

struct Row {
    campaign: i64,
    funded: BigDecimal,
    available: BigDecimal,
    reserved: BigDecimal,
    paid: BigDecimal,
    returned: BigDecimal,
    overdrawn: BigDecimal,
    grants: i64,
    declines: i64,
}

impl Row {
    fn balances(self) -> Result<(CampaignId, Balances), LedgerError> {
        let id = self.campaign;
        let amount = |value: &BigDecimal, column| amount_from_sql(value, "accounts", column, id);
        let count = |value: i64, column| {
            u64::try_from(value).map_err(|_| LedgerError::inconsistent("accounts", column, id))
        };
        let campaign =
            CampaignId::try_from(id).map_err(|_| LedgerError::inconsistent("accounts", "campaign", id))?;
        let balances = Balances {
            funded: amount(&self.funded, "funded")?,
            available: amount(&self.available, "available")?,
            reserved: amount(&self.reserved, "reserved")?,
            paid: amount(&self.paid, "paid")?,
            returned: amount(&self.returned, "returned")?,
            overdrawn: amount(&self.overdrawn, "overdrawn")?,
            grants: count(self.grants, "grants")?,
            declines: count(self.declines, "declines")?,
        };
        Ok((campaign, balances))
    }
}

/// Writes holds. The caller has locked the books and numbered the grants from there.
///
/// # Errors
/// If an outcome was granted by its campaign before, a balance does not suffice, or the database does not answer.
pub async fn hold(conn: &mut PgConnection, now: DateTime<Utc>, holds: &[Hold]) -> Result<(), LedgerError> {
    if holds.is_empty() {
        return Ok(());
    }
    let campaigns: Vec<i64> = holds.iter().map(|hold| hold.grant.campaign.number()).collect();
    let numbers: Vec<i64> = holds.iter().map(|hold| hold.grant.number.cast_signed()).collect();
    let parts: Vec<i16> = holds.iter().map(|hold| hold.cause.partition.number()).collect();
    let positions: Vec<i64> = holds.iter().map(|hold| hold.cause.offset).collect();
    let indexes: Vec<i32> = holds.iter().map(|hold| hold.cause.index).collect();
    let outcomes: Vec<Uuid> = holds.iter().map(|hold| hold.outcome.uuid()).collect();
    let players: Vec<Uuid> = holds.iter().map(|hold| hold.player.uuid()).collect();
    let amounts: Vec<BigDecimal> = holds.iter().map(|hold| amount_to_sql(hold.amount)).collect();
    let rules: Vec<i32> = holds.iter().map(|hold| hold.rule_version).collect();
    let inserted = sqlx::query!(
        r#"
        INSERT INTO grants (campaign, number, part, position, idx, outcome, player, amount, rule_version, recorded_at)
        SELECT g.*, $10
        FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::integer[], $6::uuid[], $7::uuid[],
                    $8::numeric[], $9::integer[]) AS g
        "#,
        &campaigns,
        &numbers,
        &parts,
        &positions,
        &indexes,
        &outcomes,
        &players,
        &amounts,
        &rules,
        now,
    )
    .execute(&mut *conn)
    .await?;
    LedgerError::expect_rows("hold", holds.len(), inserted.rows_affected())?;
    move_to_reserved(conn, holds).await
}

async fn move_to_reserved(conn: &mut PgConnection, holds: &[Hold]) -> Result<(), LedgerError> {
    let mut sums: BTreeMap<CampaignId, (Amount, i64)> = BTreeMap::new();
    for hold in holds {
        let (sum, count) = sums.entry(hold.grant.campaign).or_default();
        *sum = sum.plus(hold.amount)?;
        *count += 1;
    }
    let ids: Vec<i64> = sums.keys().map(|campaign| campaign.number()).collect();
    let amounts: Vec<BigDecimal> = sums.values().map(|(sum, _)| amount_to_sql(*sum)).collect();
    let counts: Vec<i64> = sums.values().map(|(_, count)| *count).collect();
    let moved = sqlx::query!(
        r#"
        UPDATE accounts a
        SET available = available - s.amount, reserved = reserved + s.amount, grants = grants + s.count
        FROM unnest($1::bigint[], $2::numeric[], $3::bigint[]) AS s (campaign, amount, count)
        WHERE a.campaign = s.campaign
        "#,
        &ids,
        &amounts,
        &counts,
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("reserve", sums.len(), moved.rows_affected())
}
