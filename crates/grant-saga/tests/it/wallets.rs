//! Grants whose players have no wallet yet: they wait, until it comes or until it is too late.

use chrono::TimeDelta;
use laurel_events::{BudgetReleased, Event, EventKind, GrantId, PlayerId, VoidProof};
use laurel_ledger::{Context, append};

use crate::world::{World, amount_of, drain};

const OUTCOMES: &[EventKind] =
    &[EventKind::TokenGrantStarted, EventKind::TokenGrantAwaitingWallet, EventKind::TokenGrantFailed];

/// What became of each grant, in the order of the numbers.
async fn told(world: &World) -> Vec<(u64, &'static str)> {
    let mut told: Vec<(u64, &'static str)> = world
        .events(OUTCOMES)
        .await
        .into_iter()
        .map(|envelope| match envelope.event {
            Event::TokenGrantStarted(started) => (started.grant.number, "started"),
            Event::TokenGrantAwaitingWallet(awaiting) => (awaiting.grant.number, "awaiting"),
            Event::TokenGrantFailed(failed) => {
                assert_eq!(failed.proof, VoidProof::NeverQueued);
                (failed.grant.number, "failed")
            }
            _ => panic!("not asked for"),
        })
        .collect();
    told.sort_unstable();
    told
}

async fn state(world: &World, grant: GrantId) -> String {
    sqlx::query_scalar("SELECT state FROM exceptions WHERE campaign = $1 AND number = $2")
        .bind(grant.campaign.number())
        .bind(grant.number.cast_signed())
        .fetch_one(world.pool())
        .await
        .unwrap()
}

async fn timers(world: &World) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM timers").fetch_one(world.pool()).await.unwrap()
}

#[tokio::test]
async fn a_wallet_in_time_queues_everything_that_waited() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let player = world.player().await;
    let grants = world.request(campaign, &[player, player]).await;
    drain(&mut world.grants).await;
    let numbers: Vec<u64> = grants.iter().map(|grant| grant.number).collect();
    assert_eq!(told(&world).await, [(numbers[0], "awaiting"), (numbers[1], "awaiting")]);
    assert_eq!(timers(&world).await, 2);
    world.link(player).await;
    drain(&mut world.grants).await;
    assert_eq!(timers(&world).await, 0, "nothing is left to fire");
    world.clock.advance(TimeDelta::hours(2));
    world.fire_timers().await;
    let told = told(&world).await;
    assert_eq!(told.iter().filter(|(_, what)| *what == "started").count(), 2);
    assert_eq!(told.iter().filter(|(_, what)| *what == "failed").count(), 0);
}

#[tokio::test]
async fn a_deadline_that_passes_fails_the_grant_once_and_a_late_wallet_changes_nothing() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let player = world.player().await;
    let grant = world.request(campaign, &[player]).await[0];
    drain(&mut world.grants).await;
    world.clock.advance(TimeDelta::minutes(59));
    world.fire_timers().await;
    assert_eq!(state(&world, grant).await, "awaiting_wallet");
    world.clock.advance(TimeDelta::minutes(1));
    world.fire_timers().await;
    world.fire_timers().await;
    world.link(player).await;
    drain(&mut world.grants).await;
    assert_eq!(told(&world).await, [(grant.number, "awaiting"), (grant.number, "failed")]);
    assert_eq!(state(&world, grant).await, "failed");
    let released = BudgetReleased { grant, amount: amount_of(grant) };
    let mut conn = world.pool().acquire().await.unwrap();
    append(&mut conn, &Context::at(world.now()), &[released.into()]).await.unwrap();
    drain(&mut world.grants).await;
    assert_eq!(state(&world, grant).await, "compensated");
}

