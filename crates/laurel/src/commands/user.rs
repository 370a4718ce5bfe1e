//! `laurel user`

use std::io::{self, BufRead};

use anyhow::Context;
use laurel_api::{
    AuthError, Password, Role, Staff, add_staff, forget_totp, list_staff, reseal_totp, set_disabled,
    set_password,
};
use laurel_events::{Clock, SystemClock};
use laurel_ledger::find_organisation;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::{
    app::secrets_key,
    cli::User,
    config::Config,
    connect,
    environment::Environment,
    names::OrgName,
    output::{JsonTo, answer},
};

/// How many random bytes are in a password that is made up: as hard to guess as a key.
const RANDOM_BYTES: usize = 16;

/// Adds people, lists them, lets them in and keeps them out.
pub(crate) async fn run(
    config: &Config,
    environment: &Environment,
    user: User,
    json: Option<&JsonTo>,
) -> anyhow::Result<()> {
    let pool = connect::database(&config.database.url, 1).await?;
    connect::require_current_schema(&pool).await?;
    let mut rng = StdRng::from_os_rng();
    let now = SystemClock.now();
    let mut tx = pool.begin().await?;
    match user {
        User::Add { name, role, org, password_stdin } => {
            let secret = Chosen::read(password_stdin, &mut rng)?;
            add(&mut tx, &mut rng, &org, name.as_str(), role, &secret).await?;
            tx.commit().await?;
            let made = secret.shown();
            let told = json!({ "name": name.as_str(), "role": role, "org": org.as_str(), "password": made });
            answer(json, &told, || made.unwrap_or_else(|| format!("{} can sign in", name.as_str())))
        }
        User::Password { name, password_stdin } => {
            let secret = Chosen::read(password_stdin, &mut rng)?;
            let hash = secret.password()?.hash(&mut rng).await?;
            set_password(&mut tx, now, name.as_str(), &hash).await?;
            tx.commit().await?;
            let made = secret.shown();
            let told = json!({ "name": name.as_str(), "password": made });
            answer(json, &told, || made.unwrap_or_else(|| format!("{} has another password", name.as_str())))
        }
        User::List => {
            let everybody = list_staff(&mut tx).await?;
            let told: Vec<Value> = everybody.iter().map(row).collect();
            let lines: Vec<String> = everybody.iter().map(line).collect();
            answer(json, &told, || lines.join("\n"))
        }
        User::Disable { name } => {
            set_disabled(&mut tx, now, name.as_str(), true).await?;
            tx.commit().await?;
            done(json, name.as_str(), "cannot sign in any more")
        }
        User::Enable { name } => {
            set_disabled(&mut tx, now, name.as_str(), false).await?;
            tx.commit().await?;
            done(json, name.as_str(), "can sign in")
        }
        User::ForgetTotp { name } => {
            forget_totp(&mut tx, name.as_str()).await?;
            tx.commit().await?;
            done(json, name.as_str(), "signs in without a code")
        }
        User::Reseal => {
            let key = secrets_key(config, environment)?;
            let key = key.context("auth.secrets_key is not set: there is nothing to encrypt with")?;
            let resealed = reseal_totp(&mut tx, &mut rng, &key).await?;
            tx.commit().await?;
            answer(json, &json!({ "resealed": resealed }), || {
                format!("{resealed} secrets are under the first key of auth.secrets_key")
            })
        }
    }
}

/// A password for somebody: one that was given, or one that was made up and is shown once.
struct Chosen {
    text: String,
    made_up: bool,
}

impl Chosen {
    fn read(from_stdin: bool, rng: &mut StdRng) -> anyhow::Result<Self> {
        if from_stdin {
            let mut text = String::new();
            io::stdin().lock().read_line(&mut text).context("the password cannot be read")?;
            return Ok(Self { text: text.trim_end_matches(['\r', '\n']).to_owned(), made_up: false });
        }
        let mut random = [0; RANDOM_BYTES];
        rng.fill_bytes(&mut random);
        Ok(Self { text: alloy::primitives::hex::encode(random), made_up: true })
    }

    fn password(&self) -> Result<Password, AuthError> {
        Password::choose(self.text.clone())
    }

    fn shown(&self) -> Option<String> {
        self.made_up.then(|| self.text.clone())
    }
}

async fn add(
    conn: &mut PgConnection,
    rng: &mut StdRng,
    org: &OrgName,
    name: &str,
    role: Role,
    secret: &Chosen,
) -> anyhow::Result<()> {
    let found = find_organisation(conn, org.as_str()).await?;
    let id = found.with_context(|| format!("there is no organisation {}: laurel org add", org.as_str()))?;
    let hash = secret.password()?.hash(rng).await?;
    add_staff(conn, SystemClock.now(), rng, id, name, role, &hash).await?;
    Ok(())
}

fn row(staff: &Staff) -> Value {
    json!({
        "id": staff.id, "name": staff.name, "org": staff.org, "role": staff.role, "totp": staff.totp,
        "locked_until": staff.locked_until, "disabled_at": staff.disabled_at, "created_at": staff.created_at,
    })
}

fn line(staff: &Staff) -> String {
    let state = match (staff.disabled_at, staff.locked_until) {
        (Some(at), _) => format!("disabled since {at}"),
        (None, Some(until)) => format!("locked until {until}"),
        (None, None) => "active".to_owned(),
    };
    let code = if staff.totp { "password and code" } else { "password" };
    format!("{}\t{}\t{}\t{code}\t{state}", staff.name, staff.org, staff.role)
}

fn done(json: Option<&JsonTo>, name: &str, what: &str) -> anyhow::Result<()> {
    answer(json, &json!({ "name": name }), || format!("{name} {what}"))
}
