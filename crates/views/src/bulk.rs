//! Many grants that follow each other, with their derived state: a handful of statements for thousands of them, put together here.
//!
//! What it derives is what the view `grant_states` derives for one; a test compares them.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::{Address, B256};
use chrono::{DateTime, Utc};
use laurel_events::{BatchId, CampaignId, GrantId, OrgId};
use laurel_ledger::{LedgerError, amount_from_sql};
use sqlx::PgConnection;

use crate::{GrantFilter, GrantView, candidates::Scope};

/// A segment holds at most this many places, so that the segments of a place begin within this many before it.
const SEGMENT_MAX: i64 = 1_000;

/// The length of a grant's word in bytes, and of the recipient that it begins with.
const WORD: usize = 32;
const RECIPIENT: usize = 20;

/// A walk over all grants that a filter lets pass, thousands at a time.
#[derive(Debug)]
pub struct GrantWalk {
    org: OrgId,
    scope: Scope,
    campaign: Option<Campaign>,
}

impl GrantWalk {
    /// How many numbers are read together: some megabytes of rows.
    pub(crate) const WINDOW: i64 = 5_000;

    /// A walk from the filter's `after` on.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn begin(
        conn: &mut PgConnection,
        org: OrgId,
        filter: &GrantFilter<'_>,
    ) -> Result<Self, LedgerError> {
        let after =
            filter.after.map_or((0, -1), |after| (after.campaign.number(), after.number.cast_signed()));
        Ok(Self { org, scope: Scope::load(conn, org, filter, after).await?, campaign: None })
    }

    /// The next of them, which may be none; `None` at the end.
    ///
    /// # Errors
    /// If a row is inconsistent or the database does not answer.
    pub async fn next(
        &mut self,
        conn: &mut PgConnection,
        filter: &GrantFilter<'_>,
    ) -> Result<Option<Vec<GrantView>>, LedgerError> {
        let Some(range) = self.scope.ranges.first().copied() else {
            let Some(more) = self.scope.more else { return Ok(None) };
            self.scope = Scope::load(conn, self.org, filter, more).await?;
            return Ok(Some(Vec::new()));
        };
        let last = range.last.min(range.first.saturating_add(Self::WINDOW - 1));
        let campaign = match self.campaign.take().filter(|campaign| campaign.id == range.campaign) {
            Some(campaign) => campaign,
            None => Campaign::load(conn, range.campaign).await?,
        };
        let mut grants = campaign.derive(conn, range.first, last).await?;
        grants.retain(|grant| filter.passes(grant));
        self.campaign = Some(campaign);
        self.scope.advance((range.campaign, last));
        Ok(Some(grants))
    }
}

/// What all grants of a campaign have in common.
#[derive(Debug)]
struct Campaign {
    id: i64,
    org: OrgId,
    token: Address,
    chain_id: u64,
    vault: Address,
}

/// Where a grant is on the chain.
#[derive(Clone, Copy)]
struct Place {
    seq: i64,
    wallet: Address,
    queued_at: DateTime<Utc>,
}

/// What does not go the plain way.
struct Exception {
    state: String,
    reason: Option<String>,
    wallet_until: Option<DateTime<Utc>>,
    seq: Option<i64>,
}

/// What settles places.
struct Segment {
    first_seq: i64,
    until: i64,
    holes: Vec<i64>,
    posted_at: Option<DateTime<Utc>>,
    batch: BatchId,
    state: &'static str,
    reverted: bool,
    created_at: DateTime<Utc>,
    tx: Option<B256>,
    block: Option<i64>,
}

impl Segment {
    fn settles(&self, seq: i64) -> bool {
        (self.first_seq..self.until).contains(&seq) && !self.holes.contains(&seq)
    }
}

impl Campaign {
    async fn load(conn: &mut PgConnection, id: i64) -> Result<Self, LedgerError> {
        let row = sqlx::query!(
            r#"
            SELECT c.org, c.token, v.chain_id, v.address FROM campaigns c JOIN vaults v ON v.id = c.vault
            WHERE c.id = $1
            "#,
            id,
        )
        .fetch_one(conn)
        .await?;
        let address = |bytes: &[u8], table, column| {
            let wrong = |_| LedgerError::Inconsistent { table, column, id: id.to_string() };
            Address::try_from(bytes).map_err(wrong)
        };
        Ok(Self {
            id,
            org: OrgId(row.org),
            token: address(&row.token, "campaigns", "token")?,
            chain_id: row.chain_id.cast_unsigned(),
            vault: address(&row.address, "vaults", "address")?,
        })
    }

