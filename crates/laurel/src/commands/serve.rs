//! `laurel all`, and each role alone.

use tokio_util::sync::CancellationToken;

use crate::{app::App, config::Config, environment::Environment, roles::Role};

/// Runs roles until `stop`, which also ends a start that is under way.
pub(crate) async fn run(
    config: Config,
    environment: Environment,
    wanted: &[Role],
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let app = tokio::select! {
        app = App::connect(config, environment) => app?,
        () = stop.cancelled() => return Ok(()),
    };
    let started = tokio::select! {
        started = app.start(wanted) => started.map(drop),
        () = stop.cancelled() => Ok(()),
    };
    if started.is_ok() {
        tokio::select! {
            () = stop.cancelled() => tracing::info!("finishing what has begun"),
            () = app.shutdown.cancelled() => {}
        }
    }
    let on_request = !app.shutdown.is_cancelled();
    app.stop().await?;
    started?;
    if !on_request {
        anyhow::bail!("a part of it ended by itself");
    }
    Ok(())
}
