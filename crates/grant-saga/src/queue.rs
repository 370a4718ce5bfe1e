//! A campaign's queue: sequence numbers and words, given once.

use std::collections::BTreeMap;

use alloy::primitives::B256;
use chrono::{DateTime, Utc};
use laurel_chain::GrantWord;
use laurel_events::{CampaignId, GrantId};
use laurel_ledger::LedgerError;
use sqlx::PgConnection;

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
}

/// Gives each grant the next sequence number of its campaign. `straight` says that they come right from their requests,
/// in the order of their numbers, so that they are found by number without a row of their own.
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
    let campaigns: Vec<i64> = by_campaign.keys().map(|campaign| campaign.number()).collect();
    let counts: Vec<i64> = by_campaign.values().map(|grants| grants.len() as i64).collect();
    let rows = sqlx::query!(
        r#"
        INSERT INTO queues AS q (campaign, vault, next_seq)
        SELECT c.id, c.vault, n.count
        FROM unnest($1::bigint[], $2::bigint[]) AS n (campaign, count) JOIN campaigns c ON c.id = n.campaign
        ORDER BY c.id
        ON CONFLICT (campaign) DO UPDATE SET next_seq = q.next_seq + EXCLUDED.next_seq
        RETURNING campaign, next_seq, released_tx IS NOT NULL AS "released!"
        "#,
        &campaigns,
        &counts,
    )
    .fetch_all(&mut *conn)
    .await?;
    let ends: BTreeMap<i64, i64> = rows.iter().map(|row| (row.campaign, row.next_seq)).collect();
    let is_released =
        |campaign: &CampaignId| rows.iter().any(|row| row.released && row.campaign == campaign.number());
    let released = by_campaign.keys().copied().filter(is_released).collect();
    let mut given = Vec::with_capacity(grants.len());
    for (campaign, grants) in by_campaign {
        let end = ends.get(&campaign.number()).copied().ok_or_else(|| LedgerError::Inconsistent {
            table: "campaigns",
            column: "id",
            id: campaign.to_string(),
        })?;
        let first_seq = end - grants.len() as i64;
        insert_run(conn, now, campaign, first_seq, &grants, straight).await?;
        let seqs = first_seq.cast_unsigned()..;
        given.extend(grants.iter().zip(seqs).map(|(seated, seq)| Given {
            grant: seated.grant,
            seq,
            word: seated.word.encode(),
        }));
    }
    Ok(Enqueued { given, released })
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
