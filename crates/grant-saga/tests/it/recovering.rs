//! What a recovery believes of what nodes say.

use alloy::primitives::{B256, U256};
use chrono::{DateTime, TimeDelta, Utc};
use laurel_chain::{BlockRef, ChainError, ChainNode, VaultLog};
use laurel_events::{Amount, time_ordered};
use laurel_grant_saga::{RecoverError, Recovery, Waiting};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::json;

use crate::{
    compensation::conclude,
    world::{World, drain},
};

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

/// The watcher stops for none in quarantine, and sees each once: of whoever settles then nobody would be told before it is booked.
#[tokio::test]
async fn what_somebody_else_settles_at_the_end_of_a_quarantine_stops_its_chain() {
    let world = World::new().await;
    let head = world.node.block(BlockRef::Latest).await.unwrap().unwrap();
    let waits = async || {
        let recovery = recovery(&world, head.hash).await;
        let passed = "INSERT INTO quarantine_chains (chain_id, until) SELECT id, 0 FROM chains";
        sqlx::query(passed).execute(world.pool()).await.unwrap();
        assert_eq!(recovery.wait_for_chains(world.now()).await.unwrap(), []);
    };
    waits().await;
    let seen = |above: i64, log: VaultLog| {
        sqlx::query(
            r#"
            INSERT INTO sightings (chain_id, block_number, tx_index, block_hash, tx, vault, empty, succeeded, gas_used,
                                   effective_gas_price, facts)
            SELECT id, final_number + $1, 0, sha256('b'), sha256('t'), $2, false, true, 1, 1, $3 FROM chains
            "#,
        )
        .bind(above)
        .bind(world.vault.id.0)
        .bind(json!([{ "index": 0, "log": log }]))
    };
    let settled = VaultLog::Settled {
        campaign: 7,
        first_seq: 0,
        count: 1,
        total: Amount::from(1_u64),
        words_hash: B256::ZERO,
        paid: vec![U256::from(1)],
    };
    let cancelled = VaultLog::Cancelled { campaign: 7, word: 0, mask: U256::from(2) };
    seen(0, settled.clone()).execute(world.pool()).await.unwrap();
    seen(1, cancelled).execute(world.pool()).await.unwrap();
    let stops = async || -> Vec<String> {
        let stops = sqlx::query_scalar("SELECT about || ' ' || reason FROM stops ORDER BY about");
        stops.fetch_all(world.pool()).await.unwrap()
    };
    conclude(&world).await;
    assert_eq!(stops().await, [""; 0], "what was final was compared, and a cancellation pays nobody");
    waits().await;
    seen(2, settled).execute(world.pool()).await.unwrap();
    // It is final when the quarantine ends.
    sqlx::query("UPDATE chains SET final_number = final_number + 9").execute(world.pool()).await.unwrap();
    conclude(&world).await;
    let chain = format!("chain:{}", world.deployed.chain_id);
    assert_eq!(stops().await, [format!("{chain} unknown_settlement")]);
    let told: Vec<String> = sqlx::query_scalar("SELECT about FROM alerts WHERE code = 'unknown_settlement'")
        .fetch_all(world.pool())
        .await
        .unwrap();
    assert!(told.len() == 1 && told[0].starts_with(&format!("{chain}/tx:0x")), "{told:?}");
}

/// Whoever linked a wallet in the time that is lost has to see it: all who wait have three days more, however many they are.
#[tokio::test]
async fn whoever_waits_for_a_wallet_has_some_days_more() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let mut players = Vec::new();
    for _ in 0..3 {
        players.push(world.player().await);
    }
    world.request(campaign, &players).await;
    drain(&mut world.grants).await;
    let more =
        "INSERT INTO exceptions (campaign, number, state, player, chain_id, amount, wallet_until, updated_at)
                SELECT campaign, 1000 + n, state, player, chain_id, amount, wallet_until, updated_at
                FROM exceptions, generate_series(1, 20000) n WHERE number = 0";
    sqlx::query(more).execute(world.pool()).await.unwrap();
    let more = "INSERT INTO timers (kind, subject, due_at, data)
                SELECT kind, subject || n, due_at, data FROM timers, generate_series(1, 7000) n";
    sqlx::query(more).execute(world.pool()).await.unwrap();
    world.clock.advance(TimeDelta::days(30));
    Recovery::new(world.pool().clone(), Vec::new()).put_off_deadlines(world.now()).await.unwrap();
    let soonest: (DateTime<Utc>, DateTime<Utc>, i64, i64) = sqlx::query_as(
        "SELECT min(wallet_until), (SELECT min(due_at) FROM timers), count(*), (SELECT count(*) FROM timers) FROM exceptions",
    )
    .fetch_one(world.pool())
    .await
    .unwrap();
    let until = world.now() + TimeDelta::days(3);
    assert_eq!(soonest, (until, until, 20_003, 21_003));
}
