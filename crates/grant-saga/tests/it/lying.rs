//! Endpoints of which one says that recipients refuse who do not: alone it has no place burned.

use chrono::TimeDelta;
use laurel_grant_saga::LaneDriver;

use crate::{
    batching::submitted,
    compensation::{RESTED, queue_with_refused},
    faulty_node::Says,
    world::{GIVE_UP_REFUSED, World},
};

/// Has the lane try for some more than as long as a refused grant is tried.
async fn try_to_the_end(world: &World, driver: &mut LaneDriver) {
    world.clock.advance(TimeDelta::from_std(GIVE_UP_REFUSED).unwrap());
    for _ in 0..6 {
        world.clock.advance(RESTED);
        driver.step().await.unwrap();
    }
}

async fn state_of_the_grant(world: &World) -> Option<String> {
    sqlx::query_scalar("SELECT state FROM exceptions").fetch_optional(world.pool()).await.unwrap()
}

#[tokio::test]
async fn what_one_endpoint_says_is_refused_is_not_burned_and_paid_by_the_word_of_the_others() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 1).await;
    let (endpoints, [liar, ..]) = world.endpoints().await;
    liar.set_says(Says::Refused);
    let mut driver = world.driver_on(endpoints, 1, "a").await;
    driver.step().await.unwrap();
    assert_eq!(state_of_the_grant(&world).await.as_deref(), Some("held"), "it is asked first, and believed");
    try_to_the_end(&world, &mut driver).await;
    let signed = submitted(&world).await;
    assert!(signed.iter().all(|batch| batch.cancels.is_none()), "{signed:?}");
    let segments: Vec<_> = signed.iter().flat_map(|batch| &batch.segments).collect();
    assert_eq!(
        segments.iter().map(|segment| segment.first_seq).collect::<Vec<_>>(),
        [0],
        "somebody else is asked"
    );
}

/// Here it is true, and too few say so.
#[tokio::test]
async fn what_is_refused_is_burned_when_a_quorum_says_so() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    queue_with_refused(&mut world, campaign, &[true]).await;
    let (endpoints, nodes) = world.endpoints().await;
    let mut driver = world.driver_on(endpoints.clone(), 1, "a").await;
    driver.step().await.unwrap();
    nodes[1..].iter().for_each(|node| node.set_says(Says::Nothing));
    try_to_the_end(&world, &mut driver).await;
    assert_eq!(submitted(&world).await, []);
    assert_eq!(state_of_the_grant(&world).await.as_deref(), Some("held"));
    nodes[2].set_says(Says::True);
    world.clock.advance(RESTED);
    endpoints.tend().await;
    driver.step().await.unwrap();
    let signed = submitted(&world).await;
    assert_eq!(
        signed.iter().filter_map(|batch| batch.cancels).map(|place| place.seq).collect::<Vec<_>>(),
        [0]
    );
}
