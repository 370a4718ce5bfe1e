//! The audit log: what people who work here did, what they read of players, and that nobody can change it unseen.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;
use futures::future::join_all;
use laurel_api::{MATRIX, Role, Who, openapi};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    call::Call,
    world::{World, definition, outcome},
};

/// The records that a filter of the route finds.
async fn log(world: &World, query: &str) -> Vec<Value> {
    let found = world.call(Role::Auditor, &format!("GET /v1/audit/log?{query}")).send().await.ok();
    found["items"].as_array().unwrap().clone()
}

fn manager<'w>(world: &'w World, line: &str) -> Call<'w> {
    world.call(Role::Manager, line)
}

#[tokio::test]
async fn a_change_is_kept_with_who_what_before_and_after() {
    let world = World::new().await;
    let campaign = world.funded_campaign(100).await;
    let line = format!("POST /v1/campaigns/{campaign}/activate");
    manager(&world, &line)
        .by(Role::Manager, "default", "ada")
        .header("x-request-id", "r-1")
        .send()
        .await
        .ok();
    let records = log(&world, &format!("action=activate_campaign&campaign_id={campaign}")).await;
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!((&record["by"], &record["role"]), (&json!("ada"), &json!("manager")));
    assert_eq!(
        (&record["about"], &record["request_id"]),
        (&json!(format!("campaign:{campaign}")), &json!("r-1"))
    );
    assert_eq!((&record["before"]["state"], &record["after"]["state"]), (&json!("draft"), &json!("active")));
    assert_eq!((&record["proven"], &record["is_read"]), (&json!(true), &json!(false)));
    // The same event is in the journal, which has the hash and no name.
    let path = format!("GET /v1/audit/journal?kind=StaffActed&campaign_id={campaign}");
    let events = world.call(Role::Auditor, &path).send().await.ok();
    let event =
        events["items"].as_array().unwrap().iter().find(|event| event["id"] == record["event_id"]).unwrap();
    assert_eq!((&event["data"]["id"], &event["request_id"]), (&record["id"], &json!("r-1")));
    assert!(!event.to_string().contains("ada"), "{event}");
    let line = "GET /v1/audit/log?is_read=false";
    let theirs = world.call(Role::Auditor, line).by(Role::Auditor, "other", "eve").send().await.ok();
    assert_eq!(theirs["items"], json!([]));
}

#[tokio::test]
async fn a_refused_change_and_one_that_is_sent_again_leave_nothing() {
    let world = World::new().await;
    let campaign = world.campaign().await;
    manager(&world, &format!("POST /v1/campaigns/{campaign}/activate"))
        .send()
        .await
        .is_problem(409, "unfunded", "");
    assert_eq!(log(&world, "action=activate_campaign").await, Vec::<Value>::new());
    let make = || manager(&world, "POST /v1/campaigns").header("idempotency-key", "once").json(&definition());
    let before = log(&world, "action=post_campaign").await.len();
    let (one, two) = (make().send().await.created(), make().send().await.created());
    assert_eq!(one, two);
    assert_eq!(log(&world, "action=post_campaign").await.len(), before + 1);
}

