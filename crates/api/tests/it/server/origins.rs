//! Scripts of other sites.

use laurel_api::Role;

use crate::world::{ORIGIN, World};

#[tokio::test]
async fn a_site_that_is_named_may_call() {
    let world = World::new().await;
    let asked = world
        .anonymous("OPTIONS /v1/campaigns")
        .header("origin", ORIGIN)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,idempotency-key,if-match");
    let answer = asked.send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let methods = answer.header("access-control-allow-methods").unwrap();
    assert_eq!(methods, "GET,POST,PUT,PATCH,DELETE");
    let allowed = answer.header("access-control-allow-headers").unwrap();
    for header in ["authorization", "content-type", "idempotency-key", "if-match"] {
        assert!(allowed.split(',').any(|known| known == header), "{header}: {allowed}");
    }
    let answer = world.call(Role::Manager, "GET /v1/campaigns").header("origin", ORIGIN).send().await;
    answer.ok();
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    let exposed = answer.header("access-control-expose-headers").unwrap();
    for header in [
        "etag",
        "location",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "x-request-id",
        "idempotency-replayed",
    ] {
        assert!(exposed.split(',').any(|known| known == header), "{header}: {exposed}");
    }
    // Also to be told that it has asked for something wrong.
    let refused = world.anonymous("GET /v1/campaigns").header("origin", ORIGIN).send().await;
    assert_eq!((refused.status.as_u16(), refused.header("access-control-allow-origin")), (401, Some(ORIGIN)));
}

#[tokio::test]
async fn no_other_site_may() {
    let world = World::new().await;
    for origin in ["https://elsewhere.example", "http://games.example", "null"] {
        let call = world.call(Role::Manager, "GET /v1/campaigns").header("origin", origin);
        assert_eq!(call.send().await.header("access-control-allow-origin"), None, "{origin}");
        let asked = world
            .anonymous("OPTIONS /v1/campaigns")
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        assert_eq!(asked.send().await.header("access-control-allow-origin"), None, "{origin}");
    }
}
