//! People who work here.

use chrono::{DateTime, Utc};
use laurel_events::{OrgId, time_ordered};
use rand::RngCore;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{AuthError, Ended, Role, end_sessions_of};

/// The issuer of those who sign in with a password of ours.
const ISSUER: &str = "laurel";

/// Somebody who works here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staff {
    /// Their id.
    pub id: Uuid,
    /// What they are called.
    pub name: String,
    /// Their organisation's name.
    pub org: String,
    /// What they are.
    pub role: Role,
    /// Whether a code is asked of them besides the password.
    pub totp: bool,
    /// Until when nobody can sign in as them, because somebody tried too often.
    pub locked_until: Option<DateTime<Utc>>,
    /// Since when they cannot sign in at all.
    pub disabled_at: Option<DateTime<Utc>>,
    /// Since when they are here.
    pub created_at: DateTime<Utc>,
}

/// Adds somebody who signs in with the password of that hash. Returns their id.
///
/// # Errors
/// [`AuthError::NameTaken`], or if the database does not answer.
pub async fn add_staff(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    rng: &mut (dyn RngCore + Send),
    org: OrgId,
    name: &str,
    role: Role,
    password_hash: &str,
) -> Result<Uuid, AuthError> {
    let id = time_ordered(now, rng);
    let added = sqlx::query!(
        r#"
        INSERT INTO staff (id, org, issuer, subject, role, password_hash, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (issuer, subject) DO NOTHING
        "#,
        id,
        org.0,
        ISSUER,
        name,
        role.to_string(),
        password_hash,
        now,
    )
    .execute(conn)
    .await?;
    if added.rows_affected() == 1 { Ok(id) } else { Err(AuthError::NameTaken(name.to_owned())) }
}

/// Everybody, by name.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_staff(conn: &mut PgConnection) -> Result<Vec<Staff>, AuthError> {
    let rows = sqlx::query!(
        r#"
        SELECT s.id, s.subject, o.name AS org, s.role, s.totp_since, s.locked_until, s.disabled_at, s.created_at
        FROM staff s JOIN organisations o ON o.id = s.org
        ORDER BY s.subject, s.issuer
        "#,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Staff {
                id: row.id,
                name: row.subject,
                org: row.org,
                role: role(&row.role, row.id)?,
                totp: row.totp_since.is_some(),
                locked_until: row.locked_until,
                disabled_at: row.disabled_at,
                created_at: row.created_at,
            })
        })
        .collect()
}

/// Gives somebody another password, and ends all their sign-ins. A lock is lifted.
///
/// # Errors
/// [`AuthError::Nobody`], or if the database does not answer.
pub async fn set_password(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    name: &str,
    password_hash: &str,
) -> Result<(), AuthError> {
    let id = sqlx::query_scalar!(
        r#"
        UPDATE staff SET password_hash = $3, failures = 0, locked_until = NULL
        WHERE issuer = $1 AND subject = $2
        RETURNING id
        "#,
        ISSUER,
        name,
        password_hash,
    )
    .fetch_optional(&mut *conn)
    .await?;
    end_sessions_of(conn, now, found(id, name)?, Ended::PasswordChanged).await
}

/// Keeps somebody out and ends all their sign-ins, or lets them in again. A lock is lifted.
///
/// # Errors
/// [`AuthError::Nobody`], or if the database does not answer.
pub async fn set_disabled(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    name: &str,
    disabled: bool,
) -> Result<(), AuthError> {
    let id = sqlx::query_scalar!(
        r#"
        UPDATE staff SET disabled_at = $3, failures = 0, locked_until = NULL
        WHERE issuer = $1 AND subject = $2
        RETURNING id
        "#,
        ISSUER,
        name,
        disabled.then_some(now),
    )
    .fetch_optional(&mut *conn)
    .await?;
    let id = found(id, name)?;
    if disabled {
        end_sessions_of(conn, now, id, Ended::Disabled).await?;
    }
    Ok(())
}

/// Asks no code of somebody any more: for whoever has lost what shows it.
///
/// # Errors
/// [`AuthError::Nobody`], or if the database does not answer.
pub async fn forget_totp(conn: &mut PgConnection, name: &str) -> Result<(), AuthError> {
    let id = sqlx::query_scalar!(
        r#"
        UPDATE staff SET totp_secret = NULL, totp_since = NULL, totp_step = NULL
        WHERE issuer = $1 AND subject = $2
        RETURNING id
        "#,
        ISSUER,
        name,
    )
    .fetch_optional(conn)
    .await?;
    found(id, name).map(|_| ())
}