/// The deadline has passed and is in the journal already when the wallet is linked: whichever is handled first wins, the
/// other one is ignored, and in no case both or neither.
#[tokio::test]
async fn wallet_and_deadline_race() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let mut ends = Vec::new();
    for _ in 0..12 {
        let player = world.player().await;
        let grant = world.request(campaign, &[player]).await[0];
        drain(&mut world.grants).await;
        world.clock.advance(TimeDelta::hours(1));
        let wakes = laurel_bus::Wakes::new().0;
        laurel_bus::fire_timers(world.pool(), &wakes, world.now()).await.unwrap();
        world.clock.advance(TimeDelta::seconds(1));
        world.link(player).await;
        drain(&mut world.grants).await;
        let told = told(&world).await;
        let last: Vec<&str> = told
            .iter()
            .filter(|(number, what)| *number == grant.number && *what != "awaiting")
            .map(|(_, what)| *what)
            .collect();
        assert_eq!(last.len(), 1, "exactly one of both: {last:?}");
        ends.push(last[0]);
    }
    // Players and campaigns are spread over partitions, which are handled in turn: over a dozen, both come first once.
    assert!(ends.contains(&"failed"), "{ends:?}");
}

/// The wallets were linked ten minutes before the deadline, and nobody handled that until after it.
#[tokio::test]
async fn a_wallet_linked_in_time_counts_although_nobody_saw_it_in_time() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let mut players = Vec::new();
    for _ in 0..16 {
        players.push(world.player().await);
    }
    world.request(campaign, &players).await;
    drain(&mut world.grants).await;
    world.clock.advance(TimeDelta::minutes(50));
    for player in &players {
        world.link(*player).await;
    }
    world.clock.advance(TimeDelta::minutes(15));
    world.fire_timers().await;
    let told = told(&world).await;
    let count = |what: &str| told.iter().filter(|(_, told)| *told == what).count();
    assert_eq!((count("started"), count("failed")), (players.len(), 0));
}

/// Two links are handled after both were made: the grant goes to the wallet that the player has.
#[tokio::test]
async fn a_waiting_grant_goes_to_the_wallet_that_the_player_has_now() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let player = world.player().await;
    world.request(campaign, &[player]).await;
    drain(&mut world.grants).await;
    world.link(player).await;
    let new = alloy::primitives::Address::repeat_byte(0x77);
    sqlx::query("UPDATE wallets SET address = $2, version = 2 WHERE player = $1")
        .bind(player.uuid())
        .bind(new.as_slice())
        .execute(world.pool())
        .await
        .unwrap();
    drain(&mut world.grants).await;
    let started = world.events(&[EventKind::TokenGrantStarted]).await;
    let [Event::TokenGrantStarted(started)] =
        started.iter().map(|envelope| &envelope.event).collect::<Vec<_>>()[..]
    else {
        panic!("one grant started: {started:?}")
    };
    assert_eq!(started.word[..20], new[..]);
}

/// The link is not committed when the grant looks for a wallet, and its event is handled before the grant is committed:
/// without the row that both of them lock, the grant would wait for ever.
#[tokio::test]
async fn a_link_under_way_is_not_missed() {
    let mut world = World::new().await;
    let player = world.player().await;
    link_under_way(&mut world, player).await;
}

/// The same where an earlier grant has made that row.
#[tokio::test]
async fn a_link_under_way_is_not_missed_by_a_second_grant() {
    let mut world = World::new().await;
    let campaign = world.campaign(8).await;
    let player = world.player().await;
    world.request(campaign, &[player]).await;
    drain(&mut world.grants).await;
    link_under_way(&mut world, player).await;
}

async fn link_under_way(world: &mut World, player: PlayerId) {
    let campaign = world.campaign(7).await;
    let mut link = world.pool().begin().await.unwrap();
    world.link_in(&mut link, player).await;
    let grant = world.request(campaign, &[player]).await[0];
    let (handled, ()) = tokio::join!(world.grants.round(), async {
        waits_for_a_lock(world.database.pool()).await;
        link.commit().await.unwrap();
    });
    handled.unwrap();
    drain(&mut world.grants).await;
    let started: Vec<GrantId> = world
        .events(&[EventKind::TokenGrantStarted])
        .await
        .into_iter()
        .filter_map(|envelope| match envelope.event {
            Event::TokenGrantStarted(started) => Some(started.grant),
            _ => None,
        })
        .collect();
    assert!(started.contains(&grant), "{started:?}");
}

async fn waits_for_a_lock(pool: &sqlx::PgPool) {
    let waiting = async {
        loop {
            let waits: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM pg_stat_activity
                                WHERE datname = current_database() AND wait_event_type = 'Lock')",
            )
            .fetch_one(pool)
            .await
            .unwrap();
            if waits {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), waiting)
        .await
        .expect("somebody waits for a lock");
}
