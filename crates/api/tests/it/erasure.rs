//! What is known of a player: all of it as a file, and none of it any more.

use laurel_api::Role;
use laurel_events::CampaignId;
use serde_json::{Value, json};

use crate::{
    reads::submitted,
    wallets::link_wallet,
    world::{World, definition, outcome},
};

/// A name that nothing else is like.
const NAME: &str = "zelda-the-one-and-only";

/// A player with a wallet, sign-ins, a grant that is under way, a decline, on a list, in exports and in answers that are kept.
async fn known(world: &World) -> String {
    world.player(NAME).await;
    world.player("p-2").await;
    link_wallet(world, NAME).await;
    let campaign = world.active_campaign(100).await;
    let listed = world.call(Role::Manager, &format!("POST /v1/campaigns/{campaign}/players"));
    listed.json(&json!({ "allow": [NAME] })).send().await.ok();
    world
        .post_outcomes(&[outcome("o-1", NAME, 12), outcome("o-2", NAME, 3), outcome("o-3", "p-2", 12)])
        .await;
    world.decide().await;
    submitted(world, &campaign).await;
    for path in [format!("/v1/grants?player_id={NAME}"), format!("/v1/grants?limit=5&player%5Fid={NAME}")] {
        let file =
            world.call(Role::Auditor, &format!("GET {path}")).header("accept", "text/csv").send().await;
        assert_eq!(file.status, 200);
    }
    campaign
}

async fn lines(world: &World) -> Vec<Value> {
    let answer = world.call(Role::Auditor, &format!("GET /v1/players/{NAME}/data")).send().await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some("application/x-ndjson")));
    String::from_utf8(answer.bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Where the database holds a text, as text or in bytes.
async fn holding(world: &World, text: &str) -> Vec<String> {
    let mut holding = Vec::new();
    for table in world.contents().await.into_keys() {
        let rows = format!(
            "SELECT count(*) FROM {table} t WHERE position($1 IN t::text) > 0 OR position($2 IN t::text) > 0"
        );
        let found =
            sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(rows)).bind(text).bind(hex::encode(text));
        if found.fetch_one(world.pool()).await.unwrap() > 0 {
            holding.push(table);
        }
    }
    holding
}

#[tokio::test]
async fn everything_that_is_known_is_a_file() {
    let world = World::new().await;
    let campaign = known(&world).await;
    let lines = lines(&world).await;
    let of = |what: &str| {
        lines.iter().filter(|line| line["what"] == what).map(|line| &line["data"]).collect::<Vec<_>>()
    };
    assert_eq!(of("player")[0]["player_id"], NAME);
    assert_eq!(of("wallet").len(), 1);
    assert_eq!((&of("list")[0]["campaign_id"], &of("list")[0]["list"]), (&json!(campaign), &json!("allow")));
    let outcomes: Vec<_> =
        of("event").into_iter().filter(|event| event["kind"] == "GameOutcomeRecorded").collect();
    assert_eq!(outcomes.len(), 2);
    assert_eq!(outcomes[0]["grants"], json!([format!("{campaign}-0")]));
    assert_eq!(outcomes[1]["declines"], json!([{ "campaign_id": campaign, "reason": "rule_not_met" }]));
    let kinds: Vec<&Value> = of("event").into_iter().map(|event| &event["kind"]).collect();
    assert!(
        kinds.contains(&&json!("WalletLinked")) && kinds.contains(&&json!("PlayerRegistered")),
        "{kinds:?}"
    );
    assert_eq!((of("grant").len(), &of("grant")[0]["player_id"]), (1, &json!(NAME)));
    // The two exports asked for this player.
    assert!(of("record").len() >= 2);
    let another =
        world.call(Role::Player, &format!("GET /v1/players/{NAME}/data")).by(Role::Player, "default", "p-2");
    another.send().await.is_problem(403, "wrong_role", "another player");
    let own =
        world.call(Role::Player, &format!("GET /v1/players/{NAME}/data")).by(Role::Player, "default", NAME);
    let own = own.send().await;
    assert_eq!(own.status, 200);
    let records: Vec<Value> = own
        .bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let records: Vec<&Value> = records.iter().filter(|line| line["what"] == "record").collect();
    assert!(!records.is_empty(), "who works here has read it");
    for record in records.iter().map(|record| &record["data"]) {
        assert_eq!((&record["by"], &record["address"]), (&json!(""), &Value::Null));
        assert_ne!(record["role"], "");
    }
}

