//! What a recovery believes of what nodes say.

use alloy::primitives::B256;
use chrono::TimeDelta;
use laurel_chain::{BlockRef, ChainError, ChainNode};
use laurel_events::time_ordered;
use laurel_grant_saga::{RecoverError, Recovery, Waiting};
use rand::{SeedableRng, rngs::StdRng};

use crate::world::World;

/// How long what was signed may settle: the vault's MAX_LIFETIME.
const LIFETIME_S: u64 = 3_600;

/// A recovery in quarantine, of a ledger whose last final block is the chain's head, by this hash.
async fn recovery(world: &World, final_hash: B256) -> Recovery {
    world.everything_is_final().await;
    sqlx::query("UPDATE chains SET final_hash = $1")
        .bind(final_hash.as_slice())
        .execute(world.pool())
        .await
        .unwrap();
    let recovery = Recovery::new(world.pool().clone(), vec![(world.vault, world.node.clone())]);
    let epoch = time_ordered(world.now(), &mut StdRng::seed_from_u64(7));
    recovery.begin(world.now(), epoch, "it was restored").await.unwrap();
    recovery
}

/// A node that is behind tells of an earlier time than it is: what was signed until now may settle for as long as the vault says.
#[tokio::test]
async fn a_node_that_is_behind_shortens_no_quarantine() {
    let world = World::new().await;
    let head = world.node.block(BlockRef::Latest).await.unwrap().unwrap();
    let recovery = recovery(&world, head.hash).await;
    let real = chrono::DateTime::from_timestamp(head.header.timestamp.cast_signed(), 0).unwrap();
    let now = real + TimeDelta::hours(5);
    let waiting = recovery.wait_for_chains(now).await.unwrap();
    let [Waiting::Deadlines { until, final_time, .. }] = waiting[..] else { panic!("{waiting:?}") };
    assert_eq!(until, now.timestamp().unsigned_abs() + LIFETIME_S);
    assert_eq!(final_time, head.header.timestamp);
    // It is not put off by asking again.
    let again = recovery.wait_for_chains(now + TimeDelta::hours(1)).await.unwrap();
    assert_eq!(again, waiting);
}

/// The time of the final block ends the wait, so it is that of the block which became final, whatever a node has by its number.
#[tokio::test]
async fn the_time_of_another_block_ends_no_quarantine() {
    let world = World::new().await;
    let recovery = recovery(&world, B256::repeat_byte(7)).await;
    let error = recovery.wait_for_chains(world.now()).await.unwrap_err();
    assert!(matches!(error, RecoverError::Chain(ChainError::Untrue(_))), "{error:?}");
}
