//! What the chain would not pay now keeps nobody else waiting.

use alloy::{primitives::U256, sol_types::SolCall};
use chrono::TimeDelta;
use laurel_chain::RewardVault;
use laurel_events::{BlockchainTxConfirmed, CampaignId, EventKind};
use laurel_grant_saga::{LaneDriver, Progress};

use crate::{
    batching::submitted,
    compensation::{burned_by_owner, queue_with_refused},
    settling::{confirmed, paid_only, tell},
    world::{World, amount_of, drain},
};

async fn alerts(world: &World) -> Vec<(String, String)> {
    sqlx::query_as("SELECT code, about FROM alerts ORDER BY code, about")
        .fetch_all(world.pool())
        .await
        .unwrap()
}

/// What each batch settles: first place and size.
async fn segments(world: &World) -> Vec<(u64, u32)> {
    let batches = submitted(world).await;
    batches.iter().map(|batch| (batch.segments[0].first_seq, batch.segments[0].count)).collect()
}

async fn sent_in(driver: &mut LaneDriver, steps: usize, world: &World) -> usize {
    let mut sent = 0;
    for _ in 0..steps {
        sent += usize::from(driver.step().await.unwrap() == Progress::Sent);
        world.clock.advance(TimeDelta::seconds(1));
    }
    sent
}

/// What is queued goes again instead, as after a batch that came to nothing.
async fn everything_goes_again(world: &World) {
    let moved = "WITH queued AS (SELECT campaign, next_seq FROM queues),
                      moved AS (UPDATE queues SET batched_to = next_seq)
                 INSERT INTO requeues (campaign, first_seq, count, queued_at)
                 SELECT campaign, 0, next_seq, $1 FROM queued";
    sqlx::query(moved).bind(world.now()).execute(world.pool()).await.unwrap();
}

/// A campaign of two grants, one of which the token refuses, and what the chain said of it.
async fn one_refused(
    world: &mut World,
    driver: &mut LaneDriver,
    campaign: CampaignId,
) -> BlockchainTxConfirmed {
    // The books know another token, so that the token's own address passes for a recipient: the chain refuses it.
    sqlx::query("UPDATE campaigns SET token = decode(repeat('99', 20), 'hex')")
        .execute(world.pool())
        .await
        .unwrap();
    let (good, _) = world.player_with_wallet().await;
    let (bad, _) = world.player_with_wallet().await;
    sqlx::query("UPDATE wallets SET address = $2 WHERE player = $1")
        .bind(bad.uuid())
        .bind(world.deployed.token.as_slice())
        .execute(world.pool())
        .await
        .unwrap();
    world.request(campaign, &[good, bad]).await;
    drain(&mut world.grants).await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    let batch = submitted(world).await.remove(0);
    confirmed(world, &batch, 1).await
}

#[tokio::test]
async fn a_recipient_that_is_refused_for_ever_does_not_stop_its_campaign() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let mut driver = world.driver(1, "a").await;
    let confirmed = one_refused(&mut world, &mut driver, campaign).await;
    assert_eq!(confirmed.segments[0].count, 1, "the chain itself would have refused one of two");
    tell(&mut world, confirmed).await;
    assert_eq!(world.events(&[EventKind::TokenGrantHeld]).await.len(), 1);

    world.clock.advance(TimeDelta::minutes(10));
    let mut wallets = Vec::new();
    for _ in 0..3 {
        let (player, wallet) = world.player_with_wallet().await;
        let grant = world.request(campaign, &[player]).await[0];
        wallets.push((wallet, grant));
    }
    drain(&mut world.grants).await;
    assert_eq!(driver.step().await.unwrap(), Progress::Idle, "the refused one comes first");
    assert_eq!(alerts(&world).await, [], "that a recipient refuses is no trouble of ours");
    assert_eq!(driver.step().await.unwrap(), Progress::Sent, "and then the others");
    for (wallet, grant) in wallets {
        assert_eq!(world.balance(wallet).await, u128::try_from(amount_of(grant).units()).unwrap());
    }
    // Half an hour: it is asked for ever more seldom, and the others go on.
    let asked = "SELECT setbacks FROM requeues";
    world.queue(campaign, 1).await;
    assert!(sent_in(&mut driver, 1_800, &world).await > 0);
    let setbacks: i32 = sqlx::query_scalar(asked).fetch_one(world.pool()).await.unwrap();
    assert!((6..=9).contains(&setbacks), "{setbacks}: 15 s, doubled up to 10 min");
}