#[tokio::test]
async fn whoever_is_called_like_a_player_keeps_what_is_theirs() {
    let world = World::new().await;
    known(&world).await;
    let manager = |line: &str| world.call(Role::Manager, line).by(Role::Manager, "default", NAME);
    let file = manager("GET /v1/grants").header("accept", "text/csv").send().await;
    assert_eq!(file.status, 200);
    let create = || manager("POST /v1/campaigns").header("idempotency-key", "one").json(&definition());
    let made = create().send().await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(manager(&format!("DELETE /v1/players/{NAME}")).send().await.status, 204);
    let again = create().send().await;
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (201, Some("true")));
    let exports = world.call(Role::Auditor, "GET /v1/exports").send().await.ok();
    let by: Vec<&Value> = exports["items"].as_array().unwrap().iter().map(|export| &export["by"]).collect();
    assert!(by.contains(&&json!(NAME)), "{by:?}");
}

#[tokio::test]
async fn once_erased_nothing_tells_who_it_was_and_everything_adds_up() {
    let world = World::new().await;
    let campaign = known(&world).await;
    let own =
        world.call(Role::Player, &format!("GET /v1/players/{NAME}/data")).by(Role::Player, "default", NAME);
    assert_eq!(own.send().await.status, 200);
    let tables = holding(&world, NAME).await;
    assert!(tables.len() >= 2 && tables.contains(&"players".to_owned()), "{tables:?}");
    let seen = async || {
        let id: CampaignId = campaign.parse().unwrap();
        let mut seen = Vec::new();
        for path in [
            format!("/v1/campaigns/{id}/statistics"),
            format!("/v1/campaigns/{id}/budget"),
            format!("/v1/campaigns/{id}/ledger"),
            "/v1/grants/totals".to_owned(),
            "/v1/transactions".to_owned(),
        ] {
            seen.push(world.call(Role::Auditor, &format!("GET {path}")).send().await.ok());
        }
        seen
    };
    let before = seen().await;
    let mut grants = world.call(Role::Auditor, "GET /v1/grants").send().await.ok();

    let line = format!("DELETE /v1/players/{NAME}");
    world.call(Role::Auditor, &line).send().await.is_problem(403, "wrong_role", "manager");
    world
        .call(Role::Manager, &line)
        .by(Role::Manager, "other", "eve")
        .refused(404, "not_found", "no such player")
        .await;
    assert_eq!(world.call(Role::Manager, &line).send().await.status, 204);

    assert_eq!(holding(&world, NAME).await, Vec::<String>::new());
    assert_eq!(seen().await, before);
    for grant in grants["items"].as_array_mut().unwrap() {
        if grant["player_id"] == NAME {
            grant["player_id"] = Value::Null;
        }
    }
    assert_eq!(world.call(Role::Auditor, "GET /v1/grants").send().await.ok(), grants);
    world.call(Role::Manager, &line).send().await.is_problem(404, "not_found", "no such player");
    world.call(Role::Auditor, &format!("GET /v1/players/{NAME}")).send().await.is_problem(
        404,
        "not_found",
        "",
    );
    let own = world.call(Role::Player, &format!("GET /v1/players/{NAME}")).by(Role::Player, "default", NAME);
    own.send().await.is_problem(404, "not_found", "no such player");
    let erased = world.call(Role::Auditor, "GET /v1/audit/log?action=erase_player").send().await.ok();
    assert_eq!((&erased["items"][0]["by"], &erased["items"][0]["proven"]), (&json!("caller"), &json!(true)));
    let told = world.call(Role::Auditor, "GET /v1/audit/journal?kind=PlayerErased").send().await.ok();
    assert_eq!(told["items"].as_array().unwrap().len(), 1);
    // Told of again, it is somebody else.
    let before = grants["items"][0]["player"].clone();
    assert_ne!(world.player(NAME).await["id"], before);
}