/// Does everything once that people who work here can change.
async fn everything(world: &World) {
    let ok = async |line: String, body: Value| {
        let (method, _) = line.split_once(' ').unwrap();
        let role = if line.contains("/dead-letters/") { Role::Operator } else { Role::Manager };
        let call = world.call(role, &line);
        let call = if body.is_null() && method != "PATCH" { call } else { call.json(&body) };
        let answer = call.send().await;
        assert!(answer.status.is_success(), "{line}: {}", String::from_utf8_lossy(&answer.bytes));
    };
    world.player("p-1").await;
    let draft = world.campaign().await;
    ok(format!("PATCH /v1/campaigns/{draft}"), json!({ "name": "Another" })).await;
    ok(format!("POST /v1/campaigns/{draft}/clone"), json!({})).await;
    ok(format!("POST /v1/campaigns/{draft}/fund"), json!({ "cap": "100" })).await;
    ok(format!("POST /v1/campaigns/{draft}/players"), json!({ "allow": ["p-1"] })).await;
    let gone = world.campaign().await;
    ok(format!("DELETE /v1/campaigns/{gone}"), Value::Null).await;
    world.fund(&draft, 100).await;
    ok(format!("PATCH /v1/campaigns/{draft}"), json!({ "starts_at": "2100-01-01T00:00:00Z" })).await;
    for action in ["schedule", "unschedule"] {
        ok(format!("POST /v1/campaigns/{draft}/{action}"), Value::Null).await;
    }
    ok(format!("PATCH /v1/campaigns/{draft}"), json!({ "starts_at": null })).await;
    for action in ["activate", "pause", "resume", "end", "close"] {
        ok(format!("POST /v1/campaigns/{draft}/{action}"), Value::Null).await;
    }
    let made =
        world.call(Role::Manager, "POST /v1/api-keys").json(&json!({ "subject": "arena" })).send().await;
    let key = made.created()["id"].as_str().unwrap().to_owned();
    ok(format!("DELETE /v1/api-keys/{key}"), Value::Null).await;
    for id in [1, 2] {
        let letter = sqlx::query(
            "INSERT INTO dead_letters (stage, part, position, idx, kind, subject, state, attempts, error, created_at, updated_at)
             SELECT 'campaign', 0, $1, 0, 'GameOutcomeRecorded', 'player:x', 'dead', 1, 'x', now(), now()",
        );
        letter.bind(id).execute(world.pool()).await.unwrap();
    }
    ok("DELETE /v1/players/p-1".to_owned(), Value::Null).await;
    ok("POST /v1/dead-letters/1/redrive".to_owned(), Value::Null).await;
    ok("POST /v1/dead-letters/redrive".to_owned(), Value::Null).await;
}

#[tokio::test]
async fn whatever_people_who_work_here_can_change_is_in_the_log() {
    /// They change nothing that is kept, or only whose tokens are good.
    const NOT_KEPT: [&str; 2] = ["try_rule", "replay_rule"];
    let world = World::new().await;
    everything(&world).await;
    crate::sign_in::totp::everything(&world).await;
    let staff = [Role::Manager, Role::Auditor, Role::Operator];
    let mut wanted: BTreeSet<&str> = MATRIX
        .iter()
        .filter(|right| right.method != "GET" && right.who != Who::Everybody)
        .filter(|right| right.who.roles().any(|role| staff.contains(&role)))
        .map(|right| right.operation)
        .filter(|operation| !NOT_KEPT.contains(operation))
        .collect();
    wanted.insert("sign_in");
    let mut logged = BTreeMap::new();
    let mut page = "limit=500&is_read=false".to_owned();
    loop {
        let found = world.call(Role::Auditor, &format!("GET /v1/audit/log?{page}")).send().await.ok();
        for record in found["items"].as_array().unwrap() {
            assert_eq!(record["proven"], true, "{record}");
            logged.insert(record["action"].as_str().unwrap().to_owned(), record.clone());
        }
        let Some(next) = found["next"].as_str() else { break };
        page = format!("limit=500&is_read=false&cursor={next}");
    }
    let actions: BTreeSet<&str> = logged.keys().map(String::as_str).collect();
    assert_eq!(actions, wanted);
}

/// The names of all fields that a schema has, and those that it refers to.
fn fields(schemas: &Value, schema: &Value, seen: &mut BTreeSet<String>, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(name) =
                object.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next())
                && seen.insert(name.to_owned())
            {
                fields(schemas, &schemas[name], seen, found);
            }
            if let Some(properties) = object.get("properties").and_then(Value::as_object) {
                found.extend(properties.keys().cloned());
            }
            object.values().for_each(|value| fields(schemas, value, seen, found));
        }
        Value::Array(items) => items.iter().for_each(|value| fields(schemas, value, seen, found)),
        _ => {}
    }
}

