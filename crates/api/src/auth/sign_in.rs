//! Signing in with a password, and what comes of any sign-in.

use chrono::{DateTime, TimeDelta, Utc};
use laurel_ledger::commit;
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    AuthError, AuthMode, Claims, Opened, Owner, Password, Role, SecretsKey, SigningIn, open_session,
    staff::{count_failures, lock_staff, secrets_of, use_totp_step},
    token::ACCESS_LIFETIME,
    totp::Codes,
};
use crate::{
    ApiState, Problem,
    staff_log::{Origin, keep_sign_in},
};

/// How often in a row somebody may come with the wrong secret before nobody may try for a while.
const FAILURES_MAX: i32 = 5;

/// For how long: too long to guess. Whoever knows a name can keep it locked, which `laurel user enable` lifts.
const LOCKED_FOR: TimeDelta = TimeDelta::minutes(15);

/// What a client gets to come in with.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct Tokens {
    /// Send it with every request: `authorization: Bearer …`.
    access_token: String,
    /// Bearer.
    token_type: &'static str,
    /// For how many seconds the access token is good.
    expires_in: i64,
    /// Good once, for seven days: it answers the next pair of tokens.
    refresh_token: String,
}

/// Tokens of a session.
pub(crate) fn tokens(
    state: &ApiState,
    now: DateTime<Utc>,
    opened: &Opened,
    role: Role,
    org: String,
    subject: String,
) -> Result<Tokens, Problem> {
    let AuthMode::Jwt(keys) = &state.auth else {
        return Err(Problem::conflict("sign_in_is_off", "nobody signs in here: call without a token"));
    };
    let key = keys.first().ok_or_else(|| Problem::internal("there is no key to sign tokens with"))?;
    let claims = Claims::new(now, ACCESS_LIFETIME, role, org, subject, Some(opened.session));
    Ok(Tokens {
        access_token: key.sign(&claims)?,
        token_type: "Bearer",
        expires_in: ACCESS_LIFETIME.num_seconds(),
        refresh_token: opened.refresh.reveal().to_owned(),
    })
}

/// What somebody comes with.
pub(crate) struct Credentials {
    pub(crate) name: String,
    pub(crate) password: String,
    pub(crate) totp: Option<String>,
}

/// The same for a wrong name, password or code, and while it is locked. Only whoever has the right password hears that a code is asked for.
fn wrong_credentials() -> Problem {
    let detail = format!(
        "the name, the password or the code is wrong; after {FAILURES_MAX} such attempts none counts for {} minutes",
        LOCKED_FOR.num_minutes()
    );
    Problem::unauthorized("wrong_credentials", detail)
}

/// Begins a session for whoever has that name, password and code.
pub(crate) async fn sign_in(
    state: &ApiState,
    origin: &Origin,
    credentials: Credentials,
) -> Result<Tokens, Problem> {
    let Credentials { name, password, totp } = credentials;
    // Nobody is called that, and PostgreSQL would not even look.
    if name.contains('\0') {
        return Err(wrong_credentials());
    }
    let password = Password::given(password).ok_or_else(wrong_credentials)?;
    let secrets = secrets_of(&mut *state.pool.acquire().await?, &name).await?;
    let (id, hash) = secrets.map(|secrets| (secrets.id, secrets.password_hash)).unzip();
    // Nothing is held meanwhile: it takes long on purpose.
    let matches = password.matches(hash.clone().flatten()).await?;
    let Some(id) = id else { return Err(wrong_credentials()) };
    let now = state.now();
    let mut tx = state.pool.begin().await?;
    let staff = lock_staff(&mut tx, id).await?;
    if staff.disabled || is_locked(&staff, now) {
        return Err(wrong_credentials());
    }
    // A password that was changed meanwhile is not the one that was compared.
    let matches = matches && hash.flatten() == staff.password_hash;
    let checked = match (matches, totp) {
        (false, _) => Checked::Wrong,
        (true, None) if staff.totp => {
            return Err(Problem::unauthorized("totp_required", "send the authenticator's code as `totp`"));
        }
        (true, code) => check_code(state, &mut tx, now, &staff, code.as_deref()).await?,
    };
    if checked == Checked::Wrong {
        fail(&mut tx, now, &staff).await?;
        keep_sign_in(&mut tx, state, now, origin, &staff, "refused").await?;
        commit(tx, "sign_in_failed").await?;
        tracing::warn!(staff.id = %id, "somebody came with the wrong secret");
        return Err(wrong_credentials());
    }
    count_failures(&mut tx, id, 0, None).await?;
    let mut rng = state.rng().await;
    let opened = open_session(&mut tx, now, &mut rng, Owner::Staff(id)).await?;
    // What is done is journaled with their id, which says nothing once their row is gone.
    let tokens = tokens(state, now, &opened, staff.role, staff.org.clone(), id.to_string())?;
    keep_sign_in(&mut tx, state, now, origin, &staff, "signed_in").await?;
    commit(tx, "signed_in").await?;
    Ok(tokens)
}

/// Whether nobody may try for now.
pub(crate) fn is_locked(staff: &SigningIn, now: DateTime<Utc>) -> bool {
    staff.locked_until.is_some_and(|until| until > now)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Checked {
    Right,
    Wrong,
}

/// Whether the code is good, where one is asked for; it is used up then.
async fn check_code(
    state: &ApiState,
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    staff: &SigningIn,
    code: Option<&str>,
) -> Result<Checked, Problem> {
    let (true, Some(sealed)) = (staff.totp, &staff.totp_secret) else { return Ok(Checked::Right) };
    let secret = secrets_key(state)?.open(&about_totp(staff.id), sealed)?;
    let codes = Codes::of(secret, &staff.name)?;
    let Some(step) = codes.check(now, code.unwrap_or_default(), staff.totp_step) else {
        return Ok(Checked::Wrong);
    };
    use_totp_step(conn, staff.id, step).await?;
    Ok(Checked::Right)
}

/// Counts a failure; the last one that is allowed locks.
pub(crate) async fn fail(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    staff: &SigningIn,
) -> Result<(), AuthError> {
    let failures = staff.failures + 1;
    let (failures, locked_until) =
        if failures >= FAILURES_MAX { (0, Some(now + LOCKED_FOR)) } else { (failures, None) };
    count_failures(conn, staff.id, failures, locked_until).await
}

/// What a secret of somebody's authenticator is encrypted as.
pub(crate) fn about_totp(id: Uuid) -> String {
    format!("staff.totp_secret:{id}")
}

/// The key of secrets at rest.
pub(crate) fn secrets_key(state: &ApiState) -> Result<&SecretsKey, Problem> {
    state.secrets.as_ref().ok_or_else(|| {
        let detail = "no key for secrets is configured here: ask whoever runs this to set auth.secrets_key";
        Problem::conflict("no_secrets_key", detail)
    })
}
