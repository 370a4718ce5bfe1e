//! Players are registered once.

use laurel_api::Role;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_player_is_registered_once() {
    let world = World::new().await;
    let first = world.player("p-1").await;
    let before = world.contents().await;
    let again = world.call(Role::GameServer, "PUT /v1/players/p-1").send().await.ok();
    assert_eq!(again, first);
    assert_eq!(world.contents().await, before);
    let found = world.call(Role::Auditor, "GET /v1/players/p-1").send().await.ok();
    insta::assert_json_snapshot!("player", found, { ".id" => "[id]" });
    assert_eq!(found["id"], first["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_register_one() {
    let world = World::new().await;
    let put = || world.call(Role::GameServer, "PUT /v1/players/p-1").send();
    let answers = futures::future::join_all((0..8).map(|_| put())).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 7);
    assert_eq!(world.rows("players").await, 1);
}

#[tokio::test]
async fn an_id_of_any_script_is_kept_as_it_is() {
    let world = World::new().await;
    let put = world.call(Role::GameServer, "PUT /v1/players/Zo%C3%AB%2F%E7%8E%A9").send().await.created();
    assert_eq!(put["player_id"], "Zoë/玩");
}

#[tokio::test]
async fn the_same_id_is_another_player_in_another_organisation() {
    let world = World::new().await;
    let ours = world.player("p-1").await;
    let theirs = world.anonymous("PUT /v1/players/p-1").by(Role::GameServer, "other", "caller");
    assert_ne!(theirs.send().await.created()["id"], ours["id"]);
}

#[tokio::test]
async fn a_new_player_has_nothing() {
    let world = World::new().await;
    world.player("p-1").await;
    for list in ["grants", "tokens"] {
        let found = world.call(Role::GameServer, &format!("GET /v1/players/p-1/{list}")).send().await.ok();
        assert_eq!(found, json!({ "items": [], "next": null }));
    }
}
