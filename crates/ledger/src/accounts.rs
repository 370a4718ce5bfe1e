//! The campaigns' double-entry books: two-phase transfers, as in TigerBeetle.
//!
//! ```text
//!   chain ──fund──► available ──hold──► reserved ──post──► paid
//!                       ▲                  │
//!                       └───────void───────┘
//! ```
//!
//! A transfer is immutable and has a natural key: writing it again says [`Written::Exists`], and with other content it
//! is an error. Balances move in the same transaction and cannot fall below zero.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_events::{Amount, BatchId, CampaignId, EventId, GrantId, OutcomeKey, PlayerId, VoidProof};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    LedgerError,
    numeric::{amount_from_sql, amount_to_sql},
};

/// A campaign's balances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balances {
    /// All that the vault's cap ever allowed: the sum of the other four.
    pub funded: Amount,
    /// Free for grants.
    pub available: Amount,
    /// Held for grants under way.
    pub reserved: Amount,
    /// Paid on the chain.
    pub paid: Amount,
    /// Given back to the treasury.
    pub returned: Amount,
    /// How many grants there are: the next grant's number.
    pub grants: u64,
    /// How many declines there are: the next decline's number.
    pub declines: u64,
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

/// A posting: reserved -> paid for what one batch paid of one campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The batch.
    pub batch: BatchId,
    /// The campaign.
    pub campaign: CampaignId,
    /// How many grants.
    pub grants: u32,
    /// Their sum.
    pub amount: Amount,
    /// The transaction.
    pub tx: B256,
}

/// A funding: the vault's cap for a campaign, seen in a final block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Funding {
    /// The campaign.
    pub campaign: CampaignId,
    /// The block.
    pub block_number: u64,
    /// The log in the block.
    pub log_index: u32,
    /// The transaction.
    pub tx: B256,
    /// The whole cap.
    pub cap: Amount,
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
        SELECT campaign, funded, available, reserved, paid, returned, grants, declines
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
        SELECT campaign, funded, available, reserved, paid, returned, grants, declines
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

