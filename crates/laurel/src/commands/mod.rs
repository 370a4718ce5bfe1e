//! What each command does.

mod audit;
mod chain;
mod demo;
pub(crate) mod deploy;
mod devnet;
mod dlq;
mod migrate;
mod org;
mod replay;
mod serve;
mod token;

use clap::CommandFactory;

use crate::{
    cli::{Cli, Command},
    config::Config,
    environment::Environment,
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

/// Runs the command.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<Outcome> {
    let environment = Environment::process();
    let config = || Config::load(cli.config.as_deref(), &environment);
    match cli.command {
        Command::Demo(demo) => return demo::run(demo).await,
        Command::Devnet(devnet) => devnet::run(devnet).await?,
        Command::Deploy(deploy) => deploy::run(deploy, &environment).await?,
        Command::Migrate { down } => migrate::run(&config()?, down).await?,
        Command::All => serve::run(config()?, environment.clone(), Role::ALL).await?,
        Command::Api => serve::run(config()?, environment.clone(), &[Role::Api]).await?,
        Command::Campaign => serve::run(config()?, environment.clone(), &[Role::Campaign]).await?,
        Command::GrantSaga => serve::run(config()?, environment.clone(), &[Role::GrantSaga]).await?,
        Command::ChainWatcher => serve::run(config()?, environment.clone(), &[Role::ChainWatcher]).await?,
        Command::Views => serve::run(config()?, environment.clone(), &[Role::Views]).await?,
        Command::Token(token) => token::run(&config()?, &environment, &token)?,
        Command::Org(org) => org::run(&config()?, org).await?,
        Command::Audit(audit) => return audit::run(&config()?, audit).await,
        Command::Dlq(dlq) => dlq::run(&config()?, dlq).await?,
        Command::Replay { view } => replay::run(&config()?, view).await?,
        Command::Openapi => print(&serde_json::to_string_pretty(&laurel_api::openapi())?),
        Command::Chain(chain) => chain::run(chain).await?,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "laurel", &mut std::io::stdout());
        }
    }
    Ok(Outcome::Fine)
}

/// Tells a person what is going on.
#[expect(clippy::print_stderr, reason = "the one place that talks to the person at the terminal")]
fn note(text: &str) {
    eprintln!("{text}");
}

/// Prints a result. Everything else goes to stderr.
#[expect(clippy::print_stdout, reason = "the one place that prints results")]
fn print(text: &str) {
    println!("{text}");
}