/// What somebody's sign-in is compared with.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    pub(crate) id: Uuid,
    pub(crate) password_hash: Option<String>,
}

/// The secrets of whoever has that name. They are compared without holding anything.
pub(crate) async fn secrets_of(conn: &mut PgConnection, name: &str) -> Result<Option<Secrets>, AuthError> {
    let secrets = sqlx::query_as!(
        Secrets,
        "SELECT id, password_hash FROM staff WHERE issuer = $1 AND subject = $2",
        ISSUER,
        name,
    )
    .fetch_optional(conn)
    .await?;
    Ok(secrets)
}

/// Somebody who is signing in. Others who do so under the same name wait.
#[derive(Clone, Debug)]
pub(crate) struct SigningIn {
    pub(crate) id: Uuid,
    pub(crate) org: String,
    pub(crate) org_id: OrgId,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) password_hash: Option<String>,
    pub(crate) totp_secret: Option<Vec<u8>>,
    pub(crate) totp: bool,
    pub(crate) totp_step: Option<i64>,
    pub(crate) failures: i32,
    pub(crate) locked_until: Option<DateTime<Utc>>,
    pub(crate) disabled: bool,
}

/// The row of somebody, which stays as it is until the transaction ends.
pub(crate) async fn lock_staff(conn: &mut PgConnection, id: Uuid) -> Result<SigningIn, AuthError> {
    let row = sqlx::query!(
        r#"
        SELECT s.subject, o.name AS org, o.id AS org_id, s.role, s.password_hash, s.totp_secret, s.totp_since, s.totp_step, s.failures,
               s.locked_until, s.disabled_at
        FROM staff s JOIN organisations o ON o.id = s.org
        WHERE s.id = $1
        FOR UPDATE OF s
        "#,
        id,
    )
    .fetch_one(conn)
    .await?;
    Ok(SigningIn {
        id,
        org: row.org,
        org_id: OrgId(row.org_id),
        name: row.subject,
        role: role(&row.role, id)?,
        password_hash: row.password_hash,
        totp_secret: row.totp_secret,
        totp: row.totp_since.is_some(),
        totp_step: row.totp_step,
        failures: row.failures,
        locked_until: row.locked_until,
        disabled: row.disabled_at.is_some(),
    })
}

/// What whoever has a session signs in as, if it is somebody who works here.
pub(crate) async fn name_of(conn: &mut PgConnection, session: Uuid) -> Result<Option<String>, AuthError> {
    let name = sqlx::query_scalar!(
        "SELECT staff.subject FROM sessions JOIN staff ON staff.id = sessions.staff WHERE sessions.id = $1",
        session,
    )
    .fetch_optional(conn)
    .await?;
    Ok(name)
}

/// Keeps how often in a row somebody came with the wrong secret, and until when nobody may try.
pub(crate) async fn count_failures(
    conn: &mut PgConnection,
    id: Uuid,
    failures: i32,
    locked_until: Option<DateTime<Utc>>,
) -> Result<(), AuthError> {
    sqlx::query!(
        "UPDATE staff SET failures = $2, locked_until = $3 WHERE id = $1",
        id,
        failures,
        locked_until
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps the step whose code was taken.
pub(crate) async fn use_totp_step(conn: &mut PgConnection, id: Uuid, step: i64) -> Result<(), AuthError> {
    sqlx::query!("UPDATE staff SET totp_step = $2 WHERE id = $1", id, step).execute(conn).await?;
    Ok(())
}

/// Keeps a secret that no code was seen of yet.
pub(crate) async fn begin_totp(conn: &mut PgConnection, id: Uuid, sealed: &[u8]) -> Result<(), AuthError> {
    sqlx::query!(
        "UPDATE staff SET totp_secret = $2, totp_step = NULL WHERE id = $1 AND totp_since IS NULL",
        id,
        sealed,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Asks codes of somebody from now on.
pub(crate) async fn confirm_totp(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    id: Uuid,
    step: i64,
) -> Result<(), AuthError> {
    sqlx::query!("UPDATE staff SET totp_since = $2, totp_step = $3 WHERE id = $1", id, now, step)
        .execute(conn)
        .await?;
    Ok(())
}

/// The role in a row.
pub(super) fn role(text: &str, id: Uuid) -> Result<Role, AuthError> {
    let inconsistent =
        laurel_ledger::LedgerError::Inconsistent { table: "staff", column: "role", id: id.to_string() };
    text.parse().map_err(|_| inconsistent.into())
}

fn found(id: Option<Uuid>, name: &str) -> Result<Uuid, AuthError> {
    id.ok_or_else(|| AuthError::Nobody(name.to_owned()))
}
