//! What each command does.

mod alerts;
mod audit;
mod chain;
mod demo;
pub(crate) mod deploy;
mod devnet;
mod dlq;
mod lanes;
mod logged;
mod migrate;
mod org;
mod pause;
mod rebase;
mod recover;
mod replay;
mod serve;
mod token;
mod user;

use std::{path::Path, time::Duration};

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use tokio_util::sync::CancellationToken;

use self::{
    logged::{Logged, When},
    rebase::How,
};
use crate::{
    cli::{Chain, ChainAction, Cli, Command},
    config::Config,
    environment::Environment,
    output::{JsonTo, answer, note, print},
    roles::Role,
};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As it should.
    Fine,
    /// It found something that should not be.
    Finding,
}

/// Runs the command until `stop`, with a record in the audit log if it changes something.
pub(crate) async fn run(cli: Cli, stop: &CancellationToken) -> anyhow::Result<Outcome> {
    let logged = Logged::of(&cli.command, std::env::args().skip(1));
    let Some(logged) = logged else { return obey(cli, stop).await };
    let config = Config::load(cli.config.as_deref(), &Environment::process())?;
    let kept = async || within(config.database.answer_timeout(), logged.keep(&config)).await;
    match logged.when {
        When::Before => {
            until(stop, kept()).await?;
            obey(cli, stop).await
        }
        When::Behind => {
            let done = obey(cli, stop).await;
            // Also when it was interrupted: what it had done by then is done.
            if let Err(error) = kept().await {
                tracing::warn!(error = %format!("{error:#}"), "the audit log has no record of this command");
            }
            done
        }
    }
}

/// Does what the command says.
async fn obey(cli: Cli, stop: &CancellationToken) -> anyhow::Result<Outcome> {
    let environment = Environment::process();
    let config = || Config::load(cli.config.as_deref(), &environment);
    let serve = async |roles| serve::run(config()?, environment.clone(), roles, stop).await;
    let json = cli.json.as_ref();
    match cli.command {
        Command::Demo(demo) => return demo::run(&demo, stop).await,
        Command::Devnet(devnet) => devnet::run(&devnet, stop).await?,
        Command::Deploy(deploy) => until(stop, deploy::run(deploy, &environment)).await?,
        Command::Migrate { down } => within(LONG, until(stop, migrate::run(&config()?, down, json))).await?,
        Command::All => serve(Role::ALL).await?,
        Command::Api => serve(&[Role::Api]).await?,
        Command::Campaign => serve(&[Role::Campaign]).await?,
        Command::GrantSaga => serve(&[Role::GrantSaga]).await?,
        Command::ChainWatcher => serve(&[Role::ChainWatcher]).await?,
        Command::Views => serve(&[Role::Views]).await?,
        Command::Token(token) => token::run(&config()?, &environment, &token, json)?,
        Command::Org(org) => {
            let config = config()?;
            within(config.database.answer_timeout(), until(stop, org::run(&config, org, json))).await?;
        }
        Command::User(user) => {
            let config = config()?;
            let run = user::run(&config, &environment, user, json);
            within(config.database.answer_timeout(), until(stop, run)).await?;
        }
        Command::Audit(audit) => return within(AUDIT, until(stop, audit::run(&config()?, audit))).await,
        Command::Dlq(dlq) => {
            let config = config()?;
            within(config.database.answer_timeout(), until(stop, dlq::run(&config, dlq, json))).await?;
        }
        Command::Lanes(lanes) => {
            within(LONG, until(stop, lanes::run(&config()?, &environment, lanes, json))).await?;
        }
        Command::Pause(paused) => until(stop, pause::pause(&config()?, &environment, &paused, json)).await?,
        Command::Unpause(paused) => {
            within(LONG, until(stop, pause::unpause(&config()?, &environment, &paused, json))).await?;
        }
        Command::Alerts(alerts) => {
            let config = config()?;
            within(config.database.answer_timeout(), until(stop, alerts::run(&config, alerts, json))).await?;
        }
        Command::Recover => return until(stop, recover::run(&config()?, json)).await,
        Command::Replay { view } => within(LONG, until(stop, replay::run(&config()?, view, json))).await?,
        Command::Openapi { against: None } => openapi(json)?,
        Command::Openapi { against: Some(file) } => return openapi_against(&file, json),
        Command::Chain(Chain { rpc_url, action: ChainAction::Rebase { chain, dry_run, resume } }) => {
            anyhow::ensure!(
                rpc_url.is_none(),
                "rebase asks the endpoints of the configuration: see chains.rpc_urls"
            );
            until(stop, rebase::run(&config()?, chain, How { dry_run, resume }, json)).await?;
        }
        Command::Chain(Chain { rpc_url, action }) => until(stop, chain::run(rpc_url, action, json)).await?,
        Command::Completions { shell } => completions(shell)?,
    }
    Ok(Outcome::Fine)
}

/// Runs what does one thing and ends; if it is stopped before, it has not done it.
async fn until<T>(
    stop: &CancellationToken,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        done = work => done,
        () = stop.cancelled() => anyhow::bail!("stopped before it was done"),
    }
}

/// What takes longer than a statement or two, and waits for a chain or for much to be read, is given up after that.
const LONG: Duration = Duration::from_secs(3_600);

/// A reconciliation of everything begins again when it is given up: it reads a chain from the deployment on.
const AUDIT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Gives `work` up after so long: a connection that says nothing any more would keep it for ever.
async fn within<T>(limit: Duration, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let Ok(done) = tokio::time::timeout(limit, work).await else {
        anyhow::bail!("given up after {limit:?}: nobody knows how much of it was done")
    };
    done
}

fn openapi(json: Option<&JsonTo>) -> anyhow::Result<()> {
    let document = laurel_api::openapi();
    let text = serde_json::to_string_pretty(&document)?;
    answer(json, &document, || text)
}

/// What the document breaks for those who go by an older one.
fn openapi_against(file: &Path, json: Option<&JsonTo>) -> anyhow::Result<Outcome> {
    let before = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let before = serde_json::from_slice(&before).with_context(|| format!("{} is no JSON", file.display()))?;
    let broken = laurel_api::breaking_changes(&before, &serde_json::to_value(laurel_api::openapi())?);
    answer(json, &serde_json::json!({ "breaking": broken }), || match broken[..] {
        [] => "Nothing breaks.".to_owned(),
        _ => broken.join("\n"),
    })?;
    Ok(if broken.is_empty() { Outcome::Fine } else { Outcome::Finding })
}

fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "laurel", &mut script);
    print(String::from_utf8(script)?.trim_end())
}
