//! Whole lists as files, and what they hash to.

use chrono::TimeDelta;
use laurel_api::{Role, break_overdue_exports};
use laurel_events::Clock;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    call::Answer,
    world::{World, outcome},
};

/// Grants of three players, of which one is in another campaign as well.
async fn granted(world: &World) -> String {
    let campaign = world.active_campaign(1_000).await;
    for player in ["p-1", "p-2", "p-3"] {
        world.player(player).await;
    }
    let outcomes: Vec<Value> =
        (0..6).map(|at| outcome(&format!("o-{at}"), ["p-1", "p-2", "p-3"][at % 3], 12)).collect();
    world.post_outcomes(&outcomes).await;
    world.decide().await;
    campaign
}

async fn exported(world: &World, path: &str, kind: &str) -> Answer {
    let answer = world.call(Role::Auditor, &format!("GET {path}")).header("accept", kind).send().await;
    assert_eq!(answer.status, 200, "{path}");
    assert!(answer.header("content-type").unwrap().starts_with(kind), "{answer:?}");
    answer
}

/// What its link says of an export.
async fn manifest(world: &World, answer: &Answer) -> Value {
    let link = answer.header("link").unwrap();
    let path = link.strip_prefix('<').unwrap().split_once('>').unwrap().0;
    world.call(Role::Auditor, &format!("GET {path}")).send().await.ok()
}

/// Waits until one of the exports is broken.
async fn until_broken(world: &World) -> Value {
    let broken = async {
        loop {
            let exports = world.call(Role::Manager, "GET /v1/exports").send().await.ok();
            if exports["items"].as_array().unwrap().iter().any(|export| export["state"] == "broken") {
                return exports;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), broken).await.unwrap()
}

#[tokio::test]
async fn a_file_has_every_row_of_the_list_and_hashes_to_what_its_manifest_says() {
    let world = World::new().await;
    granted(&world).await;
    let listed = world.call(Role::Auditor, "GET /v1/grants").send().await.ok();
    let listed = listed["items"].as_array().unwrap();
    assert_eq!(listed.len(), 6);
    let answer = exported(&world, "/v1/grants", "application/x-ndjson").await;
    let text = String::from_utf8(answer.bytes.clone()).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (row, item) in rows.iter().zip(listed) {
        for field in ["id", "state", "player_id", "amount", "wallet", "token", "granted_at"] {
            assert_eq!(row[field], item[field], "{field}");
        }
    }
    let told = manifest(&world, &answer).await;
    let hash = hex::encode(Sha256::digest(&answer.bytes));
    assert_eq!(
        (&told["state"], &told["rows"], &told["bytes"], &told["sha256"]),
        (&json!("finished"), &json!(6), &json!(answer.bytes.len()), &json!(hash))
    );
    assert_eq!(told["parts"], json!([{ "rows": 6, "bytes": answer.bytes.len(), "sha256": hash }]));
    assert_eq!((&told["what"], &told["by"]), (&json!("grants"), &json!("caller")));
}

#[tokio::test]
async fn csv_has_a_line_of_names_and_only_what_is_asked_for() {
    let world = World::new().await;
    let campaign = granted(&world).await;
    let path = format!("/v1/grants?campaign_id={campaign}&player_id=p-2");
    let answer = exported(&world, &path, "text/csv").await;
    let text = String::from_utf8(answer.bytes.clone()).unwrap();
    let lines: Vec<&str> = text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[1..].iter().all(|line| line.contains(",p-2,")), "{text}");
    let told = manifest(&world, &answer).await;
    // With the player's id: a name can be erased.
    let player = world.call(Role::Auditor, "GET /v1/players/p-2").send().await.ok()["id"].clone();
    assert_eq!(told["query"], format!("campaign_id={campaign}&player_id={}", player.as_str().unwrap()));
    let nobody = exported(&world, "/v1/grants?player_id=nobody", "text/csv").await;
    assert_eq!(String::from_utf8(nobody.bytes).unwrap(), format!("{}\r\n", lines[0]));
    let file = answer.header("content-disposition").unwrap();
    assert!(file.starts_with("attachment; filename=\"grants-") && file.ends_with(".csv\""), "{file}");
}

#[tokio::test]
async fn a_reader_who_goes_breaks_it_off() {
    let world = World::new().await;
    granted(&world).await;
    let call = world.call(Role::Auditor, "GET /v1/grants").header("accept", "text/csv");
    // Nothing of the body is read.
    drop(call.begin().await);
    let exports = until_broken(&world).await;
    assert_eq!((&exports["items"][0]["sha256"], &exports["items"][0]["rows"]), (&Value::Null, &json!(0)));
}

#[tokio::test]
async fn a_server_that_stops_breaks_it_off_and_others_are_sent_away_while_many_are_made() {
    let world = World::new().await;
    granted(&world).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(world.call(Role::Auditor, "GET /v1/grants").header("accept", "text/csv").begin().await);
    }
    let answer = world.call(Role::Auditor, "GET /v1/grants").header("accept", "text/csv").send().await;
    answer.is_problem(503, "too_many_exports", "try again");
    assert_eq!(answer.header("retry-after"), Some("5"));
    world.shutdown.cancel();
    drop(open);
}