#[tokio::test]
async fn a_window_limit_below_a_batch_slows_a_campaign_down() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let limits = RewardVault::setLimitsCall {
        campaign: campaign.on_chain(),
        grantGas: 100_000,
        windowLimit: "5".parse().unwrap(),
        window: 60,
    };
    world.owner_sends(world.deployed.vault, limits.abi_encode().into()).await;
    // Grants of 1, 2, 3 and 4: each fits, all of them do not.
    world.queue(campaign, 4).await;
    let mut driver = world.driver(1, "a").await;
    for _ in 0..4 {
        driver.step().await.unwrap();
        world.clock.advance(TimeDelta::seconds(60));
        world.control.warp(60).await.unwrap();
        world.control.mine(1).await.unwrap();
    }
    assert_eq!(segments(&world).await, [(0, 2), (2, 1), (3, 1)], "1 + 2, 3, 4");
}

#[tokio::test]
async fn what_is_cut_to_one_bad_grant_lets_the_next_one_pass() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    sqlx::query("UPDATE campaigns SET token = decode(repeat('99', 20), 'hex')")
        .execute(world.pool())
        .await
        .unwrap();
    let (bad, _) = world.player_with_wallet().await;
    sqlx::query("UPDATE wallets SET address = $1")
        .bind(world.deployed.token.as_slice())
        .execute(world.pool())
        .await
        .unwrap();
    let (good, wallet) = world.player_with_wallet().await;
    world.request(campaign, &[bad, good]).await;
    drain(&mut world.grants).await;
    // The limit counts what is paid, which the bad one's 1 is not: a batch of both is over it, and of what fits the bad
    // one is all.
    let limits = |window_limit: &str, window| RewardVault::setLimitsCall {
        campaign: campaign.on_chain(),
        grantGas: 100_000,
        windowLimit: window_limit.parse().unwrap(),
        window,
    };
    world.owner_sends(world.deployed.vault, limits("1", 60).abi_encode().into()).await;
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    assert_eq!(world.events(&[EventKind::TokenGrantHeld]).await.len(), 1);
    world.owner_sends(world.deployed.vault, limits("0", 0).abi_encode().into()).await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    assert_eq!(segments(&world).await, [(1, 1)]);
    assert_eq!(world.balance(wallet).await, 2);
}

/// A grant that no window can ever let through, such as the first rank's above the limit, waits alone.
#[tokio::test]
async fn a_grant_above_the_windows_whole_limit_keeps_nobody_waiting() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    // Grants of 1 to 7, of which the first four are paid before there is a limit.
    world.queue(campaign, 4).await;
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    world.queue(campaign, 3).await;
    let limits = RewardVault::setLimitsCall {
        campaign: campaign.on_chain(),
        grantGas: 100_000,
        windowLimit: "4".parse().unwrap(),
        window: 60,
    };
    world.owner_sends(world.deployed.vault, limits.abi_encode().into()).await;
    world.clock.advance(TimeDelta::seconds(1));
    for _ in 0..3 {
        driver.step().await.unwrap();
    }
    let codes: Vec<(String, String)> = alerts(&world).await;
    let set_back = |seq: u64| ("places_set_back".to_owned(), format!("campaign:{campaign}/seq:{seq}"));
    let campaign_alert = ("settlement_would_revert".to_owned(), format!("campaign:{campaign}"));
    assert_eq!(codes, [set_back(4), set_back(5), campaign_alert], "the last has nobody behind it");
}

#[tokio::test]
async fn a_vault_that_gives_each_transfer_much_gas_is_given_it() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let limits = RewardVault::setLimitsCall {
        campaign: campaign.on_chain(),
        grantGas: 2_000_000,
        windowLimit: "0".parse().unwrap(),
        window: 0,
    };
    world.owner_sends(world.deployed.vault, limits.abi_encode().into()).await;
    world.queue(campaign, 3).await;
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    assert_eq!(segments(&world).await, [(0, 3)]);
    assert_eq!(alerts(&world).await, []);
}

/// The other lane's batch is mined between this one's plan and its question, and so every place is burned.
#[tokio::test]
async fn a_plan_that_another_lane_settled_meanwhile_is_no_alert() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 2).await;
    let (mut slow, mut fast) = (world.driver(1, "a").await, world.driver(2, "a").await);
    world.node.stop_before_call();
    let asked = tokio::spawn(async move { slow.step().await.unwrap() });
    world.node.stopped.notified().await;
    assert_eq!(fast.step().await.unwrap(), Progress::Sent);
    world.node.go_on.notify_one();
    asked.await.unwrap();
    assert_eq!(segments(&world).await, [(0, 2)]);
    assert_eq!(alerts(&world).await, []);
    let resting: i64 =
        sqlx::query_scalar("SELECT count(*) FROM requeues").fetch_one(world.pool()).await.unwrap();
    assert_eq!(resting, 0);
}

