//! A campaign's queue: sequence numbers and words, given once.

use std::collections::BTreeMap;

use alloy::primitives::B256;
use chrono::{DateTime, Utc};
use laurel_chain::GrantWord;
use laurel_events::{CampaignId, Event, GrantId};
use laurel_ledger::{LedgerError, in_quarantine, planted};
use sqlx::PgConnection;

use crate::orphans::{Taken, adopt_taken, take_orphans};

/// A grant that is about to be queued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seated {
    pub(crate) grant: GrantId,
    pub(crate) word: GrantWord,
}

/// A grant's place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    pub(crate) grant: GrantId,
    pub(crate) seq: u64,
    pub(crate) word: B256,
}

/// What came of queueing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Enqueued {
    /// The places.
    pub(crate) given: Vec<Given>,
    /// Campaigns among them of which the vault pays nothing any more.
    pub(crate) released: Vec<CampaignId>,
    /// What tells of payments that some of them had got already.
    pub(crate) adopted: Vec<Event>,
}

/// Gives each grant the next sequence number of its campaign; or, where the chain has paid such a grant already that this
/// ledger has lost, that place, and the payment with it. `straight` says that they come right from their requests, in the order
/// of their numbers, so that they are found by number without a row of their own.
///
/// # Errors
/// [`LedgerError::Quarantined`] while the chain may know of places that this ledger does not.
pub(crate) async fn enqueue(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    grants: &[Seated],
    straight: bool,
) -> Result<Enqueued, LedgerError> {
    let mut by_campaign: BTreeMap<CampaignId, Vec<Seated>> = BTreeMap::new();
    for seated in grants {
        by_campaign.entry(seated.grant.campaign).or_default().push(*seated);
    }
    let ends = move_ends(conn, &by_campaign).await?;
    let mut enqueued = Enqueued { given: Vec::with_capacity(grants.len()), ..Enqueued::default() };
    for (campaign, mut grants) in by_campaign {
        let end = ends.get(&campaign).ok_or_else(|| LedgerError::Inconsistent {
            table: "campaigns",
            column: "id",
            id: campaign.to_string(),
        })?;
        if end.released {
            enqueued.released.push(campaign);
        }
        let mut first_seq = end.next_seq - grants.len() as i64;
        if planted!(SeqGivenAgain) {
            first_seq = (first_seq - 1).max(0);
        }
        if end.orphans > 0 {
            let taken = adopt_orphans(conn, now, campaign, &mut grants, &mut enqueued.adopted).await?;
            enqueued.given.extend(taken);
        }
        if grants.is_empty() {
            continue;
        }
        insert_run(conn, now, campaign, first_seq, &grants, straight).await?;
        let seqs = first_seq.cast_unsigned()..;
        enqueued.given.extend(grants.iter().zip(seqs).map(|(seated, seq)| Given {
            grant: seated.grant,
            seq,
            word: seated.word.encode(),
        }));
    }
    Ok(enqueued)
}

/// Where a queue ends after it was moved on.
struct End {
    campaign: i64,
    next_seq: i64,
    released: bool,
    /// How many payments of the campaign wait for their grants.
    orphans: i64,
}

async fn move_ends(
    conn: &mut PgConnection,
    by_campaign: &BTreeMap<CampaignId, Vec<Seated>>,
) -> Result<BTreeMap<CampaignId, End>, LedgerError> {
    let campaigns: Vec<i64> = by_campaign.keys().map(|campaign| campaign.number()).collect();
    let counts: Vec<i64> = by_campaign.values().map(|grants| grants.len() as i64).collect();
    let mut ends = move_unquarantined(conn, &campaigns, &counts).await?;
    if ends.is_empty() {
        if in_quarantine(conn).await? {
            return Err(LedgerError::Quarantined);
        }
        // It has ended meanwhile.
        ends = move_unquarantined(conn, &campaigns, &counts).await?;
    }
    let campaign = |end: &End| by_campaign.keys().copied().find(|campaign| campaign.number() == end.campaign);
    Ok(ends.into_iter().filter_map(|end| Some((campaign(&end)?, end))).collect())
}

/// Moves the ends of queues on; in quarantine of none.
async fn move_unquarantined(
    conn: &mut PgConnection,
    campaigns: &[i64],
    counts: &[i64],
) -> Result<Vec<End>, LedgerError> {
    let ends = sqlx::query_as!(
        End,
        r#"
        INSERT INTO queues AS q (campaign, vault, next_seq)
        SELECT c.id, c.vault, n.count
        FROM unnest($1::bigint[], $2::bigint[]) AS n (campaign, count) JOIN campaigns c ON c.id = n.campaign
        WHERE NOT in_quarantine()
        ORDER BY c.id
        ON CONFLICT (campaign) DO UPDATE SET next_seq = q.next_seq + EXCLUDED.next_seq
        RETURNING campaign, next_seq, released_tx IS NOT NULL AS "released!", orphans
        "#,
        campaigns,
        counts,
    );
    Ok(ends.fetch_all(conn).await?)
}

/// Gives the places of orphans to those of `grants` that fit them, takes these out, and gives back the places that they
/// would have got.
async fn adopt_orphans(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    grants: &mut Vec<Seated>,
    events: &mut Vec<Event>,
) -> Result<Vec<Given>, LedgerError> {
    let wanted: Vec<(GrantId, GrantWord)> = grants.iter().map(|seated| (seated.grant, seated.word)).collect();
    let taken = take_orphans(conn, campaign, &wanted).await?;
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    grants.retain(|seated| !taken.iter().any(|taken| taken.grant == seated.grant));
    sqlx::query!(
        "UPDATE queues SET next_seq = next_seq - $2, orphans = orphans - $2 WHERE campaign = $1",
        campaign.number(),
        taken.len() as i64,
    )
    .execute(&mut *conn)
    .await?;
    for taken in &taken {
        let seated = Seated { grant: taken.grant, word: taken.word };
        insert_run(conn, now, campaign, taken.seq.cast_signed(), &[seated], false).await?;
    }
    events.extend(adopt_taken(conn, now, campaign, &taken).await?);
    let given = |taken: &Taken| Given { grant: taken.grant, seq: taken.seq, word: taken.word.encode() };
    Ok(taken.iter().map(given).collect())
}

async fn insert_run(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    first_seq: i64,
    grants: &[Seated],
    straight: bool,
) -> Result<(), LedgerError> {
    let numbers: Vec<i64> = grants.iter().map(|seated| seated.grant.number.cast_signed()).collect();
    let words: Vec<u8> = grants.iter().flat_map(|seated| seated.word.encode().0).collect();
    sqlx::query!(
        r#"
        INSERT INTO runs (campaign, first_seq, count, numbers, words, first_number, queued_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        "#,
        campaign.number(),
        first_seq,
        i32::try_from(grants.len()).unwrap_or(i32::MAX),
        &numbers,
        words,
        numbers.first().copied().filter(|_| straight),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
