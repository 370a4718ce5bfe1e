//! What the journal says of each campaign's grants and money, chunk by chunk, with what it adds up to.
//!
//! ```text
//!   journal, one partition:   … [12 grants] … [9 places] … [posted 9] … [12 grants] …
//!                                   ▼              ▼            ▼            ▼
//!   campaign_journal:          granted 12      granted 12   granted 12   granted 24        a row for each chunk,
//!                              paid     0      paid     0   paid     9   paid     9        not for each event
//! ```
//!
//! All events that move a campaign's money have the campaign as their subject, so one partition has them all, in the order in which
//! they were committed: what is behind a row is what the books said at that moment.

use std::collections::BTreeMap;

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_events::{Amount, BatchId, CampaignId, Envelope, Event, EventId, EventKind, Partition};
use laurel_ledger::{Balances, LedgerError, amount_from_sql, amount_to_sql};
use sqlx::PgConnection;
use uuid::Uuid;

/// Its table.
pub(crate) const TABLE: &str = "campaign_journal";

/// What the events of a campaign's journal add up to, and how late they were.
#[derive(Clone, Debug, Default)]
struct Sums {
    peak_at: DateTime<Utc>,
    lateness: i64,
    funded: BigDecimal,
    granted: (i64, BigDecimal),
    released: (i64, BigDecimal),
    paid: (i64, BigDecimal),
    returned: BigDecimal,
}

/// What an event does to a campaign's grants or money.
struct Effect {
    campaign: CampaignId,
    batch: Option<BatchId>,
    /// Of a grant that is new, or its sequence number when that is.
    number: Option<u64>,
    amount: Amount,
}

impl Effect {
    const fn of(campaign: CampaignId) -> Self {
        Self { campaign, batch: None, number: None, amount: Amount::ZERO }
    }

    fn from_event(event: &Event) -> Option<Self> {
        Some(match event {
            Event::BudgetFunded(event) => Self { amount: event.amount, ..Self::of(event.campaign) },
            Event::BudgetUnfunded(event) => Self { amount: event.amount, ..Self::of(event.campaign) },
            Event::TokenGrantRequested(event) => {
                let number = Some(event.grant.number);
                Self { number, amount: event.amount, ..Self::of(event.grant.campaign) }
            }
            Event::TokenGrantStarted(event) => {
                Self { number: Some(event.seq), ..Self::of(event.grant.campaign) }
            }
            Event::TokenGrantCompleted(event) => {
                Self { batch: Some(event.batch), ..Self::of(event.grant.campaign) }
            }
            Event::TokenGrantReopened(event) => {
                Self { batch: Some(event.batch), ..Self::of(event.grant.campaign) }
            }
            Event::BudgetPosted(event) => {
                Self { batch: Some(event.batch), amount: event.amount, ..Self::of(event.campaign) }
            }
            Event::BudgetUnposted(event) => {
                Self { batch: Some(event.batch), amount: event.amount, ..Self::of(event.campaign) }
            }
            Event::BudgetReleased(event) => Self { amount: event.amount, ..Self::of(event.grant.campaign) },
            Event::BudgetReheld(event) => Self { amount: event.amount, ..Self::of(event.grant.campaign) },
            Event::BudgetReturned(event) => Self { amount: event.amount, ..Self::of(event.campaign) },
            Event::BudgetReclaimed(event) => Self { amount: event.amount, ..Self::of(event.campaign) },
            _ => return None,
        })
    }
}

impl Sums {
    fn add(&mut self, envelope: &Envelope, amount: &BigDecimal) {
        let behind = (self.peak_at - envelope.recorded_at).num_microseconds().unwrap_or(i64::MAX);
        self.lateness = self.lateness.max(behind);
        self.peak_at = self.peak_at.max(envelope.recorded_at);
        let count = |sum: &mut (i64, BigDecimal), grants: i64| {
            sum.0 += grants;
            if grants < 0 { sum.1 -= amount } else { sum.1 += amount }
        };
        match &envelope.event {
            Event::BudgetFunded(_) => self.funded += amount,
            Event::BudgetUnfunded(_) => self.funded -= amount,
            Event::TokenGrantRequested(_) => count(&mut self.granted, 1),
            Event::BudgetReleased(_) => count(&mut self.released, 1),
            Event::BudgetReheld(_) => count(&mut self.released, -1),
            Event::BudgetPosted(event) => count(&mut self.paid, event.grants.into()),
            Event::BudgetUnposted(event) => count(&mut self.paid, -i64::from(event.grants)),
            Event::BudgetReturned(_) => self.returned += amount,
            Event::BudgetReclaimed(_) => self.returned -= amount,
            _ => {}
        }
    }
}

