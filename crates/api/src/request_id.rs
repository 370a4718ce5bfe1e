//! `x-request-id`: accepted or made, echoed, logged, journaled.

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, request::Parts},
    middleware::Next,
    response::Response,
};
use laurel_events::time_ordered;
use tracing::Instrument;

use crate::{ApiState, Problem};

/// The header.
const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is accepted from a client; a longer one is replaced.
const LENGTH_MAX: usize = 128;

/// The id of the request that is being answered.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

/// Gives every request an id and a span, and every answer the id.
pub(crate) async fn with_request_id(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Response {
    let given = request.headers().get(HEADER).and_then(|id| id.to_str().ok()).filter(|id| acceptable(id));
    let id = match given {
        Some(id) => id.to_owned(),
        None => time_ordered(state.now(), &mut state.rng().await).to_string(),
    };
    request.extensions_mut().insert(RequestId(id.clone()));
    // The route, not the path: that may name a player, who is not to be found in logs.
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
    let span = tracing::info_span!(
        "api.request.handle",
        request.id = id,
        http.method = %request.method(),
        http.route = route,
    );
    let mut response = next.run(request).instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

fn acceptable(id: &str) -> bool {
    !id.is_empty() && id.len() <= LENGTH_MAX && id.bytes().all(|byte| byte.is_ascii_graphic())
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::internal("a request without an id"))
    }
}
