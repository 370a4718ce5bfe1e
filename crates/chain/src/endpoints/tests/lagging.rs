//! Heads that are behind.

use super::*;

/// Every endpoint's head, and its time.
async fn heads(world: &World, heads: &[(u64, u64)]) {
    for (fake, (head, time)) in world.fakes.iter().zip(heads) {
        fake.change(|script| (script.head, script.time) = (*head, *time));
    }
    world.tend().await;
}

#[tokio::test]
async fn questions_leave_an_endpoint_that_lags_and_do_not_flap() {
    let world = World::new(3, 2).await;
    for few in [(99, 1_000), (97, 990), (100, 1_000), (97, 900)] {
        heads(&world, &[few, (100, 1_000), (100, 1_000)]).await;
        assert_eq!(world.ask().await.1, [0], "three blocks are no lag, however old: {few:?}");
    }
    heads(&world, &[(60, 990), (100, 1_000), (100, 1_000)]).await;
    assert_eq!(world.ask().await.1, [0], "nor are forty within ten seconds");
    heads(&world, &[(96, 989), (100, 1_000), (100, 1_000)]).await;
    assert_eq!(world.ask().await.1, [1]);
    let status = world.all.status();
    assert_eq!((status[0].lag_blocks, status[0].to_string().as_str()), (4, "a is 4 blocks behind"));
    assert_eq!(world.states(), ["closed"; 3]);
    heads(&world, &[(101, 1_010), (100, 1_000), (100, 1_000)]).await;
    assert_eq!(world.ask().await.1, [1], "who was chosen then stays");
}

#[tokio::test]
async fn one_endpoint_alone_cannot_make_the_others_look_late() {
    let world = World::new(3, 2).await;
    heads(&world, &[(100, 1_000), (100, 1_000), (9_000_000, 9_000_000)]).await;
    assert!(world.all.status().iter().all(|endpoint| !endpoint.lagging));
    assert_eq!(world.ask().await.1, [0]);
}

#[tokio::test]
async fn who_lags_is_better_than_nobody() {
    let world = World::new(2, 1).await;
    heads(&world, &[(100, 1_000), (50, 500)]).await;
    world.fault(0, Fault::Hangs);
    assert_eq!(world.ask().await.1, [0, 1]);
    assert_eq!(world.ask().await.1, [1]);
}
