//! What batches settle, and the words of it.

use alloy_primitives::B256;
use laurel_events::{BatchId, CampaignId, SegmentRef};
use sqlx::PgConnection;

use crate::{LedgerError, numeric::amount_from_sql};

/// The segments of a batch, in order; empty if the batch is unknown.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn find_segments(conn: &mut PgConnection, batch: BatchId) -> Result<Vec<SegmentRef>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT campaign, first_seq, count, total, words_hash, holes FROM segments
        WHERE batch = $1
        ORDER BY campaign, first_seq
        "#,
        batch.uuid(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let wrong = |column| LedgerError::inconsistent("segments", column, batch);
            Ok(SegmentRef {
                campaign: CampaignId::try_from(row.campaign).map_err(|_| wrong("campaign"))?,
                first_seq: u64::try_from(row.first_seq).map_err(|_| wrong("first_seq"))?,
                count: u32::try_from(row.count).map_err(|_| wrong("count"))?,
                total: amount_from_sql(&row.total, "segments", "total", batch)?,
                words_hash: B256::try_from(row.words_hash.as_slice()).map_err(|_| wrong("words_hash"))?,
                holes: row.holes.into_iter().map(i64::cast_unsigned).collect(),
            })
        })
        .collect()
}

/// A grant's place on the chain: the grant's number, and its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The grant's number in its campaign.
    pub number: u64,
    /// Its sequence number.
    pub seq: u64,
    /// Its word.
    pub word: B256,
}

/// The places `first_seq` to `first_seq + count` of a campaign, all of them.
///
/// # Errors
/// If one was never given, a row is inconsistent, or the database does not answer.
pub async fn find_places(
    conn: &mut PgConnection,
    campaign: CampaignId,
    first_seq: u64,
    count: u32,
) -> Result<Vec<Place>, LedgerError> {
    let places = find_given_places(conn, campaign, first_seq, count).await?;
    let dense = places.iter().zip(first_seq..).all(|(place, seq)| place.seq == seq);
    if places.len() == count as usize && dense {
        return Ok(places);
    }
    Err(LedgerError::inconsistent("runs", "first_seq", format!("{campaign}/{first_seq}")))
}

/// Those of the places `first_seq` to `first_seq + count` of a campaign that were given, in order.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn find_given_places(
    conn: &mut PgConnection,
    campaign: CampaignId,
    first_seq: u64,
    count: u32,
) -> Result<Vec<Place>, LedgerError> {
    let end = first_seq + u64::from(count);
    // Runs do not overlap, so the one before the first is the last that begins at or before it.
    let runs = sqlx::query!(
        r#"
        SELECT first_seq, numbers, words FROM runs
        WHERE campaign = $1 AND first_seq < $3
          AND first_seq >= coalesce(
              (SELECT max(first_seq) FROM runs WHERE campaign = $1 AND first_seq <= $2), $2)
        ORDER BY first_seq
        "#,
        campaign.number(),
        first_seq.cast_signed(),
        end.cast_signed(),
    )
    .fetch_all(conn)
    .await?;
    let wrong = |column| LedgerError::inconsistent("runs", column, format!("{campaign}/{first_seq}"));
    let mut places = Vec::with_capacity(count as usize);
    for run in runs {
        let seqs = u64::try_from(run.first_seq).map_err(|_| wrong("first_seq"))?..;
        for ((seq, number), word) in seqs.zip(&run.numbers).zip(run.words.chunks(32)) {
            if (first_seq..end).contains(&seq) {
                let number = u64::try_from(*number).map_err(|_| wrong("numbers"))?;
                let word = B256::try_from(word).map_err(|_| wrong("words"))?;
                places.push(Place { number, seq, word });
            }
        }
    }
    Ok(places)
}
