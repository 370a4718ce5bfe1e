//! A request and its answer.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
    response::Response,
};
use chrono::TimeDelta;
use laurel_api::Role;
use laurel_events::Clock;
use serde_json::Value;
use tower::ServiceExt;

use crate::world::{World, token_key};

/// Numbers the idempotency keys of requests that do not care.
static NEXT_KEY: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Call<'w> {
    world: &'w World,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Body,
}

impl<'w> Call<'w> {
    /// A request; a POST gets an idempotency key that nobody used.
    pub(crate) fn new(world: &'w World, line: &str) -> Self {
        let (method, path) = line.split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        let call = Self { world, path: path.to_owned(), headers: Vec::new(), body: Body::empty(), method };
        if call.method == Method::POST {
            let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
            return call.header("idempotency-key", &format!("key-{key}"));
        }
        call
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn by(self, role: Role, org: &str, subject: &str) -> Self {
        let now = self.world.clock.now();
        let token = token_key().mint(now, TimeDelta::minutes(15), role, org, subject).unwrap();
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.text(&body.to_string())
    }

    pub(crate) fn text(self, body: &str) -> Self {
        self.bytes(body.as_bytes())
    }

    pub(crate) fn bytes(mut self, body: &[u8]) -> Self {
        self.body = Body::from(body.to_vec());
        self.header("content-type", "application/json")
    }

    /// A body of which nobody knows how long it becomes.
    pub(crate) fn stream(mut self, body: Body) -> Self {
        self.body = body;
        self.header("content-type", "application/json")
    }

    /// Sends it, and leaves the answer's body to be read.
    pub(crate) async fn begin(self) -> Response {
        let router = self.world.router.clone();
        self.begin_at(router).await
    }

    async fn begin_at(self, router: Router) -> Response {
        let mut request = Request::builder().method(self.method).uri(&self.path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(self.body).unwrap();
        router.oneshot(request).await.unwrap()
    }

    pub(crate) async fn send(self) -> Answer {
        let router = self.world.router.clone();
        self.send_to(router).await
    }

    /// Sends it to another replica.
    pub(crate) async fn send_to(self, router: Router) -> Answer {
        let (parts, body) = self.begin_at(router).await.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    /// Sends it, and sees it refused: status, code, a message that tells `advice`, and nothing changed anywhere.
    #[track_caller]
    pub(crate) fn refused(
        self,
        status: u16,
        code: &'static str,
        advice: &'static str,
    ) -> impl Future<Output = Answer> + use<'w> {
        let world = self.world;
        async move {
            let before = world.contents().await;
            let answer = self.send().await;
            answer.is_problem(status, code, advice);
            assert_eq!(world.contents().await, before, "a refused request changed something");
            answer
        }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        match serde_json::from_slice(&self.bytes) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&self.bytes)),
        }
    }

    #[track_caller]
    fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }

    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        self.expect(200)
    }

    #[track_caller]
    pub(crate) fn created(&self) -> Value {
        self.expect(201)
    }

    #[track_caller]
    pub(crate) fn accepted(&self) -> Value {
        self.expect(202)
    }

    /// It is a problem as RFC 9457 has them, whose detail contains `advice`.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str, advice: &str) {
        let problem = self.expect(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert!(self.header("x-request-id").is_some());
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], "about:blank");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(advice), "{detail:?} does not say {advice:?}");
    }
}
