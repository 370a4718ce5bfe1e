//! Grants whose recipients refuse what they are paid.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::{CampaignId, GrantId, TokenGrantHeld};
use laurel_ledger::{ChainPlace, LedgerError};
use sqlx::PgConnection;

/// Why such a grant is held.
const REFUSED: &str = "refused";

/// The event of it.
pub(crate) fn held(campaign: CampaignId, place: &ChainPlace) -> TokenGrantHeld {
    let grant = GrantId { campaign, number: place.number };
    TokenGrantHeld { grant, reason: REFUSED.to_owned() }
}

/// Notes that grants are held because their recipients refuse, but for those that have failed. Returns those that were not before.
pub(crate) async fn hold_refused(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    refused: &[ChainPlace],
) -> Result<Vec<ChainPlace>, LedgerError> {
    let numbers: Vec<i64> = refused.iter().map(|place| place.number.cast_signed()).collect();
    let seqs: Vec<i64> = refused.iter().map(|place| place.seq.cast_signed()).collect();
    let held_before = sqlx::query_scalar!(
        "SELECT number FROM exceptions WHERE campaign = $1 AND number = ANY ($2) AND state = 'held' AND reason = $3",
        campaign.number(),
        &numbers,
        REFUSED,
    );
    let held_before: HashSet<i64> = held_before.fetch_all(&mut *conn).await?.into_iter().collect();
    let held = sqlx::query_scalar!(
        r#"
        INSERT INTO exceptions AS e
            (campaign, number, state, reason, player, chain_id, amount, seq, refused_since, updated_at)
        SELECT g.campaign, g.number, 'held', $5, g.player, v.chain_id, g.amount, p.seq, $4, $4
        FROM unnest($2::bigint[], $3::bigint[]) AS p (number, seq)
        JOIN grants g ON g.campaign = $1 AND g.number = p.number
        JOIN campaigns c ON c.id = g.campaign
        JOIN vaults v ON v.id = c.vault
        ORDER BY g.number
        ON CONFLICT (campaign, number) DO UPDATE
        SET state = 'held', reason = EXCLUDED.reason, seq = EXCLUDED.seq,
            refused_since = coalesce(e.refused_since, EXCLUDED.refused_since), updated_at = EXCLUDED.updated_at
        WHERE e.state NOT IN ('failed', 'compensated')
        RETURNING number
        "#,
        campaign.number(),
        &numbers,
        &seqs,
        now,
        REFUSED,
    )
    .fetch_all(conn)
    .await?;
    let is_new = |place: &&ChainPlace| {
        let number = place.number.cast_signed();
        held.contains(&number) && !held_before.contains(&number)
    };
    Ok(refused.iter().filter(is_new).copied().collect())
}

/// Has the time begin anew for which recipients of places have refused: what was taken for that may have been something else.
pub(crate) async fn forget_refusals(
    conn: &mut PgConnection,
    campaign: CampaignId,
    places: impl Iterator<Item = &ChainPlace>,
) -> Result<(), LedgerError> {
    let seqs: Vec<i64> = places.map(|place| place.seq.cast_signed()).collect();
    sqlx::query!(
        "UPDATE exceptions SET refused_since = NULL WHERE campaign = $1 AND seq = ANY ($2) AND state = 'held'",
        campaign.number(),
        &seqs,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether a grant has been refused for as long as it is tried.
pub(crate) async fn is_given_up(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    place: &ChainPlace,
    tried_for: TimeDelta,
) -> Result<bool, LedgerError> {
    let given_up = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT FROM exceptions
                       WHERE campaign = $1 AND number = $2 AND state = 'held' AND refused_since <= $3) AS "is!"
        "#,
        campaign.number(),
        place.number.cast_signed(),
        now - tried_for,
    );
    Ok(given_up.fetch_one(conn).await?)
}
