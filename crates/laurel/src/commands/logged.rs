//! Commands in the audit log: who has which command run, before it does anything. Three are kept behind what they do: `pause`, whose caller is
//! in a hurry, `recover`, before which a database is not to be written to, and `chain rebase`, which begins when every event was read.

use std::collections::BTreeSet;

use anyhow::Context as _;
use laurel_api::list_staff;
use laurel_bus::find_letter;
use laurel_events::{Clock, OrgId, Subject, SystemClock};
use laurel_ledger::{Context, Deed, StaffRecord, commit, find_organisation, orgs_of_subjects, record_staff};
use nix::unistd::{Uid, User as Account, gethostname};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::json;
use sqlx::PgConnection;

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

/// Whose matter a command is: their auditors see the record.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Whose {
    /// All organisations'.
    Everybody,
    /// That of this name.
    Org(String),
    /// That of somebody who works there.
    Staff(String),
    /// That whose campaign it is about; everybody's, if it is about none.
    Subject,
    /// Those whose events the letters hold.
    Letters(Vec<i64>),
}

/// A command that changes something that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Logged {
    pub(super) when: When,
    action: &'static str,
    about: Subject,
    whose: Whose,
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
            Command::User(User::Reseal) => ("laurel user reseal", of_command("user")),
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
            // What they change is no database of players' money.
            Command::Demo(_) | Command::Devnet(_) | Command::Deploy(_) | Command::Chain(_) => return None,
            // Services keep what they are asked for.
            Command::All | Command::Api | Command::Campaign | Command::GrantSaga => return None,
            Command::ChainWatcher | Command::Views => return None,
            // What they do needs no database, or is done to the log itself.
            Command::Token(_) | Command::Migrate { .. } => return None,
            Command::Audit(_) | Command::Openapi { .. } | Command::Completions { .. } => return None,
        };
        let when = match command {
            Command::Pause(_) | Command::Recover | Command::Chain(_) => When::Behind,
            _ => When::Before,
        };
        let whose = match command {
            Command::User(User::Add { org, .. }) => Whose::Org(org.as_str().to_owned()),
            Command::User(
                User::Password { name, .. }
                | User::Disable { name }
                | User::Enable { name }
                | User::ForgetTotp { name },
            ) => Whose::Staff(name.as_str().to_owned()),
            Command::Dlq(Dlq::Redrive { ids, all: false, .. } | Dlq::Drop { ids }) => {
                Whose::Letters(ids.clone())
            }
            Command::Pause(_) | Command::Unpause(_) => Whose::Subject,
            _ => Whose::Everybody,
        };
        Some(Self { when, action, about, whose, arguments: arguments.collect() })
    }

    /// Keeps it.
    pub(super) async fn keep(&self, config: &Config) -> anyhow::Result<()> {
        let pool = connect::database(&config.database.url, 1).await?;
        connect::require_current_schema(&pool).await?;
        let mut tx = pool.begin().await?;
        let record = |org| StaffRecord {
            org,
            subject: caller(),
            role: ROLE.to_owned(),
            address: None,
            request_id: None,
            action: self.action.to_owned(),
            about: self.about.clone(),
            deed: Deed::Acted { before: None, after: Some(json!({ "arguments": self.arguments })) },
        };
        let records = self.orgs(&mut tx).await?.into_iter().map(record).collect();
        let context = Context::at(SystemClock.now());
        record_staff(&mut tx, &context, &mut StdRng::from_os_rng(), records).await?;
        commit(tx, "command_logged").await.context("the audit log")
    }

    /// Whose auditors see it; `None` is everybody's.
    async fn orgs(&self, conn: &mut PgConnection) -> anyhow::Result<BTreeSet<Option<OrgId>>> {
        let subjects = match &self.whose {
            Whose::Everybody => Vec::new(),
            Whose::Org(name) => return Ok([find_organisation(conn, name).await?].into()),
            Whose::Staff(name) => {
                let staff = list_staff(conn).await?.into_iter().find(|staff| staff.name == *name);
                let org = match staff {
                    Some(staff) => find_organisation(conn, &staff.org).await?,
                    None => None,
                };
                return Ok([org].into());
            }
            Whose::Subject => vec![self.about.clone()],
            Whose::Letters(ids) => {
                let mut subjects = Vec::new();
                for id in ids {
                    subjects.extend(
                        find_letter(conn, *id).await?.map(|letter| Subject::from_text(letter.subject)),
                    );
                }
                subjects
            }
        };
        let orgs = orgs_of_subjects(conn, &subjects).await?;
        let whose: BTreeSet<_> = subjects.iter().map(|subject| orgs.get(subject).copied()).collect();
        Ok(if whose.is_empty() { [None].into() } else { whose })
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
        assert_eq!(added.whose, Whose::Org("studio".to_owned()));
        assert_eq!(logged("laurel user disable ada").unwrap().whose, Whose::Staff("ada".to_owned()));
        assert_eq!(logged("laurel dlq drop 7 8").unwrap().whose, Whose::Letters(vec![7, 8]));
        assert_eq!(logged("laurel dlq redrive --all").unwrap().whose, Whose::Everybody);
        assert!(logged("laurel user reseal").is_some());
        assert_eq!(added.arguments, ["user", "add", "ada", "--role", "manager", "--org", "studio"]);
        let paused = logged("laurel pause --campaign 7").unwrap();
        assert_eq!((paused.when, paused.about.as_str()), (When::Behind, "campaign:7"));
        let retired = logged("laurel lanes retire 3").unwrap();
        assert_eq!(retired.about.as_str(), "lane:3");
    }
}