/// A row.
struct Entry {
    campaign: CampaignId,
    place: Place,
    events: i32,
    amount: BigDecimal,
    numbers: Option<(i64, i64)>,
    batch: Option<BatchId>,
    sums: Sums,
}

impl Entry {
    /// Whether an event of this number follows, so that no two rows of a kind tell of the same number.
    fn takes(&self, number: Option<i64>) -> bool {
        self.numbers.map(|(_, last)| last + 1) == number
    }
}

/// What a row takes from the first of its events.
#[derive(Clone, Copy)]
struct Place {
    part: i16,
    position: i64,
    idx: i32,
    kind: EventKind,
    recorded_at: DateTime<Utc>,
}

impl Place {
    fn of(envelope: &Envelope) -> Self {
        Self {
            part: envelope.id.partition.number(),
            position: envelope.id.offset,
            idx: envelope.id.index,
            kind: envelope.event.kind(),
            recorded_at: envelope.recorded_at,
        }
    }
}

/// Notes what a batch of events did.
pub(crate) async fn note(conn: &mut PgConnection, events: &[Envelope]) -> Result<(), LedgerError> {
    let effects: Vec<(&Envelope, Effect)> =
        events.iter().filter_map(|envelope| Some((envelope, Effect::from_event(&envelope.event)?))).collect();
    if effects.is_empty() {
        return Ok(());
    }
    let mut last = last_rows(conn, &effects).await?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut behind: BTreeMap<(i64, CampaignId), Sums> = BTreeMap::new();
    let mut open: BTreeMap<(i64, CampaignId, Option<BatchId>), usize> = BTreeMap::new();
    for (envelope, effect) in effects {
        let Effect { campaign, batch, number, amount } = effect;
        let amount = amount_to_sql(amount);
        let sums = last.entry(campaign).or_default();
        sums.add(envelope, &amount);
        behind.insert((envelope.id.offset, campaign), sums.clone());
        let number = number.map(u64::cast_signed);
        let at = open.entry((envelope.id.offset, campaign, batch)).or_insert(usize::MAX);
        match entries.get_mut(*at).filter(|entry| entry.takes(number)) {
            Some(entry) => {
                entry.events += 1;
                entry.amount += amount;
                entry.numbers = entry.numbers.map(|(first, last)| (first, last + 1));
            }
            None => {
                *at = entries.len();
                entries.push(Entry {
                    campaign,
                    place: Place::of(envelope),
                    events: 1,
                    amount,
                    numbers: number.map(|number| (number, number)),
                    batch,
                    sums: Sums::default(),
                });
            }
        }
    }
    for entry in &mut entries {
        entry.sums = behind.get(&(entry.place.position, entry.campaign)).cloned().unwrap_or_default();
    }
    insert(conn, &entries).await
}

/// What the campaigns' last rows say.
async fn last_rows(
    conn: &mut PgConnection,
    effects: &[(&Envelope, Effect)],
) -> Result<BTreeMap<CampaignId, Sums>, LedgerError> {
    let mut campaigns: Vec<i64> = effects.iter().map(|(_, effect)| effect.campaign.number()).collect();
    campaigns.sort_unstable();
    campaigns.dedup();
    let rows = sqlx::query!(
        r#"
        SELECT l.campaign, l.peak_at, l.lateness, l.funded, l.granted, l.granted_amount, l.released, l.released_amount, l.paid,
               l.paid_amount, l.returned
        FROM unnest($1::bigint[]) AS c (id)
        CROSS JOIN LATERAL (
            SELECT * FROM campaign_journal j WHERE j.campaign = c.id ORDER BY j.position DESC, j.idx DESC LIMIT 1
        ) l
        "#,
        &campaigns,
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| {
        let sums = Sums {
            peak_at: row.peak_at,
            lateness: row.lateness,
            funded: row.funded,
            granted: (row.granted, row.granted_amount),
            released: (row.released, row.released_amount),
            paid: (row.paid, row.paid_amount),
            returned: row.returned,
        };
        (CampaignId::from(row.campaign.cast_unsigned()), sums)
    });
    Ok(rows.collect())
}

