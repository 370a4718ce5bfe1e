//! What bugs do that a simulation plants.

use alloy::primitives::Address;
use laurel_chain::{ChainNode, GrantWord, NonceAt, TxRequest};
use laurel_events::{CampaignId, GrantId, LaneId};
use laurel_ledger::LedgerError;
use sqlx::{PgConnection, PgPool};

use crate::{lane::LaneError, orphans::TakenRow};

/// Has a lane go on with the nonce that the chain has: what waits to be mined is not in it.
pub(crate) async fn take_nonce_of_chain(
    pool: &PgPool,
    node: &dyn ChainNode,
    lane: LaneId,
    address: Address,
) -> Result<(), LaneError> {
    let nonce = node.nonce(address, NonceAt::Latest).await?;
    sqlx::query!("UPDATE lanes SET next_nonce = $2 WHERE id = $1", lane.0, nonce.cast_signed())
        .execute(pool)
        .await?;
    Ok(())
}

/// The same settlement, with another amount for its last grant.
pub(crate) fn pay_another(request: TxRequest) -> TxRequest {
    let mut data = request.data.to_vec();
    if let Some(last) = data.last_mut() {
        *last ^= 1;
    }
    TxRequest { data: data.into(), ..request }
}

/// The fence of whoever has a lane now.
pub(crate) async fn fence_of(conn: &mut PgConnection, lane: LaneId) -> Result<i64, LedgerError> {
    Ok(sqlx::query_scalar!("SELECT fence FROM lanes WHERE id = $1", lane.0).fetch_one(conn).await?)
}

/// Gives the orphans of a campaign to the grants that ask, one after the other, whatever was paid by them.
pub(crate) async fn take_any_orphans(
    conn: &mut PgConnection,
    campaign: CampaignId,
    wanted: &[(GrantId, GrantWord)],
) -> Result<Vec<TakenRow>, LedgerError> {
    let numbers: Vec<i64> = wanted.iter().map(|(grant, _)| grant.number.cast_signed()).collect();
    let rows = sqlx::query_as!(
        TakenRow,
        r#"
        UPDATE orphans o SET number = a.number
        FROM unnest($2::bigint[]) WITH ORDINALITY AS a (number, nth)
        JOIN (SELECT seq, row_number() OVER (ORDER BY seq) AS nth FROM orphans WHERE campaign = $1 AND number IS NULL) h
            USING (nth)
        WHERE o.campaign = $1 AND o.seq = h.seq
        RETURNING o.seq, a.number AS "number!", o.chain_id, o.tx, o.log_index
        "#,
        campaign.number(),
        &numbers,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}
