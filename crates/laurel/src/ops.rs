//! Health and metrics of every role: `/healthz`, `/readyz`, `/metrics`.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use prometheus::{Encoder, TextEncoder};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::{
    app::App,
    connect::{Schema, schema},
};

/// How long a check may take before it counts as failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves health and metrics until the shutdown.
pub(crate) async fn serve(app: App, listener: TcpListener) {
    let shutdown = app.shutdown.clone();
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(app);
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "health and metrics are not served any more");
    }
}

/// What is checked, and what was found: `ok`, or what is wrong.
#[derive(Serialize)]
struct Readiness {
    database: String,
    migrations: String,
    chains: Vec<ChainReadiness>,
}

#[derive(Serialize)]
struct ChainReadiness {
    id: u64,
    state: String,
}

async fn readyz(State(app): State<App>) -> impl IntoResponse {
    let found = tokio::time::timeout(CHECK_TIMEOUT, schema(&app.pool)).await;
    let (database, migrations) = match found {
        Ok(Ok(Schema::Current)) => ("ok".to_owned(), "ok".to_owned()),
        Ok(Ok(Schema::Behind)) => ("ok".to_owned(), "migrations are missing".to_owned()),
        Ok(Ok(Schema::Ahead)) => ("ok".to_owned(), "migrations are unknown to this build".to_owned()),
        Ok(Err(_)) => ("does not answer".to_owned(), "unknown".to_owned()),
        Err(_) => ("does not answer in time".to_owned(), "unknown".to_owned()),
    };
    let mut chains = Vec::new();
    for chain in &app.chains {
        let state = match tokio::time::timeout(CHECK_TIMEOUT, chain.node.chain_id()).await {
            Ok(Ok(id)) if id == chain.config.id => "ok".to_owned(),
            Ok(Ok(id)) => format!("the node is on chain {id}"),
            Ok(Err(_)) => "does not answer".to_owned(),
            Err(_) => "does not answer in time".to_owned(),
        };
        chains.push(ChainReadiness { id: chain.config.id, state });
    }
    let ready =
        migrations == "ok" && chains.iter().all(|chain| chain.state == "ok") && !app.shutdown.is_cancelled();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { database, migrations, chains }))
}

async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&app.registry.gather(), &mut text) {
        Ok(()) => (StatusCode::OK, [(CONTENT_TYPE, encoder.format_type().to_owned())], text),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be encoded");
            (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, "text/plain".to_owned())], Vec::new())
        }
    }
}
