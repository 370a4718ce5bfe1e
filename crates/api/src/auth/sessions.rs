//! Sign-ins: a short access token, and a refresh token that is good once.
//!
//! ```text
//!   sign in ──► session ──► refresh token 1 ──► refresh token 2 ──► …      each good once, and for seven days
//!                  │               │
//!                  │               └── comes again: somebody else has it. The session ends, with all that came of it.
//!                  └── signed out, password changed, disabled: likewise, at once
//! ```

use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::{PlayerId, time_ordered};
use laurel_ledger::LedgerError;
use rand::RngCore;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{AuthError, Role, opaque::Opaque, staff::role};

/// How long a refresh token is good.
pub(crate) const REFRESH_LIFETIME: TimeDelta = TimeDelta::days(7);

/// How long a session lasts, however often it is refreshed: then its owner shows again who they are.
const SESSION_LIFETIME: TimeDelta = TimeDelta::days(90);

/// How many old sessions are swept at once: more than one sign-in adds, and never a long wait for the one that sweeps.
const SWEEP_ROWS_MAX: i64 = 100;

/// How a refresh token begins.
const PREFIX: &str = "lrr_";

/// Whose session it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Staff(Uuid),
    Player(PlayerId),
}

/// Why a session ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    SignedOut,
    Reused,
    PasswordChanged,
    Disabled,
    WalletChanged,
    TotpAdded,
}

impl Ended {
    const fn name(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::Reused => "reused",
            Self::PasswordChanged => "password_changed",
            Self::Disabled => "disabled",
            Self::WalletChanged => "wallet_changed",
            Self::TotpAdded => "totp_added",
        }
    }
}

/// A session and the token that keeps it going.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) session: Uuid,
    pub(crate) refresh: Opaque,
}

/// Begins a session.
pub(crate) async fn open_session(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    rng: &mut (dyn RngCore + Send),
    owner: Owner,
) -> Result<Opened, AuthError> {
    sweep(conn, now).await?;
    let session = time_ordered(now, rng);
    let (staff, player) = match owner {
        Owner::Staff(id) => (Some(id), None),
        Owner::Player(id) => (None, Some(id.uuid())),
    };
    sqlx::query!(
        "INSERT INTO sessions (id, staff, player, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
        session,
        staff,
        player,
        now,
        now + REFRESH_LIFETIME,
    )
    .execute(&mut *conn)
    .await?;
    let refresh = add_token(conn, rng, session, now + REFRESH_LIFETIME).await?;
    Ok(Opened { session, refresh })
}

/// What came of a refresh token.
#[derive(Clone, Debug)]
pub(crate) enum Refreshed {
    /// It was good, and the next one is.
    Good { opened: Opened, role: Role, org: String, subject: String },
    /// It was used before. The session has ended; commit that.
    Reused,
    /// It is none, or its time is over, or its session's.
    Unknown,
}

