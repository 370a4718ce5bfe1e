//! The role `api`.

use std::net::SocketAddr;

use anyhow::Context;
use laurel_api::{ApiParts, ApiState, LimitMetrics, LimitParts, follow_intake, follow_statistics, router};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use tokio::net::TcpListener;

use crate::{app::App, connect};

/// Starts to serve REST. Returns where.
pub(crate) async fn start(app: &App) -> anyhow::Result<SocketAddr> {
    let bind = app.config.api.bind;
    let listener =
        TcpListener::bind(bind).await.with_context(|| format!("api.bind: cannot listen on {bind}"))?;
    let address = listener.local_addr()?;
    let parts = ApiParts {
        pool: app.pool.clone(),
        read_pool: app.read_pool.clone(),
        clock: app.clock.clone(),
        wakes: app.wakes.clone(),
        nodes: app.nodes(),
        auth: app.auth.clone(),
        secrets: app.secrets.clone(),
        public_url: app.config.api.public_url.clone(),
        treasuries: app
            .config
            .chains
            .iter()
            .filter(|chain| chain.treasury_key.is_some())
            .map(|chain| (chain.id, chain.treasury_orgs.clone()))
            .collect(),
        limits: limits(app)?,
        shutdown: app.shutdown.clone(),
    };
    let mut seed = [0; 32];
    StdRng::from_os_rng().fill_bytes(&mut seed);
    let state = ApiState::new(parts, seed);
    app.spawn(follow_statistics(state.clone()));
    app.spawn(follow_intake(state.clone(), app.shutdown.clone()));
    let router = router(state);
    let shutdown = app.shutdown.clone();
    app.spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "REST is not served any more");
        }
    });
    Ok(address)
}

fn limits(app: &App) -> anyhow::Result<LimitParts> {
    let limits = &app.config.limits;
    Ok(LimitParts {
        pool: connect::limits_database(&app.config.database.url)?,
        rates: app.config.rates()?,
        trusted_proxies: app.config.api.trusted_proxies.clone(),
        queue_max: limits.queue_max,
        queue_time: limits.queue_time(),
        body_timeout: limits.body_timeout(),
        lag_chunks_max: limits.lag_chunks_max,
        metrics: LimitMetrics::register(&app.registry)?,
    })
}
