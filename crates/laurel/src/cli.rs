//! The command line.

use std::path::PathBuf;

use alloy::primitives::Address;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use laurel_api::Role as TokenRole;
use laurel_events::CampaignId;
use laurel_ledger::Stop;

use crate::{
    logging::LogFormat,
    names::{OrgName, SubjectName},
    output::{JsonTo, STDOUT},
};

/// Game rewards, paid on chain exactly once, provably.
#[derive(Debug, Parser)]
#[command(name = "laurel", version, about, propagate_version = true)]
pub(crate) struct Cli {
    /// Configuration (TOML). Every key also as an environment variable: LAUREL_SECTION__KEY, and LAUREL_CHAINS__0__KEY of
    /// the first chain
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// How log lines look
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,

    /// Print the result as JSON, or write it to a file
    #[arg(
        long, global = true, value_name = "FILE", num_args = 0..=1, require_equals = true,
        default_missing_value = STDOUT
    )]
    pub(crate) json: Option<JsonTo>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The main job on real parts, with nothing to set up
    Demo(Demo),
    /// PostgreSQL and Anvil, migrated and deployed, until Ctrl-C
    Devnet(Devnet),
    /// Deploy vault and token; the deployer's key is in LAUREL_DEPLOYER_KEY
    Deploy(Deploy),
    /// Bring the database's schema up to this build, or some steps down
    Migrate {
        /// Undo this many migrations instead
        #[arg(long, value_name = "STEPS")]
        down: Option<usize>,
    },
    /// All roles in one process
    All,
    /// Serve REST
    Api,
    /// Decide on outcomes and keep the books
    Campaign,
    /// Queue, sign and send
    GrantSaga,
    /// Follow chains
    ChainWatcher,
    /// Keep projections
    Views,
    /// Mint an access token with the configured key
    Token(Token),
    /// Organisations
    #[command(subcommand)]
    Org(Org),
    /// People who work here and sign in with a password
    #[command(subcommand)]
    User(User),
    /// Check the ledger against the chain; exit code 1 on any finding
    #[command(subcommand)]
    Audit(Audit),
    /// Dead letters
    #[command(subcommand)]
    Dlq(Dlq),
    /// Accounts that sign settlements
    #[command(subcommand)]
    Lanes(Lanes),
    /// Stop payouts now; with the guardian's key the vaults are paused, too
    Pause(Paused),
    /// Have payouts go on; with the owner's key the vaults pay again
    Unpause(Paused),
    /// Alerts to operators
    #[command(subcommand)]
    Alerts(Alerts),
    /// Compare the database with the chain after it was restored, and have payouts go on; may be stopped and run again
    Recover,
    /// Drop a view and have it rebuilt from the journal
    Replay {
        /// The view
        view: View,
    },
    /// Print the OpenAPI document, or what it breaks for those who go by another one
    Openapi {
        /// A document of before: prints what breaks for those who go by it, and ends with 1 if anything does
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
    },
    /// Follow a chain that has taken back what was final, or steer a development chain
    Chain(Chain),
    /// Print a shell's completions
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Players of the synthetic game server
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) players: u32,
    /// Outcomes that it reports
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) outcomes: u32,
    /// End when the table is shown, instead of staying up until Ctrl-C
    #[arg(long)]
    pub(crate) exit: bool,
    /// Print the figures as JSON instead of the table, or write them to a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = STDOUT)]
    pub(crate) json: Option<JsonTo>,
}

#[derive(Debug, Args)]
pub(crate) struct Devnet {
    /// Fill in campaigns, players and outcomes
    #[arg(long)]
    pub(crate) seed: bool,
    /// Print the settings as JSON, or write them to a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = STDOUT)]
    pub(crate) json: Option<JsonTo>,
    /// Write a configuration here that `laurel all --config` takes
    #[arg(long, value_name = "FILE")]
    pub(crate) config_out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// The node
    #[arg(long)]
    pub(crate) rpc_url: String,
    /// Accounts that may settle
    #[arg(long, required = true, num_args = 1..)]
    pub(crate) lane: Vec<Address>,
    /// Print the addresses as JSON, or write them to a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = STDOUT)]
    pub(crate) json: Option<JsonTo>,
}

