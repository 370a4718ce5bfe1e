//! What a recovery cannot explain is left to an operator, and nothing is signed until then.

use std::time::Duration;

use alloy::primitives::U256;
use laurel_chain::{GrantWord, RewardVault, Settlement, SettlementSegment};
use laurel_devnet::{dev_keys::DEV_KEYS, testing::TestDatabase};
use laurel_events::{Amount, Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    process::{Running, output},
    recovery::{alerts, start_recovery, until_noted},
    rest::Rest,
    world::{REWARD, UNTOLD, World, free_port},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The development account that settles although it is no lane, and the place that it pays.
const STRANGER: usize = 3;
const STOLEN_SEQ: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_of_a_campaign_that_is_lost_keep_payouts_stopped() {
    let mut world = World::start().await;
    let (replica, rest) = started(&world);
    let campaign = world.campaign(&rest, "1000000").await;
    rest.player("one", world.chain_id).await;
    win(&rest, "one", "first").await;
    until_paid(&rest, &campaign, 1).await;
    assert_eq!(replica.terminate().await, Some(0));
    let backup = world.database.copy().await;
    // The treasury's, which would be waited for.
    sqlx::query("DELETE FROM leases").execute(world.database.pool()).await.unwrap();

    let (replica, rest) = started(&world);
    let lost = world.campaign_named(&rest, "1000000", "Lost").await;
    win(&rest, "one", "second").await;
    until_paid(&rest, &campaign, 2).await;
    until_paid(&rest, &lost, 1).await;
    replica.kill_9().await;
    let stolen = DEV_KEYS[STRANGER].address.parse().unwrap();
    world.owner_calls(RewardVault::setOperatorCall { operator: stolen, allowed: true }).await;
    world.sends(STRANGER, world.vault, stolen_settlement(&campaign, STOLEN_SEQ)).await;
    world.sends(STRANGER, world.vault, stolen_settlement(&campaign, u64::MAX)).await;

    world.database_url = backup.url().to_owned();
    let old = std::mem::replace(&mut world.database, backup);
    let (replica, rest) = started(&world);
    // Before the recovery pauses the campaign, which declines then.
    win(&rest, "one", "second").await;
    assert_eq!(recover(&world, rest.port()).await, Some(1), "three payments are unexplained");
    let why: Vec<String> =
        sqlx::query_scalar("SELECT detail FROM alerts WHERE code = 'payment_not_recovered' ORDER BY detail")
            .fetch_all(world.database.pool())
            .await
            .unwrap();
    let told = |what: &str| why.iter().any(|why| why.contains(what));
    assert!(
        told("does not know") && told("who is no lane of this ledger") && told("a place far beyond"),
        "{why:?}"
    );
    assert_eq!(why.len(), 3, "{why:?}");
    let next: i64 =
        sqlx::query_scalar("SELECT next_seq FROM queues").fetch_one(world.database.pool()).await.unwrap();
    assert_eq!(next.cast_unsigned(), STOLEN_SEQ + 1, "no place is given that anybody has used");
    // What is ours is explained, also while nothing is signed.
    until_paid(&rest, &campaign, 2).await;
    let raised = alerts(&rest).await;
    for code in ["payouts_stopped", "payment_without_hold", "payment_not_recovered", "funding_mismatch"] {
        assert!(raised.contains(&code.to_owned()), "{code}: {raised:?}");
    }
    for code in ["quarantine", "stage_halted", "dead_letters"] {
        assert!(!raised.contains(&code.to_owned()), "{code}: {raised:?}");
    }
    // Whatever number a stranger has paid.
    let reconciled = output(world.laurel(rest.port(), &["audit", "reconcile", "--full", "--json"])).await;
    let found: Value = serde_json::from_slice(&reconciled.stdout).unwrap();
    let outside = |finding: &&Value| finding["code"] == "settlement_from_outside";
    assert_eq!(found["findings"].as_array().unwrap().iter().filter(outside).count(), 3, "{found}");
    assert!(found.to_string().contains(&format!("from seq {} of campaign", u64::MAX)), "{found}");
    assert_eq!(world.balance(Rest::wallet("one")).await, U256::from(3 * REWARD), "nothing more is paid");

    // What operators have dealt with is no finding of the next recovery.
    let abouts: Vec<(String, String)> =
        sqlx::query_as("SELECT code, about FROM alerts WHERE code LIKE 'payment_%' ORDER BY 1, 2")
            .fetch_all(world.database.pool())
            .await
            .unwrap();
    for (code, about) in abouts {
        must(&world, rest.port(), &["alerts", "acknowledge", &code, &about]).await;
    }
    assert_eq!(recover(&world, rest.port()).await, Some(0));
    let raised = alerts(&rest).await;
    assert!(
        !raised.iter().any(|code| code.starts_with("payment_") || code == "payouts_stopped"),
        "{raised:?}"
    );
    rest.must(Method::POST, &format!("/campaigns/{campaign}/resume"), None).await;
    win(&rest, "one", "third").await;
    until_paid(&rest, &campaign, 3).await;
    assert_eq!(world.balance(Rest::wallet("one")).await, U256::from(4 * REWARD));
    assert_eq!(replica.terminate().await, Some(0));
    drop(old);
}

/// A world whose disk went back to a snapshot, which cannot be told from the disk: one of the two grants of a campaign was paid since then. With the
/// campaign, and the database that is lost.
async fn back_to_a_snapshot() -> (World, String, TestDatabase) {
    let mut world = World::start().await;
    let (replica, rest) = started(&world);
    let campaign = world.campaign(&rest, "1000000").await;
    rest.player("one", world.chain_id).await;
    rest.player("two", world.chain_id).await;
    win(&rest, "one", "first").await;
    until_paid(&rest, &campaign, 1).await;
    assert_eq!(replica.terminate().await, Some(0));
    let snapshot = world.database.copy().await;
    assert_eq!(sqlx::query(UNTOLD).execute(snapshot.pool()).await.unwrap().rows_affected(), 1);
    let (replica, rest) = started(&world);
    win(&rest, "one", "second").await;
    until_paid(&rest, &campaign, 2).await;
    replica.kill_9().await;

    world.database_url = snapshot.url().to_owned();
    let old = std::mem::replace(&mut world.database, snapshot);
    (world, campaign, old)
}

/// What the lane has on the chain tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_the_disk_is_seen_by_what_its_lanes_have_settled() {
    let (world, campaign, old) = back_to_a_snapshot().await;
    let (replica, rest) = started(&world);
    rest.until("/alerts", |alerts| {
        let alerts = alerts["items"].as_array().unwrap();
        alerts.iter().any(|alert| alert["code"] == "quarantine")
    })
    .await;
    let lifted = output(world.laurel(rest.port(), &["unpause", "--all"])).await;
    assert_eq!(lifted.status.code(), Some(1), "a quarantine is not lifted by hand");
    win(&rest, "one", "second").await;
    assert_eq!(recover(&world, rest.port()).await, Some(1), "only people know who had the key");
    win(&rest, "one", "third").await;
    until_paid(&rest, &campaign, 2).await;
    assert_eq!(
        world.balance(Rest::wallet("one")).await,
        U256::from(2 * REWARD),
        "paid once, and nothing more yet"
    );
    assert_eq!(alerts(&rest).await, ["payouts_stopped", "unknown_settlement"]);
    let_go_on(&world, rest.port()).await;
    until_paid(&rest, &campaign, 3).await;
    assert_eq!(alerts(&rest).await, Vec::<String>::new());
    assert_eq!(replica.terminate().await, Some(0));
    drop(old);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_went_to_somebody_else_meanwhile_halts_its_campaign() {
    let (world, _, old) = back_to_a_snapshot().await;
    // Nobody sees that it is older, for nobody reads the chain: the place of the second grant is given to another one.
    sqlx::query("INSERT INTO stops VALUES ('all', 'test', 'test', now())")
        .execute(world.database.pool())
        .await
        .unwrap();
    let port = free_port();
    let roles = ["api", "campaign", "grant-saga"].map(|role| {
        let own_port = if role == "api" { port } else { free_port() };
        let log = world.folder.path().join(format!("laurel-{role}.log"));
        Running::start(world.laurel(own_port, &[role]), &log)
    });
    win(&Rest::new(&format!("http://127.0.0.1:{port}")), "two", "third").await;
    let placed = async {
        let runs = "SELECT count(*) FROM runs";
        while sqlx::query_scalar::<_, i64>(runs).fetch_one(world.database.pool()).await.unwrap() < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, placed).await.expect("it gets a place");
    for role in roles {
        role.kill_9().await;
    }
    let (replica, rest) = started(&world);
    assert_eq!(recover(&world, rest.port()).await, Some(1), "another word is at the place");
    let raised = alerts(&rest).await;
    assert!(raised.contains(&"payment_not_recovered".to_owned()), "{raised:?}");
    let halted: Option<String> =
        sqlx::query_scalar("SELECT halted[1] FROM queues").fetch_one(world.database.pool()).await.unwrap();
    assert_eq!(halted.as_deref(), Some("payment_without_hold"));
    assert_eq!(world.balance(Rest::wallet("two")).await, U256::ZERO);
    assert_eq!(replica.terminate().await, Some(0));
    drop(old);
}

fn stolen_settlement(campaign: &str, first_seq: u64) -> Vec<u8> {
    let word = GrantWord::new(Rest::wallet("thief"), Amount::from(REWARD)).unwrap();
    let segment =
        SettlementSegment { campaign: campaign.parse().unwrap(), first_seq, words: vec![word.encode()] };
    let deadline = SystemClock.now().timestamp().cast_unsigned() + 600;
    Settlement { deadline, segments: vec![segment] }.calldata().into()
}

fn started(world: &World) -> (Running, Rest) {
    let port = free_port();
    (world.start_all(port), Rest::new(&format!("http://127.0.0.1:{port}")))
}

/// As operators do who know that what this database lacks was signed with our key by us.
pub(crate) async fn let_go_on(world: &World, port: u16) {
    let unknown: Vec<String> =
        sqlx::query_scalar("SELECT about FROM alerts WHERE code = 'unknown_settlement' ORDER BY about")
            .fetch_all(world.database.pool())
            .await
            .unwrap();
    for about in unknown {
        must(world, port, &["alerts", "acknowledge", "unknown_settlement", &about]).await;
    }
    must(world, port, &["unpause", "--chain", &world.chain_id.to_string()]).await;
}

async fn must(world: &World, port: u16, arguments: &[&str]) {
    let said = output(world.laurel(port, arguments)).await;
    assert!(said.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
}

/// Recovers; the exit code.
async fn recover(world: &World, port: u16) -> Option<i32> {
    let recovery = start_recovery(world, port);
    until_noted(world.database.pool()).await;
    world.let_deadlines_pass().await;
    timeout(PATIENCE, recovery.ended()).await.expect("it ends in time")
}

fn amount(grants: u64) -> String {
    (grants * REWARD).to_string()
}

async fn until_paid(rest: &Rest, campaign: &str, grants: u64) {
    let path = format!("/campaigns/{campaign}/statistics");
    rest.until(&path, |statistics| statistics["paid"] == *amount(grants)).await;
}

async fn win(rest: &Rest, player: &str, outcome: &str) {
    let outcome = json!({
        "outcome_id": outcome, "game": "quiz", "player_id": player, "score": 90, "occurred_at": SystemClock.now(),
    });
    rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": [outcome] }))).await;
}
