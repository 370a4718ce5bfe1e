//! Which other sites' scripts may call (CORS, as the Fetch standard has it).

use std::time::Duration;

use axum::http::{
    HeaderName, HeaderValue, Method,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LINK, LOCATION, RETRY_AFTER,
    },
};
use tower::{
    layer::util::Identity,
    util::{Either, option_layer},
};
use tower_http::cors::CorsLayer;

/// What may be sent beside what may be sent anyway.
const SENT: [HeaderName; 8] = [
    ACCEPT,
    AUTHORIZATION,
    CONTENT_TYPE,
    IF_MATCH,
    IF_NONE_MATCH,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("x-request-id"),
];

/// What may be read beside what may be read anyway.
const READ: [HeaderName; 8] = [
    ETAG,
    LINK,
    LOCATION,
    RETRY_AFTER,
    HeaderName::from_static("idempotency-replayed"),
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("x-request-id"),
];

/// How long a browser need not ask again: an hour, the longest that most keep.
const PREFLIGHT_AGE: Duration = Duration::from_secs(3_600);

/// Answers browsers for scripts of `origins`, if there are any. Nothing comes with cookies, so nobody can be made to call without
/// wanting to.
pub(crate) fn layer(origins: &[HeaderValue]) -> Either<CorsLayer, Identity> {
    option_layer((!origins.is_empty()).then(|| answering(origins)))
}

fn answering(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(origins.to_vec())
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(SENT)
        .expose_headers(READ)
        .max_age(PREFLIGHT_AGE)
}