#[derive(Debug, Args)]
pub(crate) struct Token {
    /// player, manager, auditor, operator or game-server
    #[arg(long)]
    pub(crate) role: TokenRole,
    /// Whose token it is; a player's own id, for the role player
    #[arg(long)]
    pub(crate) subject: SubjectName,
    /// Their organisation
    #[arg(long, default_value = "default")]
    pub(crate) org: OrgName,
    /// How long it is good: 15m, 1h, 30s
    #[arg(long, default_value = "15m", value_parser = parse_ttl)]
    pub(crate) ttl: chrono::TimeDelta,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Org {
    /// Add an organisation
    Add {
        /// Lower-case letters, digits and hyphens
        name: OrgName,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Add somebody
    Add {
        /// What they sign in as
        name: SubjectName,
        /// manager, auditor or operator
        #[arg(long, value_parser = parse_staff_role)]
        role: TokenRole,
        /// Their organisation
        #[arg(long, default_value = "default")]
        org: OrgName,
        /// Read their password from standard input, and make none up
        #[arg(long)]
        password_stdin: bool,
    },
    /// Everybody
    List,
    /// Give somebody another password; their sign-ins end
    Password {
        /// Who
        name: SubjectName,
        /// Read it from standard input, and make none up
        #[arg(long)]
        password_stdin: bool,
    },
    /// Keep somebody out; their sign-ins end at once
    Disable {
        /// Who
        name: SubjectName,
    },
    /// Let somebody in again, also one whom nobody can sign in as for a while
    Enable {
        /// Who
        name: SubjectName,
    },
    /// Ask no authenticator's code of somebody any more, who has lost it
    ForgetTotp {
        /// Who
        name: SubjectName,
    },
    /// Encrypt authenticators' secrets anew under the first key of auth.secrets_key: the others are not needed then
    Reseal,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Add up every transfer, compare with the balances and with the chain
    Books {
        /// Print the report as JSON, or write it to a file
        #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = STDOUT)]
        json: Option<JsonTo>,
    },
    /// Read the chain once more and compare every place, batch, transfer and counter with it
    Reconcile {
        /// Read everything again, from the vaults' first block and the journal's first chunk
        #[arg(long)]
        full: bool,
        /// Compare this campaign only
        #[arg(long, value_name = "ID")]
        campaign: Option<CampaignId>,
        /// Print the report as JSON, or write it to a file
        #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = STDOUT)]
        json: Option<JsonTo>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Alerts {
    /// The alerts that are raised
    List,
    /// Say that what an alert tells of was dealt with; a campaign's queue goes on with its last unexplained payment
    Acknowledge {
        /// The alert's code, such as payment_without_hold
        code: String,
        /// What it is about, as it is listed
        about: String,
    },
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true)))]
pub(crate) struct Paused {
    /// Everything
    #[arg(long, group = "what")]
    pub(crate) all: bool,
    /// What goes to a chain
    #[arg(long, value_name = "ID", group = "what")]
    pub(crate) chain: Option<u64>,
    /// What a campaign pays
    #[arg(long, value_name = "ID", group = "what")]
    pub(crate) campaign: Option<CampaignId>,
    /// Why, for those who see the alert
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

impl Paused {
    /// What is meant.
    pub(crate) fn stop(&self) -> Stop {
        match (self.chain, self.campaign) {
            (Some(chain), _) => Stop::Chain(chain),
            (None, Some(campaign)) => Stop::Campaign(campaign),
            (None, None) => Stop::All,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Lanes {
    /// All lanes
    List,
    /// Add one; whoever runs the role grant-saga and finds the key there too drives it within seconds
    Add {
        /// Where its key is: env:NAME or keystore:PATH
        source: String,
        /// Its chain, where several are configured
        #[arg(long, value_name = "ID")]
        chain: Option<u64>,
    },
    /// Give it no more batches; those it has are seen to
    Retire {
        /// Its number
        id: i32,
    },
    /// Have it go on after it was parked, halted or retired
    Resume {
        /// Its number
        id: i32,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dlq {
    /// The letters that are not done
    List,
    /// One letter with its event
    Show {
        /// Its number
        id: i64,
    },
    /// Try dead letters again
    Redrive {
        /// Their numbers
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        ids: Vec<i64>,
        /// All that are dead
        #[arg(long)]
        all: bool,
        /// Of these, only those of one stage
        #[arg(long, requires = "all", value_name = "NAME")]
        stage: Option<String>,
    },
    /// Give letters up for good
    Drop {
        /// Their numbers
        #[arg(required = true)]
        ids: Vec<i64>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Chain {
    /// The development chain's node, for mine, reorg and warp; http://127.0.0.1:8545 if not given
    #[arg(long, global = true)]
    pub(crate) rpc_url: Option<String>,
    #[command(subcommand)]
    pub(crate) action: ChainAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChainAction {
    /// Have the ledger follow a halted chain that has taken back what was final; may be stopped and run again
    ///
    /// Works on the configured database and asks the configured endpoints, once a quorum of them agrees on what is final
    /// there. What the chain has taken back is undone in the books, and paid again with the same sequence numbers. Roles may run,
    /// and campaign and grant-saga have to.
    Rebase {
        /// Which, where several are configured
        #[arg(long, value_name = "ID")]
        chain: Option<u64>,
        /// Only say what would be undone
        #[arg(long, conflicts_with = "resume")]
        dry_run: bool,
        /// Nothing is to be undone, because endpoints that were wrong are gone: end the halt
        #[arg(long)]
        resume: bool,
    },
    /// Mine blocks, on a development chain
    Mine {
        /// How many
        blocks: u64,
    },
    /// Replace the newest blocks by others, on a development chain
    Reorg {
        /// How many
        depth: u64,
    },
    /// Move a development chain's time ahead
    Warp {
        /// By how much
        seconds: u64,
    },
}

/// The longest token: a day.
const TTL_SECONDS_MAX: i64 = 86_400;

/// Players and game servers have no passwords.
fn parse_staff_role(text: &str) -> Result<TokenRole, String> {
    match text.parse()? {
        role @ (TokenRole::Manager | TokenRole::Auditor | TokenRole::Operator) => Ok(role),
        role => Err(format!("a {role} has no password; use manager, auditor or operator")),
    }
}

fn parse_ttl(text: &str) -> Result<chrono::TimeDelta, String> {
    let problem = || "use a number and s, m or h, such as 15m; at most 24h".to_owned();
    let mut number = text.chars();
    let unit = number.next_back();
    let number: i64 = number.as_str().parse().map_err(|_| problem())?;
    let seconds = match unit {
        Some('s') => Some(number),
        Some('m') => number.checked_mul(60),
        Some('h') => number.checked_mul(3_600),
        _ => None,
    };
    let seconds = seconds.filter(|seconds| (1..=TTL_SECONDS_MAX).contains(seconds)).ok_or_else(problem)?;
    Ok(chrono::TimeDelta::seconds(seconds))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use rstest::rstest;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[rstest]
    #[case("15m", Some(900))]
    #[case("24h", Some(86_400))]
    #[case("25h", None)]
    #[case("0s", None)]
    #[case("-5m", None)]
    #[case("15", None)]
    #[case("", None)]
    #[case("é", None)]
    fn times_to_live(#[case] text: &str, #[case] seconds: Option<i64>) {
        assert_eq!(parse_ttl(text).ok().map(|ttl| ttl.num_seconds()), seconds);
    }

    #[rstest]
    #[case(&["audit", "books"], None)]
    #[case(&["audit", "books", "--json"], Some(JsonTo::Stdout))]
    #[case(&["audit", "books", "--json", "f"], Some(JsonTo::File("f".into())))]
    #[case(&["audit", "--json", "books"], Some(JsonTo::Stdout))]
    #[case(&["--json", "audit", "books"], Some(JsonTo::Stdout))]
    #[case(&["--json=f", "audit", "books"], Some(JsonTo::File("f".into())))]
    #[case(&["demo", "--json", "--exit"], Some(JsonTo::Stdout))]
    #[case(&["demo", "--json", "f", "--exit"], Some(JsonTo::File("f".into())))]
    #[case(&["dlq", "show", "--json", "5"], Some(JsonTo::Stdout))]
    #[case(&["dlq", "list", "--json=f"], Some(JsonTo::File("f".into())))]
    fn json_is_asked_for_anywhere(#[case] arguments: &[&str], #[case] json: Option<JsonTo>) {
        let cli = Cli::try_parse_from(["laurel"].iter().chain(arguments)).unwrap();
        assert_eq!(cli.json, json);
    }
}

/// What can be built anew.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum View {
    /// What became of the outcomes that campaigns met
    CampaignStats,
    /// The steps of grants and batches
    TransactionHistory,
}

impl From<View> for laurel_views::View {
    fn from(view: View) -> Self {
        match view {
            View::CampaignStats => Self::CampaignStats,
            View::TransactionHistory => Self::TransactionHistory,
        }
    }
}