#[test]
fn the_table_knows_which_routes_answer_what_is_known_of_players() {
    // Everything is in the journal, whose events the document calls objects.
    const KNOWN: [&str; 3] = ["list_journal", "get_event", "get_dead_letter"];
    let document = serde_json::to_value(openapi()).unwrap();
    for right in MATRIX.iter().filter(|right| right.who.roles().any(|role| role != Role::GameServer)) {
        let operation = &document["paths"][right.path][right.method.to_lowercase()];
        assert_eq!(operation["operationId"], right.operation);
        let mut found = BTreeSet::new();
        fields(
            &document["components"]["schemas"],
            &operation["responses"]["200"],
            &mut BTreeSet::new(),
            &mut found,
        );
        let of_players = ["player_id", "wallet", "wallets"].iter().any(|name| found.contains(*name));
        let about_one = right.method == "GET" && right.path.contains("{player_id}");
        let reads = right.who.roles().any(|role| !matches!(role, Role::Player | Role::GameServer));
        let wanted = (of_players && reads) || about_one || KNOWN.contains(&right.operation);
        assert_eq!(right.is_personal, wanted, "{}", right.operation);
    }
}

#[tokio::test]
async fn what_is_read_of_players_is_kept_before_it_is_answered() {
    let world = World::new().await;
    world.player("p-1").await;
    let player = world.player("p-2").await;
    let campaign = world.active_campaign(100).await;
    world.post_outcomes(&[outcome("o-1", "p-2", 12)]).await;
    world.decide().await;
    let id = world.call(Role::Auditor, "GET /v1/grants").send().await.ok()["items"][0]["player"].clone();
    sqlx::query("INSERT INTO wallet_links VALUES ($1, $2, 31337, 1, now())")
        .bind([0x22_u8; 20].as_slice())
        .bind(id.as_str().unwrap().parse::<Uuid>().unwrap())
        .execute(world.pool())
        .await
        .unwrap();
    let events =
        world.call(Role::Auditor, "GET /v1/audit/journal?kind=GameOutcomeRecorded").send().await.ok();
    let recorded = events["items"][0]["id"].clone();
    let reads = [
        ("GET /v1/players/p-2".to_owned(), format!("player:{}", id.as_str().unwrap())),
        ("GET /v1/players/p-2/grants".to_owned(), format!("player:{}", id.as_str().unwrap())),
        (format!("GET /v1/grants/{campaign}-0"), format!("player:{}", id.as_str().unwrap())),
        ("GET /v1/grants?player_id=p-2".to_owned(), format!("player:{}", id.as_str().unwrap())),
        (format!("GET /v1/campaigns/{campaign}/grants"), format!("campaign:{campaign}")),
        (
            format!("GET /v1/grants?campaign_id={campaign}&wallet=0x{}", "11".repeat(20)),
            format!("campaign:{campaign}"),
        ),
        (
            "GET /v1/grants?wallet=0x2222222222222222222222222222222222222222".to_owned(),
            format!("player:{}", id.as_str().unwrap()),
        ),
        ("GET /v1/audit/journal".to_owned(), "org:1".to_owned()),
        (
            format!("GET /v1/audit/journal/{}", recorded.as_str().unwrap()),
            format!("player:{}", id.as_str().unwrap()),
        ),
    ];
    // Nobody says of whom a read is by parameters that the route does not have.
    let other = format!("GET /v1/audit/journal/{}?player_id=p-1", recorded.as_str().unwrap());
    world.call(Role::Auditor, &other).refused(400, "invalid_query", "no parameter").await;
    for (at, (line, about)) in reads.into_iter().enumerate() {
        let request = format!("r-{at}");
        let answer = world.call(Role::Auditor, &line).header("x-request-id", &request).send().await;
        assert_eq!(answer.status, 200, "{line}");
        let records = log(&world, "is_read=true&limit=500").await;
        let record = records.iter().find(|record| record["request_id"] == request.as_str());
        let record = record.unwrap_or_else(|| panic!("{line} is not in the log"));
        assert_eq!((&record["about"], &record["proven"]), (&json!(about), &json!(true)), "{line}");
        assert!(
            !record.to_string().contains("p-2")
                && !record.to_string().contains("1111")
                && !record.to_string().contains("2222"),
            "{record}"
        );
    }
    let before = log(&world, "is_read=true&limit=500").await.len();
    // What a player reads of themselves, or a game server that knows them anyway, nobody is told.
    world.call(Role::GameServer, "GET /v1/players/p-2").send().await.ok();
    world.call(Role::Player, "GET /v1/players/p-2").by(Role::Player, "default", "p-2").send().await.ok();
    world.call(Role::Auditor, "GET /v1/players/nobody").send().await.is_problem(404, "not_found", "");
    assert_eq!(log(&world, "is_read=true&limit=500").await.len(), before);
    let of_one = log(&world, "player_id=p-2").await;
    assert_eq!(of_one.len(), 6, "{player}");
}

