//! Every route, one per file.

mod alerts;
mod api_keys;
mod audit;
mod auth;
mod campaigns;
mod dead_letters;
mod exports;
mod grants;
mod lanes;
mod outcomes;
mod players;
mod transactions;
mod views;

pub(crate) use self::{
    audit::HoldingsCache, dead_letters::STATES as LETTER_STATES, grants::STATES as GRANT_STATES,
    outcomes::SmallReports, transactions::STATES as TRANSACTION_STATES,
};

use std::time::Duration;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        RefOr,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    ApiState, Problem,
    auth::with_principal,
    docs, document,
    head::{CACHEABLE, with_heads},
    origins,
    request_id::with_request_id,
};

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
        .routes(routes!(auth::token::handler))
        .routes(routes!(auth::refresh::handler))
        .routes(routes!(auth::sign_out::handler))
        .routes(routes!(auth::me::handler))
        .routes(routes!(auth::password::handler))
        .routes(routes!(auth::totp::begin, auth::totp::confirm))
        .routes(routes!(auth::challenge::handler))
        .routes(routes!(auth::wallet::handler))
        .routes(routes!(auth::jwks::handler))
        .routes(routes!(api_keys::post::handler, api_keys::list::handler))
        .routes(routes!(api_keys::delete::handler))
        .routes(routes!(outcomes::post::handler))
        .routes(routes!(outcomes::get::handler))
        .routes(routes!(players::put::handler))
        .routes(routes!(players::get::handler, players::delete::handler))
        .routes(routes!(players::data::handler))
        .routes(routes!(players::grants::handler))
        .routes(routes!(players::tokens::handler))
        .routes(routes!(players::challenge::handler))
        .routes(routes!(players::wallet::handler))
        .routes(routes!(campaigns::post::handler, campaigns::list::handler))
        .routes(routes!(campaigns::get::handler, campaigns::patch::handler, campaigns::moves::delete))
        .routes(routes!(campaigns::clone::handler))
        .routes(routes!(campaigns::history::handler))
        .routes(routes!(campaigns::players::list, campaigns::players::change))
        .routes(routes!(campaigns::rule::try_it::handler))
        .routes(routes!(campaigns::rule::replay::handler))
        .routes(routes!(campaigns::moves::schedule))
        .routes(routes!(campaigns::moves::unschedule))
        .routes(routes!(campaigns::fund::handler))
        .routes(routes!(campaigns::moves::activate))
        .routes(routes!(campaigns::moves::pause))
        .routes(routes!(campaigns::moves::resume))
        .routes(routes!(campaigns::moves::end))
        .routes(routes!(campaigns::close::post, campaigns::close::get))
        .routes(routes!(campaigns::statistics::get))
        .routes(routes!(campaigns::statistics::live))
        .routes(routes!(campaigns::hours::handler))
        .routes(routes!(campaigns::budget::handler))
        .routes(routes!(campaigns::ledger::handler))
        .routes(routes!(campaigns::grants::handler))
        .routes(routes!(campaigns::declines::handler))
        .routes(routes!(grants::list::handler))
        .routes(routes!(grants::totals::handler))
        .routes(routes!(grants::get::handler))
        .routes(routes!(transactions::list::handler))
        .routes(routes!(transactions::totals::handler))
        .routes(routes!(transactions::get::handler))
        .routes(routes!(exports::list::handler))
        .routes(routes!(exports::get::handler))
        .routes(routes!(audit::balances::handler))
        .routes(routes!(audit::vaults::handler))
        .routes(routes!(audit::journal::list::handler))
        .routes(routes!(audit::journal::get::handler))
        .routes(routes!(audit::log::handler))
        .routes(routes!(audit::reconciliations::handler))
        .routes(routes!(dead_letters::list::handler))
        .routes(routes!(dead_letters::get::handler))
        .routes(routes!(dead_letters::redrive::handler))
        .routes(routes!(dead_letters::redrive_many::handler))
        .routes(routes!(lanes::handler))
        .routes(routes!(alerts::handler))
        .routes(routes!(views::handler));
    OpenApiRouter::with_openapi(Document::openapi()).nest("/v1", routes)
}

/// The routes and their document.
fn parts() -> (Router<ApiState>, utoipa::openapi::OpenApi) {
    let (routes, mut document) = api().split_for_parts();
    document::complete(&mut document);
    (routes, document)
}

/// The OpenAPI 3.1 document of all routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    parts().1
}

/// The interface, ready to be served.
pub fn router(state: ApiState) -> Router {
    let (routes, document) = parts();
    // Every connection gets a copy of all routes and of what they hold, so they hold nothing that is copied byte by byte.
    let page = Bytes::from(docs::page(&document));
    let document = Bytes::from(serde_json::to_vec(&document).expect("it is made of strings and numbers"));
    let document = get(move || {
        let kind = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
        std::future::ready(([kind, CACHEABLE], document.clone()))
    });
    let page = get(move || std::future::ready(([docs::POLICY, CACHEABLE], Html(page.clone()))));
    routes
        .route_layer(middleware::from_fn_with_state(state.clone(), with_principal))
        .route("/openapi.json", document.clone())
        .route("/v1/openapi.json", document)
        .route("/docs", page.clone())
        .route("/v1/docs", page)
        .fallback(|request: Request| async move { unknown_route(request.uri().path()) })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "the route knows other methods; see /openapi.json",
            )
        })
        // Bodies have been read by then, up to the limits of their classes.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(with_timeout))
        .layer(origins::layer(&state.origins))
        .layer(middleware::from_fn_with_state(state.clone(), with_heads))
        .layer(middleware::from_fn_with_state(state.clone(), with_request_id))
        .with_state(state)
}

/// Gives up a request that takes too long; what it began in the database is rolled back.
async fn with_timeout(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            "the request took too long: send it again, with the same idempotency-key where it has one",
        )
        .into_response(),
    }
}

fn unknown_route(path: &str) -> impl IntoResponse + use<> {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown_route",
        format!("there is no route {path}; see /openapi.json"),
    )
}
