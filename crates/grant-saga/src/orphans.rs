//! Payments whose grants are lost, and the grants that take them.

use alloy::primitives::B256;
use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_chain::GrantWord;
use laurel_events::{CampaignId, Event, GrantId};
#[cfg(feature = "faults")]
use laurel_ledger::planted;
use laurel_ledger::{LedgerError, amount_to_sql};
use sqlx::PgConnection;

use crate::adoption::{PaidPlace, adopt, runs_of};

/// A place that was paid for a grant that is lost, and the grant that takes it now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) grant: GrantId,
    pub(crate) seq: u64,
    pub(crate) word: GrantWord,
    chain_id: u64,
    tx: B256,
    log_index: u32,
}

/// Finds orphans with these words and gives them to the grants, one each, in order of their places: payments of one amount
/// to one wallet by one campaign are as good as each other. The caller holds the campaign's queue.
pub(crate) async fn take_orphans(
    conn: &mut PgConnection,
    campaign: CampaignId,
    wanted: &[(GrantId, GrantWord)],
) -> Result<Vec<Taken>, LedgerError> {
    #[cfg(feature = "faults")]
    if planted!(BitWithoutWord) {
        let rows = crate::planted::take_any_orphans(conn, campaign, wanted).await?;
        return taken_of(campaign, wanted, rows);
    }
    let rows = take_rows(conn, campaign, wanted).await?;
    taken_of(campaign, wanted, rows)
}

/// An orphan that a grant has taken, as it is stored.
pub(crate) struct TakenRow {
    pub(crate) seq: i64,
    pub(crate) number: i64,
    pub(crate) chain_id: i64,
    pub(crate) tx: Vec<u8>,
    pub(crate) log_index: i32,
}

async fn take_rows(
    conn: &mut PgConnection,
    campaign: CampaignId,
    wanted: &[(GrantId, GrantWord)],
) -> Result<Vec<TakenRow>, LedgerError> {
    let numbers: Vec<i64> = wanted.iter().map(|(grant, _)| grant.number.cast_signed()).collect();
    let words: Vec<B256> = wanted.iter().map(|(_, word)| word.encode()).collect();
    let words: Vec<&[u8]> = words.iter().map(B256::as_slice).collect();
    let rows = sqlx::query_as!(
        TakenRow,
        r#"
        WITH asked AS (
            SELECT number, word, row_number() OVER (PARTITION BY word ORDER BY ord) AS nth
            FROM unnest($2::bigint[], $3::bytea[]) WITH ORDINALITY AS w (number, word, ord)
        ), had AS (
            SELECT o.seq, o.word, row_number() OVER (PARTITION BY o.word ORDER BY o.seq) AS nth
            FROM orphans o
            WHERE o.campaign = $1 AND o.number IS NULL AND o.word IN (SELECT word FROM asked)
        )
        UPDATE orphans o SET number = a.number
        FROM asked a JOIN had h ON h.word = a.word AND h.nth = a.nth
        WHERE o.campaign = $1 AND o.seq = h.seq AND o.number IS NULL
        RETURNING o.seq, a.number AS "number!", o.chain_id, o.tx, o.log_index
        "#,
        campaign.number(),
        &numbers,
        &words as &[&[u8]],
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

fn taken_of(
    campaign: CampaignId,
    wanted: &[(GrantId, GrantWord)],
    rows: Vec<TakenRow>,
) -> Result<Vec<Taken>, LedgerError> {
    let mut taken = Vec::with_capacity(rows.len());
    for row in rows {
        let wrong = |column| LedgerError::Inconsistent {
            table: "orphans",
            column,
            id: format!("{campaign}/{}", row.seq),
        };
        let grant = GrantId { campaign, number: row.number.cast_unsigned() };
        let (_, word) = wanted.iter().find(|(wanted, _)| *wanted == grant).ok_or_else(|| wrong("number"))?;
        taken.push(Taken {
            grant,
            seq: row.seq.cast_unsigned(),
            word: *word,
            chain_id: row.chain_id.cast_unsigned(),
            tx: B256::try_from(row.tx.as_slice()).map_err(|_| wrong("tx"))?,
            log_index: row.log_index.cast_unsigned(),
        });
    }
    taken.sort_by_key(|taken| (taken.chain_id, taken.tx, taken.seq));
    Ok(taken)
}

/// Adopts what grants have taken, whose places the caller has written. A transaction's are one batch.
pub(crate) async fn adopt_taken(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    taken: &[Taken],
) -> Result<Vec<Event>, LedgerError> {
    note_places(conn, now, campaign, taken).await?;
    let mut events = Vec::new();
    for of_one in taken.chunk_by(|left, right| (left.chain_id, left.tx) == (right.chain_id, right.tx)) {
        let place = |taken: &Taken| PaidPlace {
            log_index: taken.log_index,
            seq: taken.seq,
            word: taken.word.encode(),
        };
        let places: Vec<PaidPlace> = of_one.iter().map(place).collect();
        let Some(Taken { chain_id, tx, .. }) = of_one.first() else { continue };
        events.extend(adopt(conn, now, *chain_id, *tx, &runs_of(campaign, &places)).await?);
    }
    Ok(events)
}

/// Their runs are no straight ones: their places are found by a row of their own.
async fn note_places(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    taken: &[Taken],
) -> Result<(), LedgerError> {
    let numbers: Vec<i64> = taken.iter().map(|taken| taken.grant.number.cast_signed()).collect();
    let seqs: Vec<i64> = taken.iter().map(|taken| taken.seq.cast_signed()).collect();
    let amounts: Vec<BigDecimal> = taken.iter().map(|taken| amount_to_sql(taken.word.amount())).collect();
    sqlx::query!(
        r#"
        INSERT INTO exceptions (campaign, number, state, player, chain_id, amount, seq, updated_at)
        SELECT g.campaign, g.number, 'queued', g.player, v.chain_id, t.amount, t.seq, $5
        FROM unnest($2::bigint[], $3::bigint[], $4::numeric[]) AS t (number, seq, amount)
        JOIN grants g ON g.campaign = $1 AND g.number = t.number
        JOIN campaigns c ON c.id = g.campaign
        JOIN vaults v ON v.id = c.vault
        ON CONFLICT (campaign, number) DO NOTHING
        "#,
        campaign.number(),
        &numbers,
        &seqs,
        &amounts,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
