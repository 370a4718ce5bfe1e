//! Every route, one per file.

mod campaigns;
mod grants;
mod outcomes;
mod players;
mod transactions;

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request},
    http::StatusCode,
    middleware,
    response::IntoResponse,
    routing::get,
};
use tower_http::{limit::RequestBodyLimitLayer, timeout::TimeoutLayer};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        RefOr,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{ApiState, Problem, request_id::with_request_id};

/// The largest body: 1,000 outcomes with all attributes at their longest are below it.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a request may take before the client is told to try again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(OpenApi)]
#[openapi(
    info(title = "Laurel", description = "Game rewards, paid on chain exactly once."),
    modifiers(&BearerToken),
    security(("token" = []))
)]
struct Document;

/// Declares the access token.
struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = document.components.get_or_insert_default();
        components.security_schemes.insert("token".to_owned(), RefOr::T(SecurityScheme::Http(scheme)));
    }
}

fn api() -> OpenApiRouter<ApiState> {
    let routes = OpenApiRouter::new()
        .routes(routes!(outcomes::post::handler))
        .routes(routes!(outcomes::get::handler))
        .routes(routes!(players::put::handler))
        .routes(routes!(players::get::handler))
        .routes(routes!(players::grants::handler))
        .routes(routes!(players::tokens::handler))
        .routes(routes!(players::challenge::handler))
        .routes(routes!(players::wallet::handler))
        .routes(routes!(campaigns::post::handler, campaigns::list::handler))
        .routes(routes!(campaigns::get::handler, campaigns::patch::handler))
        .routes(routes!(campaigns::fund::handler))
        .routes(routes!(campaigns::moves::activate))
        .routes(routes!(campaigns::moves::pause))
        .routes(routes!(campaigns::moves::resume))
        .routes(routes!(campaigns::moves::end))
        .routes(routes!(campaigns::statistics::handler))
        .routes(routes!(campaigns::ledger::handler))
        .routes(routes!(campaigns::grants::handler))
        .routes(routes!(campaigns::declines::handler))
        .routes(routes!(grants::list::handler))
        .routes(routes!(grants::get::handler))
        .routes(routes!(transactions::list::handler))
        .routes(routes!(transactions::get::handler));
    OpenApiRouter::with_openapi(Document::openapi()).nest("/v1", routes)
}

/// The OpenAPI 3.1 document of all routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    api().split_for_parts().1
}

/// The interface, ready to be served.
pub fn router(state: ApiState) -> Router {
    let (routes, document) = api().split_for_parts();
    routes
        .route("/openapi.json", get(move || std::future::ready(Json(document.clone()))))
        .fallback(|request: Request| async move { unknown_route(request.uri().path()) })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "the route knows other methods",
            )
        })
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .layer(middleware::from_fn_with_state(state.clone(), with_request_id))
        .with_state(state)
}

fn unknown_route(path: &str) -> impl IntoResponse + use<> {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown_route",
        format!("there is no route {path}; see /openapi.json"),
    )
}