/// Takes a refresh token for the next one.
pub(crate) async fn refresh_session(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    rng: &mut (dyn RngCore + Send),
    text: &str,
) -> Result<Refreshed, AuthError> {
    let Some(token) = Opaque::parse(PREFIX, text) else { return Ok(Refreshed::Unknown) };
    let digest = token.digest();
    // The session first: whoever comes with the same token waits here, and finds it used.
    let session = sqlx::query!(
        r#"
        SELECT id, staff, player, created_at, expires_at, revoked_at FROM sessions
        WHERE id = (SELECT session FROM refresh_tokens WHERE digest = $1)
        FOR UPDATE
        "#,
        digest.as_slice(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(session) = session.filter(|session| session.revoked_at.is_none() && session.expires_at > now)
    else {
        return Ok(Refreshed::Unknown);
    };
    let used = sqlx::query_scalar!(
        "UPDATE refresh_tokens SET used_at = $2 WHERE digest = $1 AND used_at IS NULL AND expires_at > $2 RETURNING 1",
        digest.as_slice(),
        now,
    )
    .fetch_optional(&mut *conn)
    .await?;
    if used.is_none() {
        end_session(conn, now, session.id, Ended::Reused).await?;
        return Ok(Refreshed::Reused);
    }
    let Some((role, org, subject)) = holder(conn, session.staff, session.player).await? else {
        return Ok(Refreshed::Unknown);
    };
    let expires_at = (now + REFRESH_LIFETIME).min(session.created_at + SESSION_LIFETIME);
    sqlx::query!("UPDATE sessions SET expires_at = $2 WHERE id = $1", session.id, expires_at)
        .execute(&mut *conn)
        .await?;
    let refresh = add_token(conn, rng, session.id, expires_at).await?;
    let opened = Opened { session: session.id, refresh };
    Ok(Refreshed::Good { opened, role, org, subject })
}

/// What whoever has a session is now: a role that was taken away ends with the access token.
async fn holder(
    conn: &mut PgConnection,
    staff: Option<Uuid>,
    player: Option<Uuid>,
) -> Result<Option<(Role, String, String)>, AuthError> {
    let row = sqlx::query!(
        r#"
        SELECT s.id AS "id!", o.name AS "org!", s.id::text AS "subject!", s.role AS "role!"
        FROM staff s JOIN organisations o ON o.id = s.org
        WHERE s.id = $1 AND s.disabled_at IS NULL
        UNION ALL
        SELECT p.id, o.name, p.external_id, 'player'
        FROM players p JOIN organisations o ON o.id = p.org
        WHERE p.id = $2 AND p.external_id IS NOT NULL
        "#,
        staff,
        player,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| Ok((role(&row.role, row.id)?, row.org, row.subject))).transpose()
}

/// Ends a session.
pub(crate) async fn end_session(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    session: Uuid,
    why: Ended,
) -> Result<(), AuthError> {
    sqlx::query!(
        "UPDATE sessions SET revoked_at = $2, revoked_because = $3 WHERE id = $1 AND revoked_at IS NULL",
        session,
        now,
        why.name(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends all sessions of somebody who works here.
pub(super) async fn end_sessions_of(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    staff: Uuid,
    why: Ended,
) -> Result<(), AuthError> {
    sqlx::query!(
        "UPDATE sessions SET revoked_at = $2, revoked_because = $3 WHERE staff = $1 AND revoked_at IS NULL",
        staff,
        now,
        why.name(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends all sessions of somebody who works here but one: they were begun without the code that is asked for from now on.
pub(crate) async fn end_other_sessions(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    staff: Uuid,
    kept: Option<Uuid>,
) -> Result<(), AuthError> {
    sqlx::query!(
        r#"
        UPDATE sessions SET revoked_at = $2, revoked_because = $3
        WHERE staff = $1 AND revoked_at IS NULL AND id IS DISTINCT FROM $4
        "#,
        staff,
        now,
        Ended::TotpAdded.name(),
        kept,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends all sessions of a player whose wallet is another one now: they came in with the one before.
pub(crate) async fn end_sessions_of_player(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    player: PlayerId,
) -> Result<(), AuthError> {
    sqlx::query!(
        "UPDATE sessions SET revoked_at = $2, revoked_because = $3 WHERE player = $1 AND revoked_at IS NULL",
        player.uuid(),
        now,
        Ended::WalletChanged.name(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// When a player's sign-ins began, and when those ended that have.
pub(crate) async fn sessions_of_player(
    conn: &mut PgConnection,
    player: PlayerId,
) -> Result<Vec<(DateTime<Utc>, Option<DateTime<Utc>>)>, LedgerError> {
    let rows = sqlx::query!(
        "SELECT created_at, revoked_at FROM sessions WHERE player = $1 ORDER BY created_at",
        player.uuid(),
    );
    let rows = rows.fetch_all(conn).await?.into_iter();
    Ok(rows.map(|row| (row.created_at, row.revoked_at)).collect())
}

/// Ends a player's sign-ins and keeps nothing of them.
pub(crate) async fn forget_sessions_of_player(
    conn: &mut PgConnection,
    player: PlayerId,
) -> Result<(), LedgerError> {
    sqlx::query!("DELETE FROM sessions WHERE player = $1", player.uuid()).execute(conn).await?;
    Ok(())
}

/// Who has a session, if it is somebody who works here: their id.
pub(crate) async fn staff_of(conn: &mut PgConnection, session: Uuid) -> Result<Option<Uuid>, LedgerError> {
    let staff =
        sqlx::query_scalar!("SELECT staff FROM sessions WHERE id = $1", session).fetch_optional(conn).await?;
    Ok(staff.flatten())
}

/// An organisation by its name, and a session of its, where one is asked about.
#[derive(Clone, Debug)]
pub(crate) struct SignedInto {
    pub(super) org: String,
    pub(super) session: Option<Uuid>,
}

/// The id of each organisation, where there is one, and whether the session goes on.
pub(super) async fn find_sessions(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    asked: Vec<SignedInto>,
) -> Result<Vec<Option<(i32, bool)>>, LedgerError> {
    let (orgs, sessions): (Vec<String>, Vec<Option<Uuid>>) =
        asked.into_iter().map(|asked| (asked.org, asked.session)).unzip();
    let rows = sqlx::query!(
        r#"
        SELECT o.id AS "org?", (a.session IS NULL OR s.id IS NOT NULL) AS "alive!"
        FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS a (org, session, at)
        LEFT JOIN organisations o ON o.name = a.org
        LEFT JOIN sessions s ON s.id = a.session AND s.revoked_at IS NULL AND s.expires_at > $3
        ORDER BY a.at
        "#,
        &orgs,
        &sessions as &[Option<Uuid>],
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.org.map(|org| (org, row.alive))).collect())
}

async fn add_token(
    conn: &mut PgConnection,
    rng: &mut (dyn RngCore + Send),
    session: Uuid,
    expires_at: DateTime<Utc>,
) -> Result<Opaque, AuthError> {
    let token = Opaque::generate(PREFIX, rng);
    let digest = token.digest();
    sqlx::query!(
        "INSERT INTO refresh_tokens (digest, session, expires_at) VALUES ($1, $2, $3)",
        digest.as_slice(),
        session,
        expires_at,
    )
    .execute(conn)
    .await?;
    Ok(token)
}

/// Whoever signs in sweeps out what is over, of everybody.
async fn sweep(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<(), AuthError> {
    sqlx::query!(
        r#"
        DELETE FROM sessions WHERE id IN (
            SELECT id FROM sessions WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        "#,
        now,
        SWEEP_ROWS_MAX,
    )
    .execute(conn)
    .await?;
    Ok(())
}