/// Places that somebody has burned already are not settled again: it would cost gas and pay nobody.
#[tokio::test]
async fn what_would_pay_nobody_is_not_sent() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 2).await;
    let cancel = RewardVault::cancelCall { campaign: campaign.on_chain(), word: 0, mask: U256::from(0b11) };
    world.owner_sends(world.deployed.vault, cancel.abi_encode().into()).await;
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    assert_eq!(submitted(&world).await, []);
    let told: Vec<String> = alerts(&world).await.into_iter().map(|(code, _)| code).collect();
    assert_eq!(
        told,
        ["places_set_back", "settlement_would_revert"],
        "one place with another behind it, then the last"
    );
    // Nothing of it is sent any more, so nobody else would take that back.
    let burned = burned_by_owner(&world, campaign, 0, 0b11);
    tell(&mut world, burned).await;
    assert_eq!(alerts(&world).await, []);
}

#[tokio::test]
async fn refused_places_that_are_apart_stay_apart() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 4).await;
    world.control.pause_mining().await.unwrap();
    let mut driver = world.driver(1, "a").await;
    driver.step().await.unwrap();
    let batch = submitted(&world).await.remove(0);
    let confirmed = paid_only(&world, &batch, 0b0101).await;
    tell(&mut world, confirmed).await;
    let requeued: Vec<(i64, i32)> = sqlx::query_as("SELECT first_seq, count FROM requeues ORDER BY 1")
        .fetch_all(world.pool())
        .await
        .unwrap();
    assert_eq!(requeued, [(1, 1), (3, 1)]);
}

#[tokio::test]
async fn nothing_is_signed_for_a_halted_chain() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 1).await;
    let halt = |reason: Option<&'static str>| sqlx::query("UPDATE chains SET halted = $1").bind(reason);
    halt(Some("block 7 was final as another")).execute(world.pool()).await.unwrap();
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    halt(None).execute(world.pool()).await.unwrap();
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
}

/// Halted between the plan and the commit: neither what is queued nor what goes again is taken.
#[tokio::test]
async fn a_campaign_that_is_halted_while_a_batch_is_signed_is_not_settled() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 2).await;
    let halt = |reason: Option<&'static str>| {
        sqlx::query("UPDATE queues SET halted = array_remove(ARRAY[$1::text], NULL)").bind(reason)
    };
    for goes_again in [false, true] {
        if goes_again {
            everything_goes_again(&world).await;
        }
        let mut driver = world.driver(1, "a").await;
        world.node.stop_before_call();
        let planned = tokio::spawn(async move { driver.step().await.unwrap() });
        world.node.stopped.notified().await;
        halt(Some("a payment of a stranger's")).execute(world.pool()).await.unwrap();
        world.node.go_on.notify_one();
        planned.await.unwrap();
        assert_eq!(submitted(&world).await, []);
        halt(None).execute(world.pool()).await.unwrap();
    }
    assert_eq!(world.driver(1, "a").await.step().await.unwrap(), Progress::Sent);
}

/// Of five places, in batches of four, three are refused; the first is burned between the question that says so and the next one.
/// Returns what rests then.
async fn overtaken_by_a_burn(goes_again: bool) -> (World, Vec<(i64, i32)>) {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    queue_with_refused(&mut world, campaign, &[false, true, true, true, false]).await;
    if goes_again {
        everything_goes_again(&world).await;
    }
    let mut driver = world.driver(1, "a").await;
    world.node.stop_before_call();
    let asked = tokio::spawn(async move { driver.step().await.unwrap() });
    world.node.stopped.notified().await;
    for _ in ["what it pays", "which of the others are burned"] {
        world.node.stop_before_call();
        world.node.go_on.notify_one();
        world.node.stopped.notified().await;
    }
    let cancel = RewardVault::cancelCall { campaign: campaign.on_chain(), word: 0, mask: U256::ONE };
    world.owner_sends(world.deployed.vault, cancel.abi_encode().into()).await;
    world.node.go_on.notify_one();
    assert_eq!(asked.await.unwrap(), Progress::Idle);
    let resting = sqlx::query_as("SELECT first_seq, count FROM requeues ORDER BY 1");
    let resting = resting.fetch_all(world.pool()).await.unwrap();
    (world, resting)
}

#[tokio::test]
async fn what_a_plan_leaves_out_is_not_lost_when_the_rest_is_set_back() {
    let (world, resting) = overtaken_by_a_burn(false).await;
    assert_eq!(resting, [(0, 1), (1, 1), (2, 1), (3, 1)]);
    assert_eq!(world.events(&[EventKind::TokenGrantHeld]).await.len(), 3);
}

#[tokio::test]
async fn what_a_plan_leaves_out_of_what_goes_again_rests_alone() {
    let (world, resting) = overtaken_by_a_burn(true).await;
    assert_eq!(resting, [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)]);
    assert_eq!(world.events(&[EventKind::TokenGrantHeld]).await.len(), 3);
}
