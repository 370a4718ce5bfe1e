//! The role `api`.

use std::net::SocketAddr;

use anyhow::Context;
use laurel_api::{
    ApiParts, ApiState, Certificates, LimitMetrics, LimitParts, ServerSettings, follow_intake,
    follow_statistics, router, serve,
};
use prometheus::IntGauge;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use tokio::net::TcpListener;

use crate::{app::App, connect, files};

/// Starts to serve REST. Returns where.
pub(crate) async fn start(app: &App) -> anyhow::Result<SocketAddr> {
    let bind = app.config.api.bind;
    let listener =
        TcpListener::bind(bind).await.with_context(|| format!("api.bind: cannot listen on {bind}"))?;
    let address = listener.local_addr()?;
    let metrics = LimitMetrics::register(&app.registry)?;
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
        limits: limits(app, metrics.clone())?,
        origins: app.config.api.origins()?,
        shutdown: app.shutdown.clone(),
    };
    let mut seed = [0; 32];
    StdRng::from_os_rng().fill_bytes(&mut seed);
    let state = ApiState::new(parts, seed);
    app.spawn(follow_statistics(state.clone()));
    app.spawn(follow_intake(state.clone(), app.shutdown.clone()));
    let settings = server(app, metrics.connections)?;
    if let Some(certificates) = settings.certificates.clone() {
        app.spawn(certificates.follow(app.shutdown.clone()));
    }
    files::allow_many();
    app.spawn(serve(listener, router(state), settings, app.shutdown.clone()));
    Ok(address)
}

fn limits(app: &App, metrics: LimitMetrics) -> anyhow::Result<LimitParts> {
    let limits = &app.config.limits;
    Ok(LimitParts {
        pool: connect::limits_database(&app.config.database.url)?,
        rates: app.config.rates()?,
        trusted_proxies: app.config.api.trusted_proxies.clone(),
        queue_max: limits.queue_max,
        queue_time: limits.queue_time(),
        bodies_kib_max: limits.bodies_kib_max(),
        body_timeout: limits.body_timeout(),
        lag_chunks_max: limits.lag_chunks_max,
        metrics,
    })
}

fn server(app: &App, connections: IntGauge) -> anyhow::Result<ServerSettings> {
    let (api, limits) = (&app.config.api, &app.config.limits);
    let certificates = match (&api.tls_cert, &api.tls_key) {
        (Some(certificate), Some(key)) => {
            Some(Certificates::read(certificate.clone(), key.clone()).context("api.tls_cert, api.tls_key")?)
        }
        _ => None,
    };
    Ok(ServerSettings {
        connections_max: limits.connections_max,
        connections_per_address_max: limits.connections_per_address_max,
        trusted_proxies: api.trusted_proxies.clone(),
        proxies_only: api.proxies_only(),
        head_timeout: limits.head_timeout(),
        write_timeout: limits.write_timeout(),
        certificates,
        connections,
    })
}
