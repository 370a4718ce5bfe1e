//! What goes into the next batch.

use alloy::primitives::B256;
use chrono::{DateTime, TimeDelta, Utc};
use laurel_chain::{PaidMask, SettlementSegment};
use laurel_events::{CampaignId, VaultId};
use laurel_ledger::{ChainPlace, LedgerError, find_places};
use sqlx::PgConnection;

use crate::compensation::failed_among;

/// When a batch is closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    /// At this size.
    pub(crate) grants_max: u32,
    /// When its oldest grant has waited this long.
    pub(crate) age_max: TimeDelta,
    /// At once: the lane has nothing else to do.
    pub(crate) idle: bool,
}

/// Where a plan's grants come from, and so what has to be unchanged when it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The queue, whose next place to batch was the plan's first.
    Queue,
    /// A requeued run of this many places, of which the plan takes the first ones.
    Requeue { count: u32 },
}

/// The next batch, before it is signed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What is sent: holes have the word zero.
    pub(crate) segment: SettlementSegment,
    /// The grants of its places, holes included.
    pub(crate) places: Vec<ChainPlace>,
    pub(crate) source: Source,
    /// Places that were left out because their recipients refuse.
    pub(crate) refused: Vec<ChainPlace>,
    /// Places that were left out because the vault has burned them already.
    pub(crate) burned: Vec<ChainPlace>,
}

impl Plan {
    /// The places that are sent.
    pub(crate) fn open(&self) -> impl Iterator<Item = &ChainPlace> {
        let words = self.places.iter().zip(&self.segment.words);
        words.filter(|(_, word)| !word.is_zero()).map(|(place, _)| place)
    }

    /// The sequence numbers that are not.
    pub(crate) fn holes(&self) -> Vec<u64> {
        let words = self.places.iter().zip(&self.segment.words);
        words.filter(|(_, word)| word.is_zero()).map(|(place, _)| place.seq).collect()
    }

    /// The sequence numbers of the places that were left out, in their order.
    pub(crate) fn left_out(&self) -> Vec<u64> {
        let mut seqs: Vec<u64> = self.refused.iter().chain(&self.burned).map(|place| place.seq).collect();
        seqs.sort_unstable();
        seqs
    }

    /// Keeps only the first places.
    pub(crate) fn cut(&mut self, places: usize) {
        self.segment.words.truncate(places);
        self.places.truncate(places);
        let end = self.segment.first_seq + places as u64;
        self.refused.retain(|place| place.seq < end);
        self.burned.retain(|place| place.seq < end);
    }

    /// Keeps only what comes up to the first place that is sent.
    pub(crate) fn cut_to_one(&mut self) {
        let one = self.segment.words.iter().position(|word| !word.is_zero());
        self.cut(one.map_or(0, |index| index + 1));
    }

    /// Makes holes of places that the chain would not pay, while it would pay others.
    pub(crate) fn leave_out(&mut self, unpaid: &[ChainPlace], burned: &PaidMask) {
        for place in unpaid {
            let index = usize::try_from(place.seq - self.segment.first_seq).ok();
            if let Some(word) = index.and_then(|index| self.segment.words.get_mut(index)) {
                *word = B256::ZERO;
            }
            let left_out = if burned.contains(place.seq) { &mut self.burned } else { &mut self.refused };
            left_out.push(*place);
        }
    }
}

/// Plans the next batch of a vault; `None` if nothing is ripe. `resting` are campaigns to pass over.
pub(crate) async fn plan_batch(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    vault: VaultId,
    closing: Closing,
    resting: &[CampaignId],
) -> Result<Option<Plan>, LedgerError> {
    let resting: Vec<i64> = resting.iter().map(|campaign| campaign.number()).collect();
    let chosen = match requeued(conn, now, vault, closing, &resting).await? {
        Some(chosen) => Some(chosen),
        None => queued(conn, now, vault, closing, &resting).await?,
    };
    let Some((campaign, first_seq, count, source)) = chosen else { return Ok(None) };
    let places = find_places(conn, campaign, first_seq, count).await?;
    let failed = failed_among(conn, campaign, &places).await?;
    let word_of = |place: &ChainPlace| if failed.contains(&place.seq) { B256::ZERO } else { place.word };
    let words = places.iter().map(word_of).collect();
    let segment = SettlementSegment { campaign, first_seq, words };
    Ok(Some(Plan { segment, places, source, refused: Vec::new(), burned: Vec::new() }))
}

type Chosen = (CampaignId, u64, u32, Source);

/// The longest waiting requeued run: it is as old as its first settlement, so it does not wait for company.
async fn requeued(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    vault: VaultId,
    closing: Closing,
    resting: &[i64],
) -> Result<Option<Chosen>, LedgerError> {
    let row = sqlx::query!(
        r#"
        SELECT r.campaign, r.first_seq, r.count
        FROM requeues r
        JOIN queues q USING (campaign)
        JOIN vaults v ON v.id = q.vault
        JOIN chains c ON c.id = v.chain_id AND c.halted IS NULL
        WHERE q.vault = $1 AND q.halted = '{}' AND q.released_tx IS NULL
          AND r.queued_at <= $2 AND r.campaign <> ALL ($3)
          AND NOT EXISTS (SELECT FROM stops WHERE about = 'campaign:' || q.campaign)
        ORDER BY r.queued_at, r.campaign, r.first_seq
        LIMIT 1
        "#,
        vault.0,
        now,
        resting,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        let count = row.count.unsigned_abs();
        let taken = count.min(closing.grants_max);
        Ok((campaign_id(row.campaign)?, row.first_seq.cast_unsigned(), taken, Source::Requeue { count }))
    })
    .transpose()
}

/// The campaign whose next grant has waited longest, among those whose batch is full, old enough, or wanted at once.
async fn queued(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    vault: VaultId,
    closing: Closing,
    resting: &[i64],
) -> Result<Option<Chosen>, LedgerError> {
    let row = sqlx::query!(
        r#"
        SELECT q.campaign, q.batched_to, q.next_seq
        FROM queues q
        JOIN vaults v ON v.id = q.vault
        JOIN chains c ON c.id = v.chain_id AND c.halted IS NULL
        CROSS JOIN LATERAL (
            SELECT queued_at FROM runs r
            WHERE r.campaign = q.campaign AND r.first_seq <= q.batched_to
            ORDER BY r.first_seq DESC
            LIMIT 1
        ) oldest
        WHERE q.vault = $1 AND q.batched_to < q.next_seq AND q.halted = '{}' AND q.released_tx IS NULL
          AND q.campaign <> ALL ($2)
          AND ($3 OR q.next_seq - q.batched_to >= $4 OR oldest.queued_at <= $5)
          AND NOT EXISTS (SELECT FROM stops WHERE about = 'campaign:' || q.campaign)
        ORDER BY oldest.queued_at, q.campaign
        LIMIT 1
        "#,
        vault.0,
        resting,
        closing.idle,
        i64::from(closing.grants_max),
        now - closing.age_max,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        let waiting = (row.next_seq - row.batched_to).min(i64::from(closing.grants_max));
        let count = u32::try_from(waiting).unwrap_or(closing.grants_max);
        Ok((campaign_id(row.campaign)?, row.batched_to.cast_unsigned(), count, Source::Queue))
    })
    .transpose()
}

fn campaign_id(number: i64) -> Result<CampaignId, LedgerError> {
    CampaignId::try_from(number).map_err(|_| LedgerError::Inconsistent {
        table: "queues",
        column: "campaign",
        id: number.to_string(),
    })
}
