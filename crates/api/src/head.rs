//! Heads of requests: how long one may be, and what goes with every answer.

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{ApiState, Problem};

/// The longest path with its query: every filter at its longest fits several times.
const URI_BYTES_MAX: usize = 8 * 1024;

/// The most headers, and their bytes: proxies add some, and a token has less than a kilobyte.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// What goes with every answer that does not say otherwise. Nobody but the caller may keep or show it, or take it for something else.
const ALWAYS: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// A year, as preload lists ask for (RFC 6797).
const SECURE: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");

/// For what is the same for everybody, and changes with the program or its keys only.
pub(crate) const CACHEABLE: (HeaderName, HeaderValue) =
    (CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));

/// Refuses heads that are too long, and says with every answer what may be done with it.
pub(crate) async fn with_heads(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let mut answer = match too_long(&request) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    let headers = answer.headers_mut();
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(value);
    }
    if state.is_secure() {
        headers.insert(STRICT_TRANSPORT_SECURITY, SECURE);
    }
    answer
}

fn too_long(request: &Request) -> Option<Problem> {
    let uri = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    if uri > URI_BYTES_MAX {
        let detail = format!("a path and its query have at most {URI_BYTES_MAX} bytes");
        return Some(Problem::new(StatusCode::URI_TOO_LONG, "uri_too_long", detail));
    }
    let headers = request.headers();
    (headers.len() > HEADERS_MAX || bytes(headers) > HEADER_BYTES_MAX).then(|| {
        let detail = format!("there are at most {HEADERS_MAX} headers, of {HEADER_BYTES_MAX} bytes together");
        Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", detail)
    })
}

fn bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}