#[tokio::test]
async fn nothing_is_answered_that_cannot_be_kept() {
    let world = World::new().await;
    world.player("p-1").await;
    sqlx::raw_sql(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$;
         CREATE TRIGGER fail BEFORE INSERT ON staff_log FOR EACH ROW EXECUTE FUNCTION fail();",
    )
    .execute(world.pool())
    .await
    .unwrap();
    let read = world.call(Role::Auditor, "GET /v1/players/p-1");
    let answer = read.refused(503, "unavailable", "try again").await;
    assert!(!String::from_utf8_lossy(&answer.bytes).contains("p-1"));
    manager(&world, "POST /v1/campaigns").json(&definition()).refused(503, "unavailable", "try again").await;
}

#[tokio::test]
async fn many_who_read_at_once_are_kept_together() {
    const READERS: usize = 200;
    let world = World::new().await;
    world.player("p-1").await;
    let before = world.rows("journal").await;
    let reads = (0..READERS).map(|at| {
        let call = world.call(Role::Auditor, "GET /v1/players/p-1/tokens");
        call.header("x-request-id", &format!("r-{at}")).send()
    });
    for answer in join_all(reads).await {
        answer.ok();
    }
    let records = log(&world, "action=list_player_tokens&limit=500").await;
    let requests: BTreeSet<&str> =
        records.iter().map(|record| record["request_id"].as_str().unwrap()).collect();
    assert_eq!(requests.len(), READERS);
    let written = usize::try_from(world.rows("journal").await - before).unwrap();
    assert!(written < READERS / 2, "{written} rows of the journal for {READERS} reads");
}

