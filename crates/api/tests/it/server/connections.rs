//! Connections: how many, and how long.

use axum::{Router, routing::get};
use chrono::TimeDelta;
use laurel_api::Role;
use laurel_events::Clock;
use tokio::io::AsyncWriteExt;

use super::{ASK, CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, PATIENCE, PROXY, Served, answer, talk};
use crate::world::{World, token_key};

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let served = Served::new().await;
    let mut stream = served.connect().await;
    for _ in 0..2 {
        let told = talk(&mut stream, ASK).await;
        assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    }
    served.stop().await;
}

#[tokio::test]
async fn whoever_dawdles_over_a_head_is_cut_off_and_so_is_whoever_is_idle() {
    let served = Served::new().await;
    let (mut slow, mut idle) = (served.connect().await, served.connect().await);
    slow.write_all(b"GET /v1/auth/jwks HTTP/1.1\r\nhost:").await.unwrap();
    assert!(talk(&mut idle, ASK).await.starts_with("HTTP/1.1 200"));
    served.until_open(2).await;
    served.until_open(0).await;
    for stream in [&mut slow, &mut idle] {
        let told = answer(stream).await;
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 408"), "{told}");
    }
    served.stop().await;
}

#[tokio::test]
async fn whoever_dawdles_over_a_body_is_cut_off() {
    let served = Served::new().await;
    let mut stream = served.connect().await;
    let now = served.world.clock.now();
    let token = token_key().mint(now, TimeDelta::minutes(1), Role::GameServer, "default", "arena").unwrap();
    let head = format!(
        "POST /v1/outcomes HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{\"outcomes\":"
    );
    let told = talk(&mut stream, &head).await;
    assert!(told.starts_with("HTTP/1.1 408"), "{told}");
    assert!(told.contains("\"code\":\"slow_body\""), "{told}");
    served.stop().await;
}

#[tokio::test]
async fn only_so_many_are_open_and_the_next_waits() {
    let served = Served::new().await;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut stream = served.connect_from(PROXY).await;
        assert!(talk(&mut stream, ASK).await.starts_with("HTTP/1.1 200"));
        open.push(stream);
    }
    let mut next = served.connect().await;
    next.write_all(ASK.as_bytes()).await.unwrap();
    // Whoever could be accepted would be by now.
    for stream in &mut open {
        assert!(talk(stream, ASK).await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(served.open(), i64::try_from(CONNECTIONS_MAX).unwrap());
    drop(open);
    assert!(answer(&mut next).await.starts_with("HTTP/1.1 200"));
    served.stop().await;
}

#[tokio::test]
async fn an_address_has_only_so_many_and_another_has_its_own() {
    let served = Served::new().await;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS_PER_ADDRESS_MAX {
        let mut stream = served.connect().await;
        assert!(talk(&mut stream, ASK).await.starts_with("HTTP/1.1 200"));
        open.push(stream);
    }
    assert_eq!(answer(&mut served.connect().await).await, "");
    let mut other = served.connect_from([127, 0, 0, 2].into()).await;
    assert!(talk(&mut other, ASK).await.starts_with("HTTP/1.1 200"));
    drop(open);
    served.until_open(1).await;
    assert!(talk(&mut served.connect().await, ASK).await.starts_with("HTTP/1.1 200"));
    served.stop().await;
}

#[tokio::test]
async fn behind_a_proxy_nobody_else_is_heard() {
    let served = Served::proxied().await;
    assert_eq!(answer(&mut served.connect().await).await, "");
    assert!(talk(&mut served.connect_from(PROXY).await, ASK).await.starts_with("HTTP/1.1 200"));
    served.stop().await;
}

/// More than any system keeps of what nobody reads.
const FAR_TOO_MUCH: usize = 64 * 1024 * 1024;

#[tokio::test]
async fn whoever_reads_nothing_is_cut_off() {
    let router = Router::new().route("/", get(async || vec![b'x'; FAR_TOO_MUCH]));
    let served = Served::of(World::new().await, router, None, false).await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    served.until_open(1).await;
    served.until_open(0).await;
    served.stop().await;
}

#[tokio::test]
async fn a_shutdown_ends_idle_connections_at_once() {
    let served = Served::new().await;
    let mut idle = served.connect().await;
    assert!(talk(&mut idle, ASK).await.starts_with("HTTP/1.1 200"));
    served.stop().await;
    assert_eq!(answer(&mut idle).await, "");
}

/// What has begun is finished: a reader waits for a connection that comes back only after the shutdown.
#[tokio::test]
async fn a_shutdown_waits_for_requests_that_have_begun() {
    let served = Served::new().await;
    let pool = served.world.read_pool.clone();
    let held = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    let now = served.world.clock.now();
    let token = token_key().mint(now, TimeDelta::minutes(1), Role::Manager, "default", "ada").unwrap();
    let mut stream = served.connect().await;
    let ask =
        format!("GET /v1/campaigns HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let in_flight = served.world.state.limits.metrics.in_flight.with_label_values(&["read"]);
    let has_begun = async {
        while in_flight.get() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, has_begun).await.expect("it has a turn");
    served.shutdown.cancel();
    drop(held);
    let told = answer(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 200") && told.contains("\"items\":[]"), "{told}");
    served.stop().await;
}