/// Players' data has turns of its own, and each player one: nobody keeps others from theirs, or from lists.
#[tokio::test]
async fn a_player_exports_once_at_a_time_and_takes_no_turn_of_a_list() {
    let world = World::new().await;
    granted(&world).await;
    let ask = |player: &str| {
        let line = format!("GET /v1/players/{player}/data");
        world.anonymous(&line).by(Role::Player, "default", player)
    };
    let first = ask("p-1").begin().await;
    assert_eq!(first.status(), 200);
    ask("p-1").send().await.is_problem(503, "too_many_exports", "try again");
    let _others = (ask("p-2").begin().await, ask("p-3").begin().await);
    exported(&world, "/v1/grants", "text/csv").await;
    drop(first);
    until_broken(&world).await;
    assert_eq!(ask("p-1").send().await.status, 200);
}

#[tokio::test]
async fn what_a_process_left_when_it_died_is_broken_when_its_time_is_over() {
    let world = World::new().await;
    granted(&world).await;
    let answer = exported(&world, "/v1/grants", "text/csv").await;
    let whole = manifest(&world, &answer).await;
    sqlx::query(
        "INSERT INTO exports (id, org, subject, role, what, query, format, started_at)
         VALUES (gen_random_uuid(), 1, 'caller', 'manager', 'grants', '', 'csv', $1)",
    )
    .bind(world.clock.now())
    .execute(world.pool())
    .await
    .unwrap();
    let sweep = || break_overdue_exports(world.pool(), world.clock.now());
    world.clock.advance(TimeDelta::hours(2));
    assert_eq!(sweep().await.unwrap(), 0, "somebody may be making it");
    world.clock.advance(TimeDelta::minutes(6));
    assert_eq!(sweep().await.unwrap(), 1);
    assert_eq!(sweep().await.unwrap(), 0);
    let exports = world.call(Role::Manager, "GET /v1/exports").send().await.ok();
    let states = exports["items"].as_array().unwrap().iter().map(|export| export["state"].as_str().unwrap());
    let mut states: Vec<&str> = states.collect();
    states.sort_unstable();
    assert_eq!(states, ["broken", "finished"]);
    assert_eq!(manifest(&world, &answer).await, whole);
}

#[tokio::test]
async fn of_another_organisation_there_is_nothing() {
    let world = World::new().await;
    granted(&world).await;
    let answer = exported(&world, "/v1/grants", "text/csv").await;
    let id = manifest(&world, &answer).await["id"].as_str().unwrap().to_owned();
    let foreign = |line: &str| world.anonymous(line).by(Role::Auditor, "other", "x");
    foreign(&format!("GET /v1/exports/{id}")).refused(404, "not_found", "export").await;
    assert_eq!(foreign("GET /v1/exports").send().await.ok()["items"], json!([]));
    let theirs = foreign("GET /v1/grants").header("accept", "text/csv").send().await;
    assert_eq!(
        (theirs.status.as_u16(), theirs.bytes.iter().filter(|byte| **byte == b'\n').count()),
        (200, 1)
    );
}

#[tokio::test]
async fn books_in_double_entry_tie_and_are_a_file_as_well() {
    let world = World::new().await;
    granted(&world).await;
    let path = "/v1/audit/balances?from=2025-12-31&until=2026-01-03";
    let listed = world.call(Role::Auditor, &format!("GET {path}")).send().await.ok();
    let rows = listed["items"].as_array().unwrap();
    assert_eq!(rows.len(), 3 * 5);
    let number = |row: &Value, field: &str| row[field].as_str().unwrap().parse::<i64>().unwrap();
    for day in rows.chunks(5) {
        assert_eq!(day.iter().map(|row| number(row, "closing")).sum::<i64>(), 0);
        for row in day {
            let moved = number(row, "opening") - number(row, "debits") + number(row, "credits");
            assert_eq!(moved, number(row, "closing"));
        }
    }
    let reserved =
        rows.iter().find(|row| row["day"] == "2026-01-02" && row["account"] == "reserved").unwrap();
    assert_eq!(reserved["closing"], "30");
    let answer = exported(&world, path, "text/csv").await;
    let text = String::from_utf8(answer.bytes).unwrap();
    assert_eq!(text.lines().count(), 1 + rows.len());
    for (from, until) in
        [("2026-01-02", "2026-01-02"), ("2026-01-02", "2026-01-01"), ("2025-01-01", "2026-06-01")]
    {
        let line = format!("GET /v1/audit/balances?from={from}&until={until}");
        world.call(Role::Auditor, &line).refused(400, "invalid_query", "days behind").await;
    }
}

#[tokio::test]
async fn every_list_that_is_a_file_names_its_fields() {
    let world = World::new().await;
    let campaign = granted(&world).await;
    crate::reads::submitted(&world, &campaign).await;
    let ledger = format!("/v1/campaigns/{campaign}/ledger?kind=hold");
    let balances = "/v1/audit/balances?from=2026-01-01&until=2026-01-02";
    for path in
        ["/v1/grants", "/v1/transactions", "/v1/audit/journal?kind=TokenGrantRequested", balances, &ledger]
    {
        let lines = exported(&world, path, "application/x-ndjson").await;
        let line = String::from_utf8(lines.bytes).unwrap().lines().next().unwrap().to_owned();
        // The fields of what an event says are not the row's.
        let line = match (line.find("\"data\":{"), line.find("},\"redacted\"")) {
            (Some(from), Some(to)) => format!("{}\"data\":0{}", &line[..from], &line[to + 1..]),
            _ => line,
        };
        let fields = line.trim_matches(['{', '}']).split(",\"").map(|field| field.trim_start_matches('"'));
        let fields: Vec<&str> = fields.map(|field| field.split_once("\":").unwrap().0).collect();
        let names = String::from_utf8(exported(&world, path, "text/csv").await.bytes).unwrap();
        assert_eq!(names.lines().next().unwrap().split(',').collect::<Vec<_>>(), fields, "{path}");
    }
}
