//! A step may be cut off anywhere: the journal is the same as without.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use sqlx::postgres::PgPoolOptions;

use crate::{
    chain::Chain,
    journal,
    world::{World, catch_up},
};

/// Polls a future so often at the most, then drops it, as a process that is killed does.
async fn cut_off<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Catches up although every step is cut off after one poll, then after two, and so on until it gets through. Returns
/// how often it was cut off.
async fn catch_up_with_interruptions(world: &World, chain: &Chain) -> usize {
    let mut interruptions = 0;
    let mut polls = 1;
    loop {
        // A process that is killed takes its connections with it, and the server ends their transactions.
        let pool = PgPoolOptions::new().max_connections(2).connect(world.database.url()).await.unwrap();
        let watcher = world.watcher_on(pool.clone(), Arc::new(chain.node.clone()));
        let moved = cut_off(watcher.step(), polls).await;
        pool.close().await;
        match moved {
            None => {
                interruptions += 1;
                polls += 1;
            }
            Some(Ok(true)) => polls = 1,
            Some(Ok(false)) => return interruptions,
            Some(Err(error)) => panic!("a step was not taken: {error:?}"),
        }
    }
}

#[tokio::test]
async fn a_watcher_that_is_killed_at_every_point_writes_the_same_journal() {
    let chain = Chain::funded().await;
    let (whole, killed) = (World::new(&chain).await, World::new(&chain).await);
    let mut interruptions = 0;
    for round in 0..2_u64 {
        let signed = chain.settlement(round * 3, 3).await;
        for world in [&whole, &killed] {
            world.submit(&signed).await;
        }
        for reorganised in [true, false] {
            laurel_chain::ChainNode::send(&chain.node, signed.raw.clone()).await.unwrap();
            chain.mine(1).await;
            catch_up(&whole.watcher(Arc::new(chain.node.clone()))).await;
            interruptions += catch_up_with_interruptions(&killed, &chain).await;
            if reorganised {
                chain.control.reorg(1).await.unwrap();
            }
        }
    }
    chain.mine(3).await;
    catch_up(&whole.watcher(Arc::new(chain.node.clone()))).await;
    interruptions += catch_up_with_interruptions(&killed, &chain).await;
    assert!(interruptions > 50, "only {interruptions}");
    // Not only the same facts: the same transitions at the same places.
    assert_eq!(journal::envelopes(killed.pool()).await, journal::envelopes(whole.pool()).await);
    assert_eq!(killed.position().await, whole.position().await);
    assert_eq!(journal::story(whole.pool()).await.len(), 2 * 4);
}
