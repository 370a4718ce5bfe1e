//! Two replicas at once write each fact once.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use laurel_chain_watcher::{Finality, Watcher};
use laurel_events::{Clock, MockClock};

use crate::{
    chain::Chain,
    journal,
    recorded::{Branch, Recorded},
    world::{World, catch_up},
};

#[tokio::test]
async fn only_the_holder_of_the_lease_watches() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let node = Arc::new(chain.node.clone());
    let [first, second] = ["first", "second"]
        .map(|holder| world.replica(holder, node.clone(), Finality::Finalized, world.clock.clone()));
    assert!(first.step().await.unwrap());
    let position = world.position().await;
    assert!(!second.step().await.unwrap(), "the lease is the first one's");
    assert_eq!(world.position().await, position);
    world.clock.advance(TimeDelta::seconds(5));
    catch_up(&second).await;
    assert_ne!(world.position().await, position, "it has lapsed");
}

#[tokio::test]
async fn a_replica_that_wakes_up_late_changes_nothing() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    world.settle(&chain, 0, 3).await;
    chain.mine(4).await;
    let branch = Branch::of(&chain).await;
    let slow = Recorded::gated(branch.clone());
    let late = world.replica("late", slow.clone(), Finality::Finalized, world.clock.clone());
    let late = tokio::spawn(async move {
        late.step().await.unwrap();
        late.step().await.unwrap();
    });
    slow.gate().reached.acquire().await.unwrap().forget();

    // It hangs in the middle of a step, and its lease runs out.
    world.clock.advance(TimeDelta::seconds(6));
    let prompt = world.replica("prompt", Recorded::new(branch), Finality::Finalized, world.clock.clone());
    catch_up(&prompt).await;
    let (position, told) = (world.position().await, journal::events(world.pool()).await);
    assert_eq!(journal::story(world.pool()).await.len(), 2);

    slow.gate().opened.add_permits(100);
    late.await.unwrap();
    assert_eq!(world.position().await, position);
    assert_eq!(journal::events(world.pool()).await, told);
}

/// A clock on which every lease has run out by the next look at it.
#[derive(Debug)]
struct Rushing(AtomicI64);

impl Clock for Rushing {
    fn now(&self) -> DateTime<Utc> {
        MockClock::default().now() + TimeDelta::minutes(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

/// Steps as often as it takes to find nothing new twice in a row.
async fn hurry(watcher: &Watcher) {
    let mut idle = 0;
    while idle < 2 {
        // Losing a race is no error; not being able to tell is: the next look decides.
        match watcher.step().await {
            Ok(false) => idle += 1,
            Ok(true) | Err(_) => idle = 0,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_that_all_believe_to_be_alone_write_each_fact_once() {
    let chain = Chain::funded().await;
    let (calm, contested) = (World::new(&chain).await, World::new(&chain).await);
    let node = Arc::new(chain.node.clone());
    let watcher = calm.watcher(node.clone());
    let clock = Arc::new(Rushing(AtomicI64::new(0)));
    let replicas = ["a", "b", "c", "d"]
        .map(|holder| contested.replica(holder, node.clone(), Finality::Finalized, clock.clone()));
    for round in 0..12 {
        let signed = chain.settlement(round * 3, 3).await;
        for world in [&calm, &contested] {
            world.submit(&signed).await;
        }
        laurel_chain::ChainNode::send(&chain.node, signed.raw.clone()).await.unwrap();
        chain.mine(1).await;
        if round % 4 == 3 {
            catch_up(&watcher).await;
            futures::future::join_all(replicas.iter().map(hurry)).await;
            chain.control.reorg(1).await.unwrap();
            laurel_chain::ChainNode::send(&chain.node, signed.raw.clone()).await.unwrap();
            chain.mine(1).await;
        }
        catch_up(&watcher).await;
        futures::future::join_all(replicas.iter().map(hurry)).await;
    }
    chain.mine(2).await;
    catch_up(&watcher).await;
    futures::future::join_all(replicas.iter().map(hurry)).await;
    let facts = journal::facts(contested.pool()).await;
    assert_eq!(facts, journal::facts(calm.pool()).await);
    assert_eq!(facts.iter().filter(|fact| fact.contains("Confirmed")).count(), 12);
    assert_eq!(facts.iter().filter(|fact| fact.contains("Reorged")).count(), 3);
    assert_eq!(contested.position().await, calm.position().await);
}