#[tokio::test]
async fn a_record_that_somebody_changed_is_seen_to_be_wrong_and_one_that_was_erased_says_nothing() {
    let world = World::new().await;
    world.campaign().await;
    let id: Uuid = log(&world, "action=post_campaign").await[0]["id"].as_str().unwrap().parse().unwrap();
    for statement in [
        "UPDATE staff_log SET action = 'get_campaign' WHERE id = $1",
        "UPDATE staff_log SET content = '{}' WHERE id = $1",
        "UPDATE staff_log SET content = NULL, salt = NULL, subject = 'eve' WHERE id = $1",
        "DELETE FROM staff_log WHERE id = $1",
    ] {
        let refused = sqlx::query(statement).bind(id).execute(world.pool()).await.unwrap_err();
        assert!(refused.to_string().contains("stays"), "{refused}");
    }
    // Whoever may take the trigger away.
    let as_owner = async |statement: &'static str| {
        sqlx::raw_sql("ALTER TABLE staff_log DISABLE TRIGGER ALL").execute(world.pool()).await.unwrap();
        sqlx::query(statement).bind(id).execute(world.pool()).await.unwrap();
        sqlx::raw_sql("ALTER TABLE staff_log ENABLE TRIGGER ALL").execute(world.pool()).await.unwrap();
        log(&world, "is_read=false").await.into_iter().find(|record| record["id"] == json!(id)).unwrap()
    };
    let other = as_owner("UPDATE staff_log SET subject = 'eve' WHERE id = $1").await;
    assert_eq!((&other["by"], &other["proven"]), (&json!("eve"), &json!(false)));
    let back = as_owner("UPDATE staff_log SET subject = 'caller' WHERE id = $1").await;
    assert_eq!(back["proven"], json!(true));
    let later = as_owner("UPDATE staff_log SET at = at + interval '1 hour' WHERE id = $1").await;
    assert_eq!(later["proven"], json!(false));
    as_owner("UPDATE staff_log SET at = at - interval '1 hour' WHERE id = $1").await;
    let other = as_owner("UPDATE staff_log SET content = convert_to(replace(convert_from(content, 'UTF8'), 'Quiz', 'Cash'), 'UTF8') WHERE id = $1").await;
    assert_eq!(other["proven"], json!(false));
    sqlx::query("UPDATE staff_log SET content = NULL, salt = NULL, subject = '' WHERE id = $1")
        .bind(id)
        .execute(world.pool())
        .await
        .unwrap();
    let erased =
        log(&world, "is_read=false").await.into_iter().find(|record| record["id"] == json!(id)).unwrap();
    assert_eq!(
        (&erased["by"], &erased["after"], &erased["proven"]),
        (&json!(""), &Value::Null, &Value::Null)
    );
    let again = sqlx::query("UPDATE staff_log SET subject = 'eve' WHERE id = $1")
        .bind(id)
        .execute(world.pool())
        .await;
    assert!(again.unwrap_err().to_string().contains("stays"));
}