/// Writes a posting, unless it is there.
///
/// # Errors
/// [`LedgerError::ExistsDifferent`], or if less is reserved than it moves, or the database does not answer.
pub async fn post(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    posting: &Posting,
) -> Result<Written, LedgerError> {
    let grants = i32::try_from(posting.grants).unwrap_or(i32::MAX);
    let amount = amount_to_sql(posting.amount);
    let created = sqlx::query!(
        r#"
        INSERT INTO postings (batch, campaign, grants, amount, tx, recorded_at, turn)
        SELECT $1, $2, $3, $4, $5, $6, coalesce(max(turn) + 1, 0) FROM postings WHERE batch = $1 AND campaign = $2
        HAVING coalesce(max(turn), 1) % 2 = 1
        ON CONFLICT DO NOTHING
        "#,
        posting.batch.uuid(),
        posting.campaign.number(),
        grants,
        amount,
        posting.tx.as_slice(),
        now,
    )
    .execute(&mut *conn)
    .await?;
    if created.rows_affected() == 0 && !crate::planted!(HoldPostedTwice) {
        return check_posting(conn, posting).await;
    }
    let moved = sqlx::query!(
        "UPDATE accounts SET reserved = reserved - $2, paid = paid + $2 WHERE campaign = $1",
        posting.campaign.number(),
        amount,
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("post", 1, moved.rows_affected())?;
    Ok(Written::Created)
}

async fn check_posting(conn: &mut PgConnection, posting: &Posting) -> Result<Written, LedgerError> {
    let found = sqlx::query!(
        "SELECT grants, amount, tx FROM postings WHERE batch = $1 AND campaign = $2 ORDER BY turn DESC LIMIT 1",
        posting.batch.uuid(),
        posting.campaign.number(),
    )
    .fetch_one(conn)
    .await?;
    let id = || format!("{}/{}", posting.batch, posting.campaign);
    let different = |field| Err(LedgerError::ExistsDifferent { transfer: "posting", id: id(), field });
    if amount_from_sql(&found.amount, "postings", "amount", id())? != posting.amount {
        return different("amount");
    }
    if found.tx != posting.tx.as_slice() {
        return different("tx");
    }
    if u32::try_from(found.grants).ok() != Some(posting.grants) {
        return different("grants");
    }
    Ok(Written::Exists)
}

/// Voids a hold, unless it was voided. The caller has the proof of INV 5.
///
/// # Errors
/// [`LedgerError::ExistsDifferent`], or if less is reserved than it moves, or the database does not answer.
pub async fn void(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    grant: GrantId,
    amount: Amount,
    proof: &VoidProof,
) -> Result<Written, LedgerError> {
    let (campaign, number) = (grant.campaign.number(), grant.number.cast_signed());
    let units = amount_to_sql(amount);
    let proof = serde_json::to_value(proof)
        .map_err(|source| LedgerError::Database(sqlx::Error::Encode(source.into())))?;
    let created = sqlx::query!(
        r#"
        INSERT INTO voids (campaign, number, amount, proof, recorded_at, turn)
        SELECT $1, $2, $3, $4, $5, coalesce(max(turn) + 1, 0) FROM voids WHERE campaign = $1 AND number = $2
        HAVING coalesce(max(turn), 1) % 2 = 1
        ON CONFLICT DO NOTHING
        "#,
        campaign,
        number,
        units,
        proof,
        now,
    )
    .execute(&mut *conn)
    .await?;
    if created.rows_affected() == 0 {
        let found = sqlx::query_scalar!(
            "SELECT amount FROM voids WHERE campaign = $1 AND number = $2 ORDER BY turn DESC LIMIT 1",
            campaign,
            number
        )
        .fetch_one(conn)
        .await?;
        return if found == units {
            Ok(Written::Exists)
        } else {
            Err(LedgerError::ExistsDifferent { transfer: "void", id: grant.to_string(), field: "amount" })
        };
    }
    let moved = sqlx::query!(
        "UPDATE accounts SET reserved = reserved - $2, available = available + $2 WHERE campaign = $1",
        campaign,
        units,
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("void", 1, moved.rows_affected())?;
    Ok(Written::Created)
}

/// Writes a funding, unless it is there: `funded` becomes the cap, which only rises.
///
/// # Errors
/// [`LedgerError::ExistsDifferent`], or if the campaign has no books, or the database does not answer.
pub async fn fund(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    funding: &Funding,
) -> Result<Written, LedgerError> {
    let id = || format!("{}/{}/{}", funding.campaign, funding.block_number, funding.log_index);
    let books = lock_accounts(conn, &[funding.campaign]).await?;
    let balances = books
        .get(&funding.campaign)
        .ok_or_else(|| LedgerError::inconsistent("accounts", "campaign", funding.campaign))?;
    let added = funding.cap.minus(balances.funded).unwrap_or(Amount::ZERO);
    let created = sqlx::query!(
        r#"
        INSERT INTO fundings (campaign, block_number, log_index, tx, cap, added, recorded_at, turn)
        SELECT $1, $2, $3, $4, $5, $6, $7, coalesce(max(turn) + 1, 0) FROM fundings
        WHERE campaign = $1 AND block_number = $2 AND log_index = $3
        HAVING coalesce(max(turn), 1) % 2 = 1
        ON CONFLICT DO NOTHING
        "#,
        funding.campaign.number(),
        funding.block_number.cast_signed(),
        funding.log_index.cast_signed(),
        funding.tx.as_slice(),
        amount_to_sql(funding.cap),
        amount_to_sql(added),
        now,
    )
    .execute(&mut *conn)
    .await?;
    if created.rows_affected() == 0 {
        let cap = sqlx::query_scalar!(
            r#"
            SELECT cap FROM fundings WHERE campaign = $1 AND block_number = $2 AND log_index = $3
            ORDER BY turn DESC LIMIT 1
            "#,
            funding.campaign.number(),
            funding.block_number.cast_signed(),
            funding.log_index.cast_signed(),
        )
        .fetch_one(conn)
        .await?;
        return if amount_from_sql(&cap, "fundings", "cap", id())? == funding.cap {
            Ok(Written::Exists)
        } else {
            Err(LedgerError::ExistsDifferent { transfer: "funding", id: id(), field: "cap" })
        };
    }
    let moved = sqlx::query!(
        "UPDATE accounts SET funded = funded + $2, available = available + $2 WHERE campaign = $1",
        funding.campaign.number(),
        amount_to_sql(added),
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("fund", 1, moved.rows_affected())?;
    Ok(Written::Created)
}
