//! Every grant's history, as an auditor reads it, is a way through the saga's state machine, and ends where the grant is.

use std::time::Duration;

use chrono::{DateTime, Utc};
use laurel_chain::PaidMask;
use laurel_events::{CampaignId, Event, EventKind, OrgId};
use laurel_grant_saga::{Applied, GrantState, SagaEvent, Seat};
use laurel_ledger::{Balances, find_balances, read_one};
use laurel_views::{
    GrantFilter, GrantView, TimelineEntry, books_at, grant_at, grant_timeline, list_grant_views,
};
use sqlx::{PgConnection, PgPool};
use tokio::time::{sleep, timeout};

/// More grants than any story has.
const GRANTS_MAX: i64 = 100_000;

/// One grant in so many is looked at, beside all that did not go the plain way.
const SAMPLE: u64 = 20;

/// How long the views may need for what is left of a story.
const LEVEL_WITHIN: Duration = Duration::from_secs(30);

/// Waits until the views have come to what there is now.
async fn until_level(conn: &mut PgConnection) {
    let heads: Vec<(i16, i64)> =
        sqlx::query_as("SELECT part, next FROM heads").fetch_all(&mut *conn).await.unwrap();
    for (part, next) in heads {
        loop {
            let behind: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM unnest('{campaign-stats,transaction-history}'::text[]) AS v (stage)
                 WHERE coalesce((SELECT next FROM cursors WHERE stage = v.stage AND part = $1), 0) < $2",
            )
            .bind(part)
            .bind(next)
            .fetch_one(&mut *conn)
            .await
            .unwrap();
            if behind == 0 {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Checks the grants of a story that is over. Returns how many of them once awaited a wallet.
pub(crate) async fn assert_histories(pool: &PgPool) -> usize {
    let mut conn = pool.acquire().await.unwrap();
    timeout(LEVEL_WITHIN, until_level(&mut conn)).await.expect("the views get level");
    let filter = GrantFilter::default();
    let grants = list_grant_views(&mut conn, OrgId(1), &filter, GRANTS_MAX).await.unwrap().grants;
    let mut awaited = 0;
    for grant in &grants {
        let own_steps: Option<i32> = sqlx::query_scalar("SELECT 1 FROM history WHERE about = $1 LIMIT 1")
            .bind(format!("grant:{}", grant.id))
            .fetch_optional(&mut *conn)
            .await
            .unwrap();
        if own_steps.is_none() && grant.id.number % SAMPLE != 0 {
            continue;
        }
        let timeline = grant_timeline(&mut conn, grant).await.unwrap();
        awaited +=
            usize::from(timeline.iter().any(|entry| entry.event == EventKind::TokenGrantAwaitingWallet));
        let end = fold(&mut conn, grant, &timeline).await;
        assert_eq!(end.as_str(), grant.state, "{}: {timeline:?}", grant.id);
        let past = grant_at(grant, &timeline, DateTime::<Utc>::MAX_UTC).expect("it was granted");
        assert_eq!(
            (past.state, past.seq, past.wallet),
            (grant.state.as_str(), grant.seq, grant.wallet),
            "{timeline:?}"
        );
        let unplaced: Vec<_> = timeline.iter().filter(|entry| entry.id.is_none()).collect();
        assert!(unplaced.is_empty(), "{}: the views are not level: {unplaced:?}", grant.id);
    }
    assert_past_books(&mut conn).await;
    awaited
}

/// Checks that what the journal adds up to is what the books say.
async fn assert_past_books(conn: &mut PgConnection) {
    let campaigns: Vec<i64> = sqlx::query_scalar("SELECT campaign FROM accounts WHERE funded > 0")
        .fetch_all(&mut *conn)
        .await
        .unwrap();
    for campaign in campaigns {
        let campaign = CampaignId::try_from(campaign).unwrap();
        let balances = find_balances(conn, campaign).await.unwrap().unwrap();
        let past = books_at(conn, campaign, DateTime::<Utc>::MAX_UTC).await.unwrap().unwrap();
        assert_eq!(past.balances, Balances { declines: 0, ..balances }, "campaign {campaign}");
    }
}

async fn fold(conn: &mut PgConnection, grant: &GrantView, timeline: &[TimelineEntry]) -> GrantState {
    let mut state = GrantState::Requested;
    for entry in timeline {
        for event in saga_events(conn, grant, entry, &state).await {
            state = match state.clone().apply(event) {
                Ok(Applied::Moved(next)) => next,
                Ok(Applied::Ignored) => state,
                Err(error) => panic!("{}: {error}: {timeline:?}", grant.id),
            };
        }
    }
    state
}

/// What an entry of the timeline is to the machine.
async fn saga_events(
    conn: &mut PgConnection,
    grant: &GrantView,
    entry: &TimelineEntry,
    state: &GrantState,
) -> Vec<SagaEvent> {
    let event = match entry.id {
        Some(id) => read_one(conn, id).await.unwrap().map(|envelope| envelope.event),
        None => None,
    };
    match (entry.event, event) {
        // The wallet's own event is the player's; a grant that starts after waiting tells of it.
        (EventKind::TokenGrantStarted, _) => {
            let linked =
                matches!(state, GrantState::AwaitingWallet { .. }).then_some(SagaEvent::WalletLinked);
            let seat = Seat { seq: grant.seq.unwrap(), word: alloy::primitives::B256::ZERO };
            linked.into_iter().chain([SagaEvent::Started(seat)]).collect()
        }
        (EventKind::TokenGrantCompleted, _) => vec![SagaEvent::Posted(entry.batch.unwrap())],
        (_, Some(Event::TokenGrantAwaitingWallet(event))) => {
            vec![SagaEvent::AwaitingWallet { until: event.until }]
        }
        (_, Some(Event::TokenGrantHeld(event))) => vec![SagaEvent::Held { reason: event.reason }],
        (_, Some(Event::TokenGrantFailed(event))) => {
            vec![SagaEvent::Failed { reason: event.reason, proof: event.proof }]
        }
        (_, Some(Event::BlockchainTxUndone(event))) => {
            let seat = Seat { seq: grant.seq.unwrap(), word: alloy::primitives::B256::ZERO };
            vec![SagaEvent::Undone { batch: event.sighting.batch.unwrap(), seat }]
        }
        (_, Some(Event::BudgetReleased(_))) => vec![SagaEvent::Released],
        // What burns the grant's place does not settle it: the failure that follows tells of that.
        (_, Some(Event::BlockchainTxSubmitted(event))) if event.cancels.is_some() => Vec::new(),
        (_, Some(Event::BlockchainTxConfirmed(event))) if event.segments.is_empty() => Vec::new(),
        (_, Some(Event::BlockchainTxSubmitted(event))) => vec![SagaEvent::Submitted(event.batch)],
        (_, Some(Event::BlockchainTxReverted(event))) => {
            let batch = event.sighting.batch.unwrap();
            let settles =
                matches!(state, GrantState::Submitted { batch: in_batch, .. } if *in_batch == batch);
            settles.then_some(SagaEvent::Reverted(batch)).into_iter().collect()
        }
        (_, Some(Event::BlockchainTxConfirmed(event))) => {
            let batch = event.sighting.batch.unwrap();
            let seq = grant.seq.unwrap();
            let pays = event.segments.iter().any(|segment| {
                segment.campaign == grant.id.campaign
                    && PaidMask::new(segment.first_seq, segment.paid.clone()).contains(seq)
            });
            vec![if pays { SagaEvent::Paid(batch) } else { SagaEvent::Refused(batch) }]
        }
        _ => Vec::new(),
    }
}
