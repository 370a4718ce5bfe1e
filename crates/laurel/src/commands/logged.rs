//! Commands in the audit log: who has which command run, before it does anything. Three are kept behind what they do: `pause`, whose caller is
//! in a hurry, `recover`, before which a database is not to be written to, and `chain rebase`, which begins when every event was read.

use anyhow::Context as _;
use laurel_events::{Clock, OrgId, Subject, SystemClock};
use laurel_ledger::{Context, Deed, StaffRecord, commit, find_organisation, record_staff};
use nix::unistd::{Uid, User as Account, gethostname};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::json;

use crate::{
    cli::{Alerts, Chain, ChainAction, Command, Dlq, Lanes, Org, User},
    config::Config,
    connect,
};

/// What whoever has a shell is: more than any role of the interface.
const ROLE: &str = "command-line";

/// When a command is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Before it does anything.
    Before,
    /// When it has done it.
    Behind,
}

/// A command that changes something that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Logged {
    pub(super) when: When,
    action: &'static str,
    about: Subject,
    /// The organisation that it is for; without, it is for all of them.
    org: Option<String>,
    /// As it was given.
    arguments: Vec<String>,
}

impl Logged {
    /// What is kept of a command that was given as `arguments`, if it changes something.
    pub(super) fn of(command: &Command, arguments: impl Iterator<Item = String>) -> Option<Self> {
        let of_command = |name: &str| Subject::new("command", name);
        let (action, about) = match command {
            Command::Org(Org::Add { .. }) => ("laurel org add", of_command("org")),
            Command::User(User::List) | Command::Dlq(Dlq::List | Dlq::Show { .. }) => return None,
            Command::Lanes(Lanes::List) | Command::Alerts(Alerts::List) => return None,
            Command::User(User::Add { .. }) => ("laurel user add", of_command("user")),
            Command::User(User::Password { .. }) => ("laurel user password", of_command("user")),
            Command::User(User::Disable { .. }) => ("laurel user disable", of_command("user")),
            Command::User(User::Enable { .. }) => ("laurel user enable", of_command("user")),
            Command::User(User::ForgetTotp { .. }) => ("laurel user forget-totp", of_command("user")),
            Command::Dlq(Dlq::Redrive { .. }) => ("laurel dlq redrive", of_command("dlq")),
            Command::Dlq(Dlq::Drop { .. }) => ("laurel dlq drop", of_command("dlq")),
            Command::Lanes(Lanes::Add { .. }) => ("laurel lanes add", of_command("lanes")),
            Command::Lanes(Lanes::Retire { id }) => ("laurel lanes retire", Subject::new("lane", id)),
            Command::Lanes(Lanes::Resume { id }) => ("laurel lanes resume", Subject::new("lane", id)),
            Command::Alerts(Alerts::Acknowledge { .. }) => {
                ("laurel alerts acknowledge", of_command("alerts"))
            }
            Command::Pause(paused) => ("laurel pause", Subject::from_text(paused.stop().about())),
            Command::Unpause(paused) => ("laurel unpause", Subject::from_text(paused.stop().about())),
            Command::Recover => ("laurel recover", of_command("recover")),
            Command::Replay { .. } => ("laurel replay", of_command("replay")),
            Command::Chain(Chain { action: ChainAction::Rebase { .. }, .. }) => {
                ("laurel chain rebase", of_command("chain"))
            }
            _ => return None,
        };
        let when = match command {
            Command::Pause(_) | Command::Recover | Command::Chain(_) => When::Behind,
            _ => When::Before,
        };
        let org = match command {
            Command::User(User::Add { org, .. }) => Some(org.as_str().to_owned()),
            _ => None,
        };
        Some(Self { when, action, about, org, arguments: arguments.collect() })
    }

    /// Keeps it.
    pub(super) async fn keep(&self, config: &Config) -> anyhow::Result<()> {
        let pool = connect::database(&config.database.url, 1).await?;
        connect::require_current_schema(&pool).await?;
        let mut tx = pool.begin().await?;
        let org: Option<OrgId> = match &self.org {
            Some(name) => find_organisation(&mut tx, name).await?,
            None => None,
        };
        let record = StaffRecord {
            org,
            subject: caller(),
            role: ROLE.to_owned(),
            address: None,
            request_id: None,
            action: self.action.to_owned(),
            about: self.about.clone(),
            deed: Deed::Acted { before: None, after: Some(json!({ "arguments": self.arguments })) },
        };
        let context = Context::at(SystemClock.now());
        record_staff(&mut tx, &context, &mut StdRng::from_os_rng(), vec![record]).await?;
        commit(tx, "command_logged").await.context("the audit log")
    }
}

/// The account that runs the command, and its machine.
fn caller() -> String {
    let uid = Uid::current();
    let account =
        Account::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |account| account.name);
    let host = gethostname().ok().and_then(|host| host.into_string().ok());
    host.map_or(account.clone(), |host| format!("{account}@{host}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn logged(line: &str) -> Option<Logged> {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let cli = Cli::try_parse_from(&arguments).unwrap_or_else(|error| panic!("{error}"));
        Logged::of(&cli.command, arguments.into_iter().skip(1))
    }

    #[test]
    fn what_changes_something_is_kept_and_what_reads_is_not() {
        for line in
            ["laurel user list", "laurel lanes list", "laurel dlq show 1", "laurel audit books", "laurel api"]
        {
            assert_eq!(logged(line), None, "{line}");
        }
        let added = logged("laurel user add ada --role manager --org studio").unwrap();
        assert_eq!(
            (added.when, added.action, added.about.as_str()),
            (When::Before, "laurel user add", "command:user")
        );
        assert_eq!(added.org.as_deref(), Some("studio"));
        assert_eq!(added.arguments, ["user", "add", "ada", "--role", "manager", "--org", "studio"]);
        let paused = logged("laurel pause --campaign 7").unwrap();
        assert_eq!((paused.when, paused.about.as_str()), (When::Behind, "campaign:7"));
        let retired = logged("laurel lanes retire 3").unwrap();
        assert_eq!(retired.about.as_str(), "lane:3");
    }
}
