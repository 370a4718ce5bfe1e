//! Several replicas and one bucket.

use axum::Router;
use chrono::TimeDelta;
use laurel_api::{Class, Role};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rstest::rstest;

use serde_json::json;

use super::limited;
use crate::world::{World, outcome};

/// How many replicas share a bucket.
const REPLICAS: usize = 3;

/// How often somebody asks, in each of the random stories.
const REQUESTS: usize = 300;

async fn is_admitted(world: &World, replica: &Router) -> bool {
    let answer = world.call(Role::Manager, "GET /v1/auth/me").send_to(replica.clone()).await;
    assert!([200, 429].contains(&answer.status.as_u16()), "{answer:?}");
    answer.status == 200
}

fn replicas(world: &World) -> Vec<Router> {
    (0..REPLICAS).map(|_| world.replica()).collect()
}

#[tokio::test]
async fn replicas_share_a_bucket() {
    let world = limited(Class::Read, 10, 60).await;
    let replicas = replicas(&world);
    let mut admitted = 0;
    for asked in 0..30 {
        admitted += usize::from(is_admitted(&world, &replicas[asked % REPLICAS]).await);
    }
    assert_eq!(admitted, 10);
    // What one waits for, any of them gives.
    world.clock.advance(TimeDelta::seconds(6));
    assert!(is_admitted(&world, &replicas[1]).await);
    assert!(!is_admitted(&world, &replicas[2]).await);
}

/// Whatever is asked of whichever replica and when: never more is admitted than the quota and what time has added, and whoever
/// asks for less is never refused for long.
#[rstest]
#[tokio::test]
async fn no_order_of_requests_is_admitted_more_than_there_is(
    #[values(1, 2, 3, 4)] seed: u64,
    #[values((5, 5), (40, 10), (200, 60))] rate: (u32, u32),
) {
    let world = limited(Class::Read, rate.0, rate.1).await;
    let replicas = replicas(&world);
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut admitted, mut passed_ms) = (0_u64, 0_i64);
    let bound = |passed_ms: i64| {
        u64::from(rate.0) + passed_ms.unsigned_abs() * u64::from(rate.0) / (u64::from(rate.1) * 1_000)
    };
    for _ in 0..REQUESTS {
        if rng.random_ratio(1, 8) {
            // From next to nothing to longer than leases last.
            let longest = [50, 2_000, 15_000][rng.random_range(0..3)];
            let ms = rng.random_range(1..longest);
            world.clock.advance(TimeDelta::milliseconds(ms));
            passed_ms += ms;
        }
        admitted += u64::from(is_admitted(&world, &replicas[rng.random_range(0..REPLICAS)]).await);
        assert!(admitted <= bound(passed_ms), "seed {seed}: {admitted} in {passed_ms} ms");
    }
    // All leases of the others are over, and all of the quota is there.
    world.clock.advance(TimeDelta::seconds(i64::from(rate.1) * 2 + 10));
    for _ in 0..rate.0 {
        assert!(is_admitted(&world, &replicas[0]).await, "seed {seed}");
    }
    assert!(!is_admitted(&world, &replicas[0]).await, "seed {seed}");
}

/// What one replica leased and did not spend comes back to the others, who look once a lease.
#[tokio::test]
async fn what_comes_back_is_seen_by_the_others() {
    let world = limited(Class::Outcomes, 100, 3_600).await;
    world.player("p-1").await;
    let (one, other) = (&world.replica(), &world.router);
    let leased = || world.state.limits.metrics.leases_total.with_label_values(&["leased"]).get();
    let report = async |replica: &Router, from: usize, count: usize| {
        let outcomes: Vec<_> =
            (from..from + count).map(|number| outcome(&format!("o-{number}"), "p-1", 12)).collect();
        let body = json!({ "outcomes": outcomes });
        let call = world.call(Role::GameServer, "POST /v1/outcomes").json(&body);
        call.send_to(replica.clone()).await.status.as_u16()
    };
    assert_eq!(report(one, 0, 1).await, 202);
    assert_eq!(report(other, 1, 70).await, 202);
    // It leases all that is left, which is not enough.
    assert_eq!(report(one, 71, 50).await, 429);
    assert_eq!(report(other, 71, 1).await, 429);
    let before = leased();
    for _ in 0..10 {
        assert_eq!(report(other, 71, 1).await, 429);
    }
    assert_eq!(leased(), before, "nothing can have come back yet");
    world.clock.advance(TimeDelta::seconds(10));
    assert_eq!(report(one, 71, 1).await, 202);
    assert_eq!(report(other, 72, 10).await, 202);
}

#[tokio::test]
async fn a_replica_goes_on_alone_while_the_database_is_away() {
    let world = limited(Class::Read, 4, 60).await;
    assert!(is_admitted(&world, &world.router).await);
    world.state.limits.pool.close().await;
    // It goes on from what it knew.
    for _ in 0..3 {
        assert!(is_admitted(&world, &world.router).await);
    }
    assert!(!is_admitted(&world, &world.router).await);
    world.clock.advance(TimeDelta::seconds(15));
    assert!(is_admitted(&world, &world.router).await);
    assert!(!is_admitted(&world, &world.router).await);
}

/// A caller costs few statements, not one for each request.
#[tokio::test]
async fn what_is_leased_is_spent_in_memory() {
    let world = limited(Class::Read, 1_000, 60).await;
    for _ in 0..100 {
        assert!(is_admitted(&world, &world.router).await);
    }
    let leases = &world.state.limits.metrics.leases_total;
    assert_eq!(leases.with_label_values(&["leased"]).get(), 2);
}
