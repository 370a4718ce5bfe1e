//! Outcomes while the stages are far behind.

use laurel_api::Role;
use serde_json::json;

use crate::world::{Setup, World, outcome};

#[tokio::test]
async fn no_more_is_taken_than_can_be_decided() {
    let world = World::of(Setup { lag_chunks_max: 2, ..Setup::default() }).await;
    world.player("p-1").await;
    // What is registered is journaled as well.
    world.decide().await;
    let report = |id: &str| {
        let body = json!({ "outcomes": [outcome(id, "p-1", 12)] });
        world.call(Role::GameServer, "POST /v1/outcomes").json(&body)
    };
    for id in ["o-1", "o-2", "o-3"] {
        world.state.intake().look().await.unwrap();
        report(id).send().await.accepted();
    }
    world.state.intake().look().await.unwrap();
    let refused = report("o-4").refused(429, "intake_behind", "send it again later").await;
    assert_eq!(refused.header("retry-after"), Some("5"));
    // Everything else goes on.
    world.player("p-2").await;
    world.decide().await;
    world.state.intake().look().await.unwrap();
    report("o-4").send().await.accepted();
}
