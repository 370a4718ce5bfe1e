//! What the journal tells of a chain.

use laurel_events::{Envelope, Event, EventKind, Partition, Sighting};
use laurel_ledger::read;
use sqlx::PgPool;

/// What the watcher writes.
const KINDS: &[EventKind] = &[
    EventKind::BlockchainTxMined,
    EventKind::BlockchainTxReorged,
    EventKind::BlockchainTxConfirmed,
    EventKind::BlockchainTxReverted,
    EventKind::BlockchainTxUndone,
    EventKind::CampaignFunded,
    EventKind::CampaignFundingUndone,
    EventKind::OperatorAlertRaised,
    EventKind::ChainRebased,
];

/// All that the watcher wrote, partition after partition.
pub(crate) async fn envelopes(pool: &PgPool) -> Vec<Envelope> {
    let mut conn = pool.acquire().await.unwrap();
    let mut all = Vec::new();
    for partition in Partition::all() {
        let (found, next) = read(&mut conn, partition, 0, i64::MAX, KINDS, 100_000).await.unwrap();
        assert_eq!(next, i64::MAX, "everything was read");
        all.extend(found);
    }
    all
}

/// All events, in the order of the transitions that they follow from.
pub(crate) async fn events(pool: &PgPool) -> Vec<Event> {
    let mut events: Vec<Event> = envelopes(pool).await.into_iter().map(|envelope| envelope.event).collect();
    events.sort_by_key(|event| sighting(event).map_or(0, |sighting| sighting.transition));
    events
}

pub(crate) fn sighting(event: &Event) -> Option<&Sighting> {
    match event {
        Event::BlockchainTxMined(event) => Some(&event.sighting),
        Event::BlockchainTxReorged(event) => Some(&event.sighting),
        Event::BlockchainTxConfirmed(event) => Some(&event.sighting),
        Event::BlockchainTxReverted(event) => Some(&event.sighting),
        _ => None,
    }
}

/// What became of transactions: kind, number of the block, transition; in order.
pub(crate) async fn story(pool: &PgPool) -> Vec<(&'static str, u64)> {
    let events = events(pool).await;
    events.iter().filter_map(|event| Some((event.kind().as_str(), sighting(event)?.block_number))).collect()
}

/// The events without the transitions: what is told, however many steps it took.
pub(crate) async fn facts(pool: &PgPool) -> Vec<String> {
    let mut facts: Vec<String> = events(pool)
        .await
        .into_iter()
        .map(|mut event| {
            match &mut event {
                Event::BlockchainTxMined(event) => event.sighting.transition = 0,
                Event::BlockchainTxReorged(event) => event.sighting.transition = 0,
                Event::BlockchainTxConfirmed(event) => event.sighting.transition = 0,
                Event::BlockchainTxReverted(event) => event.sighting.transition = 0,
                _ => {}
            }
            format!("{event:?}")
        })
        .collect();
    facts.sort();
    facts
}