#[tokio::test]
async fn the_journal_tells_an_organisation_its_own_and_every_event_once() {
    let world = World::new().await;
    let campaign = world.active_campaign(1_000).await;
    for at in 0..7 {
        world.player(&format!("p-{at}")).await;
    }
    let outcomes: Vec<Value> =
        (0..30).map(|at| outcome(&format!("o-{at}"), &format!("p-{}", at % 7), 12)).collect();
    world.post_outcomes(&outcomes).await;
    world.decide().await;
    let all: i64 =
        sqlx::query_scalar("SELECT sum(entries)::bigint FROM journal").fetch_one(world.pool()).await.unwrap();
    // Each page that is read is an event itself, behind all that there were.
    let mut seen = Vec::new();
    let mut page = "limit=7".to_owned();
    while seen.len() < usize::try_from(all).unwrap() {
        let found = world.call(Role::Auditor, &format!("GET /v1/audit/journal?{page}")).send().await.ok();
        let items = found["items"].as_array().unwrap();
        assert!(items.len() <= 7);
        seen.extend(items.iter().map(|event| (event["id"].clone(), event["kind"].clone())));
        page = format!("limit=7&cursor={}", found["next"].as_str().unwrap());
    }
    let ids: BTreeSet<String> = seen.iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(ids.len(), seen.len(), "an event came twice");
    let outcomes = seen.iter().filter(|(_, kind)| kind == "GameOutcomeRecorded").count();
    assert_eq!(outcomes, 30);
    let of_campaign =
        world.call(Role::Auditor, &format!("GET /v1/audit/journal?limit=500&campaign_id={campaign}"));
    let of_campaign = of_campaign.send().await.ok();
    let subject = json!(format!("campaign:{campaign}"));
    let items = of_campaign["items"].as_array().unwrap();
    assert!(items.len() > 10 && items.iter().all(|event| event["subject"] == subject));
    let one = items.last().unwrap();
    let line = format!("GET /v1/audit/journal/{}", one["id"].as_str().unwrap());
    assert_eq!(world.call(Role::Auditor, &line).send().await.ok(), *one);
    let of_others = world.call(Role::Auditor, &line).by(Role::Auditor, "other", "eve").send().await;
    of_others.is_problem(404, "not_found", "no such event");
    for nowhere in ["16/0/0", "0/9223372036854775807/0", "0/-1/0", "x/0/0"] {
        let line = format!("GET /v1/audit/journal/{nowhere}");
        world.call(Role::Auditor, &line).send().await.is_problem(404, "not_found", "no such");
    }
    let theirs =
        world.call(Role::Auditor, "GET /v1/audit/journal").by(Role::Auditor, "other", "eve").send().await;
    assert_eq!(theirs.ok()["items"], json!([]));
    for wrong in ["cursor=1", "cursor=0-0", "kind=Nothing", "recorded_from=x", "limit=0"] {
        let line = format!("GET /v1/audit/journal?{wrong}");
        assert_eq!(world.call(Role::Auditor, &line).send().await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_transaction_of_two_organisations_tells_each_of_its_own_segments() {
    let world = World::new().await;
    let ours = world.active_campaign(100).await;
    let made =
        world.call(Role::Manager, "POST /v1/campaigns").by(Role::Manager, "other", "eve").json(&definition());
    let theirs = made.send().await.created()["id"].as_str().unwrap().to_owned();
    let batch = submit(&world, &[&ours, &theirs]).await;
    for (org, own) in [("default", &ours), ("other", &theirs)] {
        let line = "GET /v1/audit/journal?kind=BlockchainTxSubmitted";
        let found = world.call(Role::Auditor, line).by(Role::Auditor, org, "auditor").send().await.ok();
        let [event] = &found["items"].as_array().unwrap()[..] else { panic!("{found}") };
        assert_eq!((&event["data"]["batch"], &event["redacted"]), (&json!(batch), &json!(true)));
        let segments = event["data"]["segments"].as_array().unwrap();
        let campaigns: Vec<&Value> = segments.iter().map(|segment| &segment["campaign"]).collect();
        assert_eq!(campaigns, [&json!(own)]);
    }
}

/// A batch that settles a place of each campaign, with its event.
async fn submit(world: &World, campaigns: &[&String]) -> Uuid {
    use laurel_events::{BlockchainTxSubmitted, Clock, LaneId, SegmentRef};
    let (batch, now) = (Uuid::from_u128(1), world.clock.now());
    let lane: i32 = sqlx::query_scalar("SELECT id FROM lanes").fetch_one(world.pool()).await.unwrap();
    sqlx::query(
        "INSERT INTO batches (id, lane, nonce, state, deadline, grants, created_at) VALUES ($1, $2, 0, 'submitted', 1, 1, $3)",
    )
    .bind(batch)
    .bind(lane)
    .bind(now)
    .execute(world.pool())
    .await
    .unwrap();
    let mut segments = Vec::new();
    for campaign in campaigns {
        let id: laurel_events::CampaignId = campaign.parse().unwrap();
        sqlx::query("INSERT INTO segments (batch, campaign, first_seq, count, total, words_hash) VALUES ($1, $2, 0, 1, 5, $3)")
            .bind(batch)
            .bind(id.number())
            .bind(B256::ZERO.as_slice())
            .execute(world.pool())
            .await
            .unwrap();
        segments.push(SegmentRef {
            campaign: id,
            first_seq: 0,
            count: 1,
            total: 5_u64.into(),
            words_hash: B256::ZERO,
            holes: Vec::new(),
        });
    }
    let event = BlockchainTxSubmitted {
        batch: batch.into(),
        attempt: batch.into(),
        lane: LaneId(lane),
        chain_id: crate::world::CHAIN,
        vault: crate::world::address("vault"),
        nonce: 0,
        tx: B256::repeat_byte(9),
        deadline: 1,
        segments,
        cancels: None,
    };
    let mut tx = world.pool().begin().await.unwrap();
    laurel_ledger::append(&mut tx, &laurel_ledger::Context::at(now), &[event.into()]).await.unwrap();
    tx.commit().await.unwrap();
    batch
}
