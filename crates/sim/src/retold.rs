//! A watcher that tells again what it told.

use laurel_events::{Event, EventId, Partition};
use laurel_ledger::{Context, append, commit, read_one};
use sqlx::PgPool;

use crate::genesis::CHAIN_ID;

/// Tells the last final settlement again, as a new transition of the chain.
pub(crate) async fn retell(pool: &PgPool, context: &Context) -> anyhow::Result<String> {
    let mut tx = pool.begin().await?;
    let transition: i64 = sqlx::query_scalar(
        "UPDATE chains SET transition = transition + 1 WHERE id = $1 RETURNING transition",
    )
    .bind(CHAIN_ID.cast_signed())
    .fetch_one(&mut *tx)
    .await?;
    let last: Option<(i16, i64)> = sqlx::query_as(
        "SELECT part, position FROM journal
         -- what the chain has taken back is told no more
         WHERE kind = 'BlockchainTxConfirmed' AND NOT EXISTS (SELECT FROM rebases)
         ORDER BY recorded_at DESC, part LIMIT 1",
    )
    .fetch_optional(&mut *tx)
    .await?;
    let place =
        last.and_then(|(part, offset)| Some(EventId { partition: Partition::new(part)?, offset, index: 0 }));
    let told = match place {
        Some(place) => read_one(&mut tx, place).await?,
        None => None,
    };
    let Some(Event::BlockchainTxConfirmed(mut confirmed)) = told.map(|told| told.event) else {
        tx.rollback().await?;
        return Ok("nothing was told yet".to_owned());
    };
    confirmed.sighting.transition = transition.cast_unsigned();
    let told = confirmed.sighting.tx;
    append(&mut tx, context, &[confirmed.into()]).await?;
    commit(tx, "watcher").await?;
    Ok(format!("{told} is told again"))
}
