//! `laurel all`, and each role alone.

use crate::{
    app::{App, asked_to_stop},
    config::Config,
    environment::Environment,
    roles::Role,
};

/// Runs roles until Ctrl-C or SIGTERM.
pub(crate) async fn run(config: Config, environment: Environment, wanted: &[Role]) -> anyhow::Result<()> {
    let app = App::connect(config, environment).await?;
    let started = app.start(wanted).await;
    if started.is_ok() {
        tokio::select! {
            () = asked_to_stop() => tracing::info!("finishing what has begun"),
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