    /// The grants from `first` to `last`.
    async fn derive(
        &self,
        conn: &mut PgConnection,
        first: i64,
        last: i64,
    ) -> Result<Vec<GrantView>, LedgerError> {
        let exceptions = self.exceptions(conn, first, last).await?;
        let mut places = self.straight_places(conn, first, last).await?;
        self.other_places(conn, &exceptions, &mut places).await?;
        let segments = self.segments(conn, &places).await?;
        let rows = sqlx::query!(
            r#"
            SELECT number, part, position, idx, outcome, player, amount, rule_version, recorded_at FROM grants
            WHERE campaign = $1 AND number BETWEEN $2 AND $3
            ORDER BY number
            "#,
            self.id,
            first,
            last,
        )
        .fetch_all(conn)
        .await?;
        let campaign = CampaignId::from(self.id.cast_unsigned());
        let mut grants = Vec::with_capacity(rows.len());
        for row in rows {
            let id = GrantId { campaign, number: row.number.cast_unsigned() };
            let exception = exceptions.get(&row.number);
            let place = places.get(&row.number);
            let settled = place.and_then(|place| last_to_settle(&segments, place.seq));
            let state = match (exception, place, settled) {
                (Some(exception), _, _) if exception.state != "queued" => exception.state.clone(),
                (_, None, _) => "requested".to_owned(),
                (_, _, None) => "queued".to_owned(),
                (_, _, Some(segment)) if segment.reverted => "queued".to_owned(),
                (_, _, Some(segment)) if segment.posted_at.is_some() => "completed".to_owned(),
                (_, _, Some(segment)) => segment.state.to_owned(),
            };
            grants.push(GrantView {
                id,
                state,
                reason: exception.and_then(|exception| exception.reason.clone()),
                wallet_until: exception.and_then(|exception| exception.wallet_until),
                org: self.org,
                seq: place.map(|place| place.seq.cast_unsigned()),
                outcome: row.outcome.into(),
                player: row.player.into(),
                wallet: place.map(|place| place.wallet),
                amount: amount_from_sql(&row.amount, "grants", "amount", id)?,
                token: self.token,
                chain_id: self.chain_id,
                vault: self.vault,
                batch: settled.map(|segment| segment.batch),
                tx: settled.and_then(|segment| segment.tx),
                block: settled.and_then(|segment| segment.block).map(i64::cast_unsigned),
                rule_version: row.rule_version,
                granted_at: row.recorded_at,
                queued_at: place.map(|place| place.queued_at),
                posted_at: settled.and_then(|segment| segment.posted_at),
                place: (row.part, row.position, row.idx),
            });
        }
        Ok(grants)
    }

    async fn exceptions(
        &self,
        conn: &mut PgConnection,
        first: i64,
        last: i64,
    ) -> Result<HashMap<i64, Exception>, LedgerError> {
        let rows = sqlx::query!(
            r#"
            SELECT number, state, reason, wallet_until, seq FROM exceptions
            WHERE campaign = $1 AND number BETWEEN $2 AND $3
            "#,
            self.id,
            first,
            last,
        )
        .fetch_all(conn)
        .await?;
        let rows = rows.into_iter().map(|row| {
            let (state, reason) = (row.state, row.reason);
            (row.number, Exception { state, reason, wallet_until: row.wallet_until, seq: row.seq })
        });
        Ok(rows.collect())
    }

    /// The places that grants got straight from their request, by number.
    async fn straight_places(
        &self,
        conn: &mut PgConnection,
        first: i64,
        last: i64,
    ) -> Result<HashMap<i64, Place>, LedgerError> {
        // A run's numbers span at most 10,000, as for the view.
        let runs = sqlx::query!(
            r#"
            SELECT first_seq, numbers, words, queued_at FROM runs
            WHERE campaign = $1 AND first_number > $2::bigint - 10000 AND first_number <= $3
            ORDER BY first_number
            "#,
            self.id,
            first,
            last,
        )
        .fetch_all(conn)
        .await?;
        let mut places = HashMap::with_capacity(usize::try_from(last - first + 1).unwrap_or(0));
        for run in runs {
            for (at, number) in run.numbers.iter().enumerate() {
                if (first..=last).contains(number) {
                    places.insert(*number, self.place(run.first_seq, at, &run.words, run.queued_at)?);
                }
            }
        }
        Ok(places)
    }

