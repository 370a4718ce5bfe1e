//! Heads of requests and of answers.

use laurel_api::{Role, openapi};
use rstest::rstest;

use super::{Served, talk};
use crate::world::World;

#[rstest]
#[case::many_headers(&"x-more: 1\r\n".repeat(70), "431", "headers_too_large")]
#[case::long_headers(&format!("x-long: {}\r\n", "a".repeat(20_000)), "431", "headers_too_large")]
#[case::more_than_are_read(&"x-more: 1\r\n".repeat(200), "431", "")]
#[case::longer_than_is_read(&format!("x-long: {}\r\n", "a".repeat(100_000)), "431", "")]
#[tokio::test]
async fn a_head_is_not_too_long(#[case] headers: &str, #[case] status: &str, #[case] code: &str) {
    let served = Served::new().await;
    let mut stream = served.connect().await;
    let ask = format!("GET /v1/auth/jwks HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    let told = talk(&mut stream, &ask).await;
    assert!(told.starts_with(&format!("HTTP/1.1 {status}")) && told.contains(code), "{told}");
    served.stop().await;
}

#[tokio::test]
async fn a_path_is_not_too_long() {
    let world = World::new().await;
    let line = |length: usize| format!("GET /v1/campaigns?cursor={}", "1".repeat(length));
    world.call(Role::Manager, &line(9_000)).refused(414, "uri_too_long", "at most 8192 bytes").await;
    assert_eq!(world.call(Role::Manager, &line(8_000)).send().await.status, 400);
}

#[rstest]
#[case("PUT /v1/players/p-1/wallet", Role::GameServer, 1024 * 1024)]
#[case("POST /v1/campaigns", Role::Manager, 1024 * 1024)]
#[case("POST /v1/auth/token", Role::Manager, 16 * 1024)]
#[tokio::test]
async fn bodies_are_as_long_as_their_routes_need(
    #[case] line: &str,
    #[case] role: Role,
    #[case] bytes_max: usize,
) {
    let world = World::new().await;
    let body = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
    let request = world.call(role, line).text(&body(bytes_max + 1));
    request.refused(413, "body_too_large", "send less at once").await;
    assert_eq!(world.call(role, line).text(&body(bytes_max)).send().await.status, 422);
}

/// Nothing that is answered may be kept, framed or taken for something else, unless it says so.
#[tokio::test]
async fn every_answer_says_what_may_be_done_with_it() {
    let world = World::new().await;
    let document = serde_json::to_value(openapi()).unwrap();
    let mut lines: Vec<String> =
        ["GET /openapi.json", "GET /docs", "GET /v1/nothing", "DELETE /v1/campaigns"]
            .map(str::to_owned)
            .to_vec();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            lines.push(format!("{} {}", method.to_uppercase(), path.replace(['{', '}'], "")));
        }
    }
    for line in lines {
        let answer = world.anonymous(&line).send().await;
        let header = |name: &str| answer.header(name).unwrap_or_else(|| panic!("{line} has no {name}"));
        assert_eq!(header("x-content-type-options"), "nosniff", "{line}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{line}");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin", "{line}");
        assert_eq!(header("strict-transport-security"), "max-age=31536000; includeSubDomains", "{line}");
        assert!(header("content-security-policy").contains("default-src 'none'"), "{line}");
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{line}");
        let same_for_all = ["GET /openapi.json", "GET /docs", "GET /v1/auth/jwks"].contains(&line.as_str());
        let kept = if same_for_all { "public, max-age=300" } else { "no-store" };
        assert_eq!(header("cache-control"), kept, "{line}");
    }
}
