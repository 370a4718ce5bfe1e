//! The way out of a halt: the view goes back to the last block in common, and what was final above it is told as undone.

use std::sync::Arc;

use laurel_chain::{ChainNode, SignedTx};
use laurel_chain_watcher::{Finality, Rebase, RebaseError, Unread};
use laurel_events::{CampaignId, Clock as _, Event};
use uuid::Uuid;

use crate::{
    chain::{CHAIN_ID, Chain},
    endpoints::endpoints,
    journal,
    recorded::{Branch, Recorded},
    world::{World, catch_up, try_catch_up},
};

fn rebase(world: &World, chain: &Chain) -> Rebase {
    Rebase::new(world.pool().clone(), Arc::new(chain.node.clone()), CHAIN_ID, Finality::Finalized)
}

/// A settlement is final, and the chain forgets it.
async fn taken_back(world: &World, chain: &Chain) -> SignedTx {
    let watcher = world.watcher(Arc::new(chain.node.clone()));
    let (_, signed) = world.settle(chain, 0, 3).await;
    chain.mine(6).await;
    catch_up(&watcher).await;
    chain.control.reorg(6).await.unwrap();
    chain.mine(1).await;
    try_catch_up(&watcher).await.unwrap_err();
    assert!(world.position().await.halted.is_some());
    signed
}

#[tokio::test]
async fn what_was_final_is_told_as_undone_once_and_the_new_branch_is_followed() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let settled_in = chain.head().await.header.number + 1;
    let signed = taken_back(&world, &chain).await;
    let before = world.position().await;
    let rebase = rebase(&world, &chain);
    let plan = rebase.plan().await.unwrap();
    assert_eq!(Some(plan.from.number), before.last_final);
    assert!(plan.to.number < settled_in, "{plan:?}");
    assert_eq!((plan.lost.settlements, plan.lost.grants, plan.lost.fundings), (1, 3, 0));
    assert_eq!(world.position().await, before, "a plan changes nothing");

    rebase.begin(world.clock.now(), Uuid::from_u128(1), &plan).await.unwrap();
    // Whoever was killed now, or comes second, finds that it has begun.
    assert!(rebase.is_open().await.unwrap());
    let again = rebase.begin(world.clock.now(), Uuid::from_u128(2), &plan).await.unwrap_err();
    assert!(matches!(again, RebaseError::Moved), "{again}");
    let told = journal::events(world.pool()).await;
    let undone: Vec<u64> = told
        .iter()
        .filter_map(|event| match event {
            Event::BlockchainTxUndone(undone) => Some(undone.sighting.block_number),
            _ => None,
        })
        .collect();
    assert_eq!(undone, [settled_in]);
    let rebased = told.iter().filter(|event| matches!(event, Event::ChainRebased(_))).count();
    assert_eq!(rebased, 1);
    let watcher = world.watcher(Arc::new(chain.node.clone()));
    try_catch_up(&watcher).await.unwrap_err();
    assert_eq!(world.position().await.halted, before.halted, "halted until everybody has read it");

    rebase.end(world.clock.now()).await.unwrap();
    assert!(matches!(rebase.end(world.clock.now()).await.unwrap_err(), RebaseError::Moved));
    assert!(matches!(rebase.plan().await.unwrap_err(), RebaseError::NotHalted(CHAIN_ID)));
    let alerts: i64 =
        sqlx::query_scalar("SELECT count(*) FROM alerts").fetch_one(world.pool()).await.unwrap();
    assert_eq!(alerts, 0);
    chain.node.send(signed.raw).await.unwrap();
    chain.mine(6).await;
    catch_up(&watcher).await;
    let position = world.position().await;
    assert_eq!(position.head_hash, Some(chain.head().await.hash));
    let confirmed = journal::events(world.pool()).await;
    let confirmed = confirmed.iter().filter(|event| matches!(event, Event::BlockchainTxConfirmed(_))).count();
    assert_eq!(confirmed, 2);
}

#[tokio::test]
async fn caps_of_blocks_that_are_gone_are_told_the_newest_fact_first() {
    let chain = Chain::new().await;
    let world = World::new(&chain).await;
    chain.mine(3).await;
    chain.open(7, 1_000).await;
    chain.mine(1).await;
    world.settle(&chain, 0, 3).await;
    chain.mine(6).await;
    let watcher = world.watcher(Arc::new(chain.node.clone()));
    catch_up(&watcher).await;
    chain.control.reorg(8).await.unwrap();
    chain.mine(1).await;
    try_catch_up(&watcher).await.unwrap_err();
    let rebase = rebase(&world, &chain);
    let plan = rebase.plan().await.unwrap();
    assert_eq!((plan.lost.settlements, plan.lost.fundings), (1, 1));
    rebase.begin(world.clock.now(), Uuid::from_u128(1), &plan).await.unwrap();
    let kept: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sightings").fetch_one(world.pool()).await.unwrap();
    assert_eq!(kept, 0, "nothing of the old branch is left");
    let told = journal::events(world.pool()).await;
    assert!(told.iter().any(
        |event| matches!(event, Event::CampaignFundingUndone(undone) if undone.undone.cap == 1_000_u64.into())
    ));
}

/// An endpoint that lies halts the chain, and is taken out of the configuration. Returns the last final block's number.
async fn lied_to(world: &World, chain: &Chain) -> u64 {
    let honest = Branch::of(chain).await;
    let liar = Recorded::new(honest.clone());
    let last_final = world.position().await.last_final.unwrap();
    let mut wrong = honest.block(last_final).cloned().unwrap();
    wrong.hash = alloy::primitives::B256::repeat_byte(0xee);
    liar.change(|script| script.finalized = Some(wrong));
    chain.mine(1).await;
    try_catch_up(&world.watcher(liar)).await.unwrap_err();
    assert!(world.position().await.halted.is_some());
    last_final
}

