//! Health and metrics of every role: `/healthz`, `/readyz`, `/metrics`.

use std::{collections::HashMap, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use laurel_chain::{BreakerState, EndpointStatus};
use prometheus::{Encoder, TextEncoder};
use serde::Serialize;
use sqlx::PgPool;
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
    /// `ok`, `degraded` or `not ready`.
    status: &'static str,
    database: String,
    migrations: String,
    chains: Vec<ChainReadiness>,
}

#[derive(Serialize)]
struct ChainReadiness {
    id: u64,
    state: String,
    endpoints: Vec<String>,
}

/// Whether this process can do its work. A chain that cannot be asked, or is halted, is no reason to send its callers
/// elsewhere: every replica has the same trouble, and outcomes are taken and decided without the chain. It is told, under
/// the status 200.
async fn readyz(State(app): State<App>) -> impl IntoResponse {
    let found = tokio::time::timeout(CHECK_TIMEOUT, schema(&app.pool)).await;
    let (database, migrations) = match found {
        Ok(Ok(Schema::Current)) => ("ok".to_owned(), "ok".to_owned()),
        Ok(Ok(Schema::Behind)) => ("ok".to_owned(), "migrations are missing".to_owned()),
        Ok(Ok(Schema::Ahead)) => ("ok".to_owned(), "migrations are unknown to this build".to_owned()),
        Ok(Err(_)) => ("does not answer".to_owned(), "unknown".to_owned()),
        Err(_) => ("does not answer in time".to_owned(), "unknown".to_owned()),
    };
    let halted = match tokio::time::timeout(CHECK_TIMEOUT, halted_chains(&app.pool)).await {
        Ok(Ok(halted)) => halted,
        // The database's own line tells it.
        Ok(Err(_)) | Err(_) => HashMap::new(),
    };
    let chains: Vec<ChainReadiness> = app
        .chains
        .iter()
        .map(|chain| {
            let id = chain.config.id;
            let endpoints = chain.endpoints.status();
            let state = chain_state(&endpoints, halted.get(&id));
            ChainReadiness { id, state, endpoints: endpoints.iter().map(ToString::to_string).collect() }
        })
        .collect();
    let ready = migrations == "ok" && !app.shutdown.is_cancelled();
    let (code, status) = match ready {
        true if chains.iter().all(|chain| chain.state == "ok") => (StatusCode::OK, "ok"),
        true => (StatusCode::OK, "degraded"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    (code, Json(Readiness { status, database, migrations, chains }))
}

/// What is wrong with a chain, if anything is.
fn chain_state(endpoints: &[EndpointStatus], halted: Option<&String>) -> String {
    let open = endpoints.iter().filter(|endpoint| endpoint.state != BreakerState::Closed).count();
    match halted {
        Some(reason) => format!("halted: {reason}"),
        None if open == endpoints.len() => "no endpoint answers".to_owned(),
        None if open > 0 => format!("{open} of {} endpoints are left alone", endpoints.len()),
        None => "ok".to_owned(),
    }
}

/// The chains that wait for an operator, with the reason.
async fn halted_chains(pool: &PgPool) -> sqlx::Result<HashMap<u64, String>> {
    let rows = sqlx::query!(r#"SELECT id, halted AS "halted!" FROM chains WHERE halted IS NOT NULL"#);
    let rows = rows.fetch_all(pool).await?;
    Ok(rows.into_iter().map(|row| (row.id.cast_unsigned(), row.halted)).collect())
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
