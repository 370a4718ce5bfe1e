//! Wakes reach who waits, in this process and in others.

use std::time::Duration;

use laurel_bus::{Wakes, announce_wakes, hear_wakes};
use laurel_events::EventKind;
use tokio_util::sync::CancellationToken;

use crate::world::{Echo, World};

const MINE: &[EventKind] = &[EventKind::TokenGrantHeld];

/// Long enough for a loaded machine; a wake takes milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_wake_is_kept_for_who_waits_later_and_for_nobody_else() {
    let (wakes, _announced) = Wakes::new();
    let mine = wakes.subscribe(MINE).await;
    let other = wakes.subscribe(&[EventKind::WalletLinked]).await;
    wakes.committed([EventKind::TokenGrantHeld]).await;
    wakes.committed([EventKind::TokenGrantHeld]).await;
    tokio::time::timeout(DEADLINE, mine.notified()).await.unwrap();
    // Two calls that nobody waited for are one, and the other one hears nothing of it.
    let nothing = Duration::from_millis(20);
    assert!(tokio::time::timeout(nothing, mine.notified()).await.is_err());
    assert!(tokio::time::timeout(nothing, other.notified()).await.is_err());
}

#[tokio::test]
async fn a_commit_in_one_process_wakes_another() {
    let world = World::new(Echo::default()).await;
    let shutdown = CancellationToken::new();
    let (here, announced) = Wakes::new();
    let (there, _unused) = Wakes::new();
    let woken = there.subscribe(MINE).await;
    let announcing = tokio::spawn(announce_wakes(world.pool().clone(), announced, shutdown.clone()));
    let hearing = tokio::spawn(hear_wakes(world.database.url().to_owned(), there, shutdown.clone()));
    let repeated = async {
        // The listener may not listen yet: whoever commits does not wait for it, and polling would find the event.
        loop {
            here.committed([EventKind::TokenGrantHeld]).await;
            if tokio::time::timeout(Duration::from_millis(50), woken.notified()).await.is_ok() {
                break;
            }
        }
    };
    tokio::time::timeout(DEADLINE, repeated).await.unwrap();
    shutdown.cancel();
    announcing.await.unwrap();
    hearing.await.unwrap();
}