/// The one that is asked first is far behind, and so lacks our final block.
#[tokio::test]
async fn an_endpoint_that_is_behind_takes_nothing_back() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    world.settle(&chain, 0, 3).await;
    chain.mine(6).await;
    catch_up(&world.watcher(Arc::new(chain.node.clone()))).await;
    let last_final = lied_to(&world, &chain).await;
    let behind = Recorded::new(Branch::of(&chain).await.to(last_final - 2));
    let honest = || -> Arc<dyn ChainNode> { Arc::new(chain.node.clone()) };
    let all = endpoints(&world, vec![behind, honest(), honest()], 2).await;
    let rebase = Rebase::new(world.pool().clone(), all, CHAIN_ID, Finality::Finalized);
    let refused = rebase.plan().await.unwrap_err();
    assert!(matches!(refused, RebaseError::NothingDiffers { .. }), "{refused}");
    rebase.resume(world.clock.now()).await.unwrap();
    assert_eq!(world.position().await.halted, None);
}

#[tokio::test]
async fn nothing_is_undone_where_nothing_differs() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let calm = rebase(&world, &chain);
    let watcher = world.watcher(Arc::new(chain.node.clone()));
    world.settle(&chain, 0, 3).await;
    chain.mine(6).await;
    catch_up(&watcher).await;
    assert!(matches!(calm.plan().await.unwrap_err(), RebaseError::NotHalted(CHAIN_ID)));
    assert!(matches!(calm.resume(world.clock.now()).await.unwrap_err(), RebaseError::NotHalted(CHAIN_ID)));
    let told = journal::events(world.pool()).await;
    let last_final = lied_to(&world, &chain).await;
    let refused = calm.plan().await.unwrap_err();
    assert!(
        matches!(refused, RebaseError::NothingDiffers { number, .. } if number == last_final),
        "{refused}"
    );
    calm.resume(world.clock.now()).await.unwrap();
    catch_up(&watcher).await;
    assert_eq!(world.position().await.halted, None);
    let after = journal::events(world.pool()).await;
    assert!(
        after.len() > told.len() && !after.iter().any(|event| matches!(event, Event::BlockchainTxUndone(_)))
    );
}

#[tokio::test]
async fn what_nobody_calls_final_is_no_ground_to_stand_on() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    taken_back(&world, &chain).await;
    let shy = Recorded::new(Branch::of(&chain).await);
    shy.change(|script| script.finalized = script.branch.block(0).cloned());
    let rebase = Rebase::new(world.pool().clone(), shy, CHAIN_ID, Finality::Finalized);
    let refused = rebase.plan().await.unwrap_err();
    assert!(matches!(refused, RebaseError::NotFinal { .. }), "{refused}");
    assert!(matches!(rebase.resume(world.clock.now()).await.unwrap_err(), RebaseError::Differs));
}

#[tokio::test]
async fn what_is_set_aside_is_waited_for() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    taken_back(&world, &chain).await;
    let rebase = rebase(&world, &chain);
    // The rows of other crates, without all that they stand on.
    let execute = async |sql: &'static str| {
        let mut tx = world.pool().begin().await.unwrap();
        sqlx::query("SET LOCAL session_replication_role = replica").execute(&mut *tx).await.unwrap();
        sqlx::query(sql).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    };
    let unread = async || rebase.unread(&mut rebase.reading().await.unwrap()).await.unwrap();
    let stages = unread().await;
    assert!(
        stages.len() == 3 && stages.iter().all(|unread| matches!(unread, Unread::Stage { .. })),
        "{stages:?}"
    );
    execute(
        "INSERT INTO cursors (stage, part, next)
         SELECT stage, part, next FROM heads CROSS JOIN unnest('{books,settlements,grant-saga}'::text[]) AS stage",
    )
    .await;
    assert_eq!(unread().await, []);
    execute(
        "INSERT INTO dead_letters (stage, part, position, idx, kind, subject, state, attempts, created_at, updated_at)
         SELECT stage, 0, 0, 0, 'BudgetPosted', 'campaign', 'blocked', 0, now(), now()
         FROM unnest('{books,campaign}'::text[]) AS stage",
    )
    .await;
    assert_eq!(unread().await, [Unread::Letters { stage: "books", letters: 1 }]);
    execute("UPDATE dead_letters SET state = 'redriven'").await;
    // Grants of a released campaign fail, but not while a batch of it is under way.
    execute(
        "INSERT INTO queues (campaign, vault, next_seq, released_tx)
         SELECT 7, id, 5, decode(repeat('07', 32), 'hex') FROM vaults",
    )
    .await;
    let releases = [Unread::Release(CampaignId::try_from(7_i64).unwrap())];
    assert_eq!(unread().await, releases);
    execute(
        "INSERT INTO segments (batch, campaign, first_seq, count, total, words_hash)
         SELECT id, 7, 0, 3, 1, decode(repeat('07', 32), 'hex') FROM batches",
    )
    .await;
    assert_eq!(unread().await, []);
    execute("UPDATE batches SET state = 'reverted'").await;
    assert_eq!(unread().await, releases);
    execute("UPDATE queues SET batched_to = next_seq").await;
    assert_eq!(unread().await, []);
}
