//! Requests that no route can serve: problems all of them, and nothing changed.

use laurel_api::Role;
use rstest::rstest;
use serde_json::json;

use crate::world::{World, definition};

#[rstest]
#[case("GET /v1/nothing", 404, "unknown_route", "/openapi.json")]
#[case("GET /", 404, "unknown_route", "/openapi.json")]
#[case("DELETE /v1/campaigns", 405, "method_not_allowed", "/openapi.json")]
#[case("GET /v1/campaigns/none", 404, "not_found", "malformed")]
#[case("GET /v1/campaigns/18446744073709551615", 404, "not_found", "campaign")]
#[case("GET /v1/campaigns/99999999999999999999999", 404, "not_found", "malformed")]
#[case("POST /v1/campaigns/7/activate", 404, "not_found", "campaign")]
#[case("GET /v1/campaigns?limit=0", 400, "invalid_limit", "from 1 to 500")]
#[case("GET /v1/campaigns?limit=501", 400, "invalid_limit", "from 1 to 500")]
#[case("GET /v1/campaigns?limit=many", 400, "invalid_query", "limit")]
#[case("GET /v1/campaigns?cursor=x", 400, "invalid_cursor", "`next` of the page before")]
#[case("GET /v1/campaigns?cursor=18446744073709551615", 400, "invalid_cursor", "`next` of the page before")]
#[case("GET /v1/campaigns?colour=red", 400, "invalid_query", "no parameter \"colour\"")]
#[case("GET /v1/campaigns?state=sleeping", 400, "invalid_query", "state is one of draft, scheduled, active")]
#[case("GET /v1/grants?state=lost", 400, "invalid_query", "state is one of requested")]
#[case("GET /v1/grants?campaign_id=x", 400, "invalid_query", "campaign_id")]
#[case("GET /v1/grants?cursor=1%00", 400, "invalid_query", "NUL")]
#[case("GET /v1/transactions?state=lost", 400, "invalid_query", "state is one of submitted")]
#[case("GET /v1/transactions?cursor=7", 400, "invalid_cursor", "`next` of the page before")]
#[case("GET /v1/grants/7", 404, "not_found", "malformed")]
#[case("GET /v1/transactions/0x12", 404, "not_found", "malformed")]
#[tokio::test]
async fn a_request_that_cannot_be_served(
    #[case] line: &str,
    #[case] status: u16,
    #[case] code: &'static str,
    #[case] advice: &'static str,
) {
    let world = World::new().await;
    world.call(Role::Manager, line).refused(status, code, advice).await;
}

#[rstest]
#[case("GET /v1/players/p%001", 404, "not_found", "malformed")]
#[case("PUT /v1/players/p%001", 404, "not_found", "malformed")]
#[case("PUT /v1/players/p%0A1", 422, "invalid_player_id", "no control characters")]
#[case("GET /v1/players/%FF", 404, "not_found", "malformed")]
#[case("GET /v1/outcomes/o%00", 404, "not_found", "malformed")]
#[case("GET /v1/players/nobody", 404, "not_found", "player")]
#[case("GET /v1/players/nobody/grants", 404, "not_found", "player")]
#[case("GET /v1/players/nobody/tokens", 404, "not_found", "player")]
#[tokio::test]
async fn a_player_that_cannot_be(
    #[case] line: &str,
    #[case] status: u16,
    #[case] code: &'static str,
    #[case] advice: &'static str,
) {
    let world = World::new().await;
    world.call(Role::GameServer, line).refused(status, code, advice).await;
}

#[tokio::test]
async fn a_players_id_is_not_too_long() {
    let world = World::new().await;
    let line = |length| format!("PUT /v1/players/{}", "p".repeat(length));
    let request = world.call(Role::GameServer, &line(129));
    request.refused(422, "invalid_player_id", "1 to 128 bytes").await;
    world.call(Role::GameServer, &line(128)).send().await.created();
}

#[rstest]
#[case::none(None)]
#[case::form(Some("application/x-www-form-urlencoded"))]
#[case::text(Some("text/plain"))]
#[tokio::test]
async fn a_body_says_that_it_is_json(#[case] kind: Option<&str>) {
    let world = World::new().await;
    for line in ["POST /v1/campaigns", "POST /v1/outcomes"] {
        let role = if line.ends_with("outcomes") { Role::GameServer } else { Role::Manager };
        let request = world.call(role, line).json(&definition()).without("content-type");
        let request = match kind {
            Some(kind) => request.header("content-type", kind),
            None => request,
        };
        request.refused(415, "not_json", "content-type: application/json").await;
    }
}

#[tokio::test]
async fn a_body_is_not_too_large() {
    let world = World::new().await;
    let huge = json!({ "outcomes": ["x".repeat(8 * 1024 * 1024)] });
    let request = world.call(Role::GameServer, "POST /v1/outcomes").json(&huge);
    request.refused(413, "body_too_large", "send less at once").await;
    let huge = json!({ "name": "x".repeat(8 * 1024 * 1024) });
    let request = world.call(Role::Manager, "POST /v1/campaigns").json(&huge);
    request.refused(413, "body_too_large", "send less at once").await;
}

#[tokio::test]
async fn a_database_that_is_gone_is_unavailable() {
    let world = World::new().await;
    world.state.pool.close().await;
    let answer = world.call(Role::Manager, "GET /v1/campaigns").send().await;
    answer.is_problem(503, "unavailable", "try again in a moment");
}

#[rstest]
#[case("/v1/grants?granted_from", "+99999-01-01T00:00:00Z")]
#[case("/v1/transactions?signed_until", "-0001-01-01T00:00:00Z")]
#[case("/v1/audit/journal?recorded_from", "+262142-12-31T23:59:59Z")]
#[case("/v1/audit/log?until", "-262143-01-01T00:00:00Z")]
#[tokio::test]
async fn a_moment_that_cannot_be_kept_is_refused(#[case] parameter: &str, #[case] moment: &str) {
    let world = World::new().await;
    let line = format!("GET {parameter}={}", moment.replace('+', "%2B"));
    let refused = world.call(Role::Auditor, &line).refused(400, "invalid_query", "0000 to 9999").await;
    let name = parameter.split_once('?').unwrap().1;
    assert_eq!(refused.json()["errors"][0]["parameter"], name);
}
