//! The role `api`.

use std::net::SocketAddr;

use anyhow::Context;
use laurel_api::{ApiParts, ApiState, follow_statistics, router};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use tokio::net::TcpListener;

use crate::app::App;

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
        shutdown: app.shutdown.clone(),
    };
    let mut seed = [0; 32];
    StdRng::from_os_rng().fill_bytes(&mut seed);
    let state = ApiState::new(parts, seed);
    app.spawn(follow_statistics(state.clone()));
    // Handed a bare router, `axum::serve` makes a copy of every route for each connection.
    let service = router(state).into_make_service_with_connect_info::<SocketAddr>();
    let shutdown = app.shutdown.clone();
    app.spawn(async move {
        let served = axum::serve(listener, service).with_graceful_shutdown(shutdown.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "REST is not served any more");
        }
    });
    Ok(address)
}