    /// The places that grants got after something else.
    async fn other_places(
        &self,
        conn: &mut PgConnection,
        exceptions: &HashMap<i64, Exception>,
        places: &mut HashMap<i64, Place>,
    ) -> Result<(), LedgerError> {
        let placed: BTreeMap<i64, i64> =
            exceptions.iter().filter_map(|(number, exception)| Some((*number, exception.seq?))).collect();
        if placed.is_empty() {
            return Ok(());
        }
        let numbers: Vec<i64> = placed.keys().copied().collect();
        let seqs: Vec<i64> = placed.values().copied().collect();
        let rows = sqlx::query!(
            r#"
            SELECT w.number AS "number!", r.first_seq, r.numbers, r.words, r.queued_at
            FROM unnest($2::bigint[], $3::bigint[]) AS w (number, seq)
            CROSS JOIN LATERAL (
                SELECT * FROM runs r WHERE r.campaign = $1 AND r.first_seq <= w.seq ORDER BY r.first_seq DESC LIMIT 1
            ) r
            "#,
            self.id,
            &numbers,
            &seqs,
        )
        .fetch_all(conn)
        .await?;
        for row in rows {
            if let Some(at) = row.numbers.iter().position(|number| *number == row.number) {
                places.insert(row.number, self.place(row.first_seq, at, &row.words, row.queued_at)?);
            }
        }
        Ok(())
    }

    fn place(
        &self,
        first_seq: i64,
        at: usize,
        words: &[u8],
        queued_at: DateTime<Utc>,
    ) -> Result<Place, LedgerError> {
        let wallet = words.get(WORD * at..WORD * at + RECIPIENT).map(Address::from_slice);
        let id = || format!("{}/{first_seq}", self.id);
        let wallet =
            wallet.ok_or_else(|| LedgerError::Inconsistent { table: "runs", column: "words", id: id() })?;
        Ok(Place { seq: first_seq + at as i64, wallet, queued_at })
    }

    /// All that settles one of the places, in the order in which they begin.
    async fn segments(
        &self,
        conn: &mut PgConnection,
        places: &HashMap<i64, Place>,
    ) -> Result<Vec<Segment>, LedgerError> {
        let (firsts, lasts) = spans(places.values().map(|place| place.seq).collect());
        let rows = sqlx::query!(
            r#"
            SELECT DISTINCT ON (s.first_seq, s.batch) s.first_seq, s.first_seq + s.count AS "until!", s.holes, s.posted_at,
                   s.batch, b.state, b.created_at, b.block_number, b.mined_tx, last.tx AS "last_tx?", last.empty AS "empty?"
            FROM unnest($2::bigint[], $3::bigint[]) AS w (first, last)
            JOIN segments s
              ON s.campaign = $1 AND s.first_seq > w.first - $4 AND s.first_seq <= w.last AND s.first_seq + s.count > w.first
            JOIN batches b ON b.id = s.batch
            LEFT JOIN LATERAL (
                SELECT a.tx, a.empty FROM attempts a WHERE a.batch = b.id ORDER BY a.number DESC LIMIT 1
            ) last ON true
            ORDER BY s.first_seq, s.batch
            "#,
            self.id,
            &firsts,
            &lasts,
            SEGMENT_MAX,
        )
        .fetch_all(conn)
        .await?;
        rows.into_iter()
            .map(|row| {
                // What is mined in its place settles nothing, and is undone when it is final.
                let emptied = row.empty == Some(true) && row.last_tx == row.mined_tx;
                let state = match row.state.as_str() {
                    "mined" if !emptied => "mined",
                    "confirmed" => "confirmed",
                    _ => "submitted",
                };
                let hash = |tx: Vec<u8>| {
                    let wrong = |_| LedgerError::Inconsistent {
                        table: "attempts",
                        column: "tx",
                        id: row.batch.to_string(),
                    };
                    B256::try_from(tx.as_slice()).map_err(wrong)
                };
                Ok(Segment {
                    first_seq: row.first_seq,
                    until: row.until,
                    holes: row.holes,
                    posted_at: row.posted_at,
                    batch: row.batch.into(),
                    state,
                    reverted: row.state == "reverted",
                    created_at: row.created_at,
                    tx: row.mined_tx.or(row.last_tx).map(hash).transpose()?,
                    block: row.block_number,
                })
            })
            .collect()
    }
}

/// The last batch that settles a place: a place is in one batch at a time; when each was made is what different clocks said.
fn last_to_settle(segments: &[Segment], seq: i64) -> Option<&Segment> {
    let from = segments.partition_point(|segment| segment.first_seq <= seq - SEGMENT_MAX);
    let until = segments.partition_point(|segment| segment.first_seq <= seq);
    let settling = segments[from..until].iter().filter(|segment| segment.settles(seq));
    settling.max_by_key(|segment| (!segment.reverted, segment.created_at))
}

/// The spans that places make, where those that are far from each other are in different ones.
fn spans(mut seqs: Vec<i64>) -> (Vec<i64>, Vec<i64>) {
    seqs.sort_unstable();
    let (mut firsts, mut lasts): (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
    for seq in seqs {
        match lasts.last_mut().filter(|last| seq - **last <= SEGMENT_MAX) {
            Some(last) => *last = seq,
            None => {
                firsts.push(seq);
                lasts.push(seq);
            }
        }
    }
    (firsts, lasts)
}
