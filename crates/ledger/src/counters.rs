//! How much of a campaign's caps each player has used.

use std::collections::HashMap;

use bigdecimal::BigDecimal;
use chrono::NaiveDate;
use laurel_events::{Amount, CampaignId, PlayerId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    LedgerError,
    numeric::{amount_from_sql, amount_to_sql},
};

/// The time over which a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// The campaign's whole life.
    Life,
    /// A UTC day, by the time of recording.
    Day(NaiveDate),
}

impl Period {
    /// The day that stands for a whole life: before any outcome.
    const LIFE: NaiveDate = NaiveDate::from_ymd_opt(1970, 1, 1).expect("the first of January is a day");

    fn date(self) -> NaiveDate {
        match self {
            Self::Life => Self::LIFE,
            Self::Day(day) => day,
        }
    }

    fn from_date(date: NaiveDate) -> Self {
        if date == Self::LIFE { Self::Life } else { Self::Day(date) }
    }
}

/// Which counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterKey {
    /// The campaign.
    pub campaign: CampaignId,
    /// The player.
    pub player: PlayerId,
    /// The period.
    pub period: Period,
}

/// What a player has got of a campaign in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// How many grants.
    pub grants: u64,
    /// Their sum.
    pub amount: Amount,
    /// The cap on the number; the database refuses more.
    pub grants_max: Option<u64>,
    /// The cap on the sum; the database refuses more.
    pub amount_max: Option<Amount>,
}

/// The counters of `keys`, locked in ascending order; those that do not exist yet are at zero.
///
/// The campaign's books must be locked before: they keep two transactions from making the same counter.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn load_counters(
    conn: &mut PgConnection,
    keys: &[CounterKey],
) -> Result<HashMap<CounterKey, Counter>, LedgerError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let campaigns: Vec<i64> = keys.iter().map(|key| key.campaign.number()).collect();
    let players: Vec<Uuid> = keys.iter().map(|key| key.player.uuid()).collect();
    let periods: Vec<NaiveDate> = keys.iter().map(|key| key.period.date()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT c.campaign, c.player, c.period, c.grants, c.amount
        FROM counters c
        JOIN unnest($1::bigint[], $2::uuid[], $3::date[]) AS k (campaign, player, period)
            ON c.campaign = k.campaign AND c.player = k.player AND c.period = k.period
        ORDER BY c.campaign, c.player, c.period
        FOR NO KEY UPDATE OF c
        "#,
        &campaigns,
        &players,
        &periods,
    )
    .fetch_all(conn)
    .await?;
    let mut counters: HashMap<CounterKey, Counter> =
        keys.iter().map(|key| (*key, Counter::default())).collect();
    for row in rows {
        let id = format!("{}/{}/{}", row.campaign, row.player, row.period);
        let wrong = |column| LedgerError::inconsistent("counters", column, &id);
        let campaign = CampaignId::try_from(row.campaign).map_err(|_| wrong("campaign"))?;
        let key = CounterKey { campaign, player: row.player.into(), period: Period::from_date(row.period) };
        let grants = u64::try_from(row.grants).map_err(|_| wrong("grants"))?;
        let amount = amount_from_sql(&row.amount, "counters", "amount", &id)?;
        counters.insert(key, Counter { grants, amount, grants_max: None, amount_max: None });
    }
    Ok(counters)
}

/// Writes counters as they are now.
///
/// # Errors
/// If a counter is beyond its cap or the database does not answer.
pub async fn save_counters(
    conn: &mut PgConnection,
    counters: &[(CounterKey, Counter)],
) -> Result<(), LedgerError> {
    if counters.is_empty() {
        return Ok(());
    }
    let campaigns: Vec<i64> = counters.iter().map(|(key, _)| key.campaign.number()).collect();
    let players: Vec<Uuid> = counters.iter().map(|(key, _)| key.player.uuid()).collect();
    let periods: Vec<NaiveDate> = counters.iter().map(|(key, _)| key.period.date()).collect();
    let grants: Vec<i64> = counters.iter().map(|(_, counter)| counter.grants.cast_signed()).collect();
    let amounts: Vec<BigDecimal> =
        counters.iter().map(|(_, counter)| amount_to_sql(counter.amount)).collect();
    let grants_max: Vec<Option<i64>> =
        counters.iter().map(|(_, counter)| counter.grants_max.map(u64::cast_signed)).collect();
    let amount_max: Vec<Option<BigDecimal>> =
        counters.iter().map(|(_, counter)| counter.amount_max.map(amount_to_sql)).collect();
    let saved = sqlx::query!(
        r#"
        INSERT INTO counters (campaign, player, period, grants, amount, grants_max, amount_max)
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::date[], $4::bigint[], $5::numeric[], $6::bigint[],
                             $7::numeric[])
        ON CONFLICT (campaign, player, period) DO UPDATE
        SET grants = EXCLUDED.grants, amount = EXCLUDED.amount,
            grants_max = EXCLUDED.grants_max, amount_max = EXCLUDED.amount_max
        "#,
        &campaigns,
        &players,
        &periods,
        &grants,
        &amounts,
        &grants_max as &[Option<i64>],
        &amount_max as &[Option<BigDecimal>],
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("save counters", counters.len(), saved.rows_affected())
}
