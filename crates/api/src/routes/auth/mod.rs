//! Coming in, and going.

pub(crate) mod challenge;
pub(crate) mod jwks;
pub(crate) mod me;
pub(crate) mod password;
pub(crate) mod refresh;
pub(crate) mod sign_out;
pub(crate) mod token;
pub(crate) mod totp;
pub(crate) mod wallet;

use axum::http::{HeaderName, HeaderValue, StatusCode, header::CACHE_CONTROL};
use laurel_ledger::commit;
use sqlx::PgConnection;

use crate::{
    ApiState, Password, Principal, Problem,
    auth::{SigningIn, fail, is_locked, lock_staff, staff_of},
    staff_log::keep_sign_in,
};

/// Goes with every answer that holds a secret (RFC 6749, section 5.1).
pub(crate) const NO_STORE: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// The caller's row, locked, if they have come with a password of ours.
async fn caller(conn: &mut PgConnection, principal: &Principal) -> Result<SigningIn, Problem> {
    let id = match principal.session {
        Some(session) => staff_of(conn, session).await?,
        None => None,
    };
    let id = id.ok_or_else(|| {
        Problem::conflict("no_password", "this token came of no password: sign in with one, then do this")
    })?;
    Ok(lock_staff(conn, id).await?)
}

/// The caller's password hash, if `password` is theirs. Whoever got hold of a token cannot guess it here either.
async fn require_password(
    state: &ApiState,
    principal: &Principal,
    password: String,
) -> Result<String, Problem> {
    let wrong = || Problem::new(StatusCode::FORBIDDEN, "wrong_password", "this is not your password");
    let password = Password::given(password).ok_or_else(wrong)?;
    let now = state.now();
    let mut tx = state.pool.begin().await?;
    let staff = caller(&mut tx, principal).await?;
    tx.rollback().await?;
    let hash = staff.password_hash.clone().filter(|_| !is_locked(&staff, now));
    // Nothing is held meanwhile: it takes long on purpose.
    let matches = password.matches(hash.clone()).await?;
    let mut tx = state.pool.begin().await?;
    let staff = caller(&mut tx, principal).await?;
    // Whoever guesses many at once is not told of the right one either, once the wrong ones have locked it.
    if is_locked(&staff, now) {
        return Err(wrong());
    }
    if matches {
        return hash.ok_or_else(wrong);
    }
    fail(&mut tx, now, &staff).await?;
    keep_sign_in(&mut tx, state, now, &principal.origin, &staff, "refused").await?;
    commit(tx, "wrong_password").await?;
    Err(wrong())
}