async fn insert(conn: &mut PgConnection, entries: &[Entry]) -> Result<(), LedgerError> {
    fn column<T>(entries: &[Entry], of: impl Fn(&Entry) -> T) -> Vec<T> {
        entries.iter().map(of).collect()
    }
    let amounts = |of: fn(&Sums) -> &BigDecimal| column(entries, |entry| of(&entry.sums).clone());
    sqlx::query!(
        r#"
        INSERT INTO campaign_journal
            (campaign, part, position, idx, kind, recorded_at, peak_at, lateness, events, amount, first, last, batch,
             funded, granted, granted_amount, released, released_amount, paid, paid_amount, returned)
        SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::integer[], $5::text[], $6::timestamptz[],
                             $7::timestamptz[], $8::bigint[], $9::integer[], $10::numeric[], $11::bigint[], $12::bigint[],
                             $13::uuid[], $14::numeric[], $15::bigint[], $16::numeric[], $17::bigint[], $18::numeric[],
                             $19::bigint[], $20::numeric[], $21::numeric[])
        "#,
        &column(entries, |entry| entry.campaign.number()),
        &column(entries, |entry| entry.place.part),
        &column(entries, |entry| entry.place.position),
        &column(entries, |entry| entry.place.idx),
        &column(entries, |entry| entry.place.kind.as_str().to_owned()),
        &column(entries, |entry| entry.place.recorded_at),
        &column(entries, |entry| entry.sums.peak_at),
        &column(entries, |entry| entry.sums.lateness),
        &column(entries, |entry| entry.events),
        &column(entries, |entry| entry.amount.clone()),
        &column(entries, |entry| entry.numbers.map(|(first, _)| first)) as &[Option<i64>],
        &column(entries, |entry| entry.numbers.map(|(_, last)| last)) as &[Option<i64>],
        &column(entries, |entry| entry.batch.map(BatchId::uuid)) as &[Option<Uuid>],
        &amounts(|sums| &sums.funded),
        &column(entries, |entry| entry.sums.granted.0),
        &amounts(|sums| &sums.granted.1),
        &column(entries, |entry| entry.sums.released.0),
        &amounts(|sums| &sums.released.1),
        &column(entries, |entry| entry.sums.paid.0),
        &amounts(|sums| &sums.paid.1),
        &amounts(|sums| &sums.returned),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a campaign's books said at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastBooks {
    /// The last chunk of the journal that is in them, by one of its events.
    pub last_event: EventId,
    /// When that was recorded.
    pub recorded_at: DateTime<Utc>,
    /// What was in them. Declines are not counted.
    pub balances: Balances,
    /// How many grants were paid, in final blocks.
    pub paid: u64,
    /// How many were given back.
    pub released: u64,
}

struct BooksRow {
    part: i16,
    position: i64,
    idx: i32,
    recorded_at: DateTime<Utc>,
    funded: BigDecimal,
    granted: i64,
    granted_amount: BigDecimal,
    released: i64,
    released_amount: BigDecimal,
    paid: i64,
    paid_amount: BigDecimal,
    returned: BigDecimal,
}

impl BooksRow {
    fn books(self, campaign: CampaignId) -> Result<PastBooks, LedgerError> {
        let wrong = |column| LedgerError::Inconsistent { table: TABLE, column, id: campaign.to_string() };
        let amount = |amount: &BigDecimal, column| amount_from_sql(amount, TABLE, column, campaign);
        let reserved = &self.granted_amount - &self.released_amount - &self.paid_amount;
        let left = &self.funded - &reserved - &self.paid_amount - &self.returned;
        // As in the accounts: what grants stand on beyond the cap is overdrawn, and counted as if it were there.
        let (available, overdrawn) = if left < BigDecimal::default() {
            (BigDecimal::default(), -left)
        } else {
            (left, BigDecimal::default())
        };
        let balances = Balances {
            funded: amount(&(&self.funded + &overdrawn), "funded")?,
            available: amount(&available, "funded")?,
            reserved: amount(&reserved, "granted_amount")?,
            paid: amount(&self.paid_amount, "paid_amount")?,
            returned: amount(&self.returned, "returned")?,
            overdrawn: amount(&overdrawn, "funded")?,
            grants: self.granted.unsigned_abs(),
            declines: 0,
        };
        let partition = Partition::new(self.part).ok_or_else(|| wrong("part"))?;
        Ok(PastBooks {
            last_event: EventId { partition, offset: self.position, index: self.idx },
            recorded_at: self.recorded_at,
            balances,
            paid: self.paid.unsigned_abs(),
            released: self.released.unsigned_abs(),
        })
    }
}

/// What a campaign's books said when everything was in them that was recorded up to `as_of`, and nothing else; `None` where nothing was.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn books_at(
    conn: &mut PgConnection,
    campaign: CampaignId,
    as_of: DateTime<Utc>,
) -> Result<Option<PastBooks>, LedgerError> {
    let row = sqlx::query_as!(
        BooksRow,
        r#"
        SELECT part, position, idx, recorded_at, funded, granted, granted_amount, released, released_amount, paid,
               paid_amount, returned
        FROM campaign_journal
        WHERE campaign = $1 AND peak_at <= $2
        ORDER BY peak_at DESC, position DESC, idx DESC
        LIMIT 1
        "#,
        campaign.number(),
        as_of,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| row.books(campaign)).transpose()
}
