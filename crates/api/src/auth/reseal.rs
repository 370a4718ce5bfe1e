//! Secrets at rest under another key.

use laurel_ledger::LedgerError;
use rand::RngCore;
use sqlx::PgConnection;

use super::{AuthError, SecretsKey, about_totp};

/// Encrypts every authenticator's secret anew, under the first of `key`'s keys, and says how many. The others are not needed then.
///
/// # Errors
/// [`AuthError::Sealed`] if no key opens one, or if the database does not answer.
pub async fn reseal_totp(
    conn: &mut PgConnection,
    rng: &mut (dyn RngCore + Send),
    key: &SecretsKey,
) -> Result<usize, AuthError> {
    let rows = sqlx::query!(
        r#"
        SELECT id, totp_secret AS "sealed!" FROM staff WHERE totp_secret IS NOT NULL ORDER BY id FOR UPDATE
        "#,
    )
    .fetch_all(&mut *conn)
    .await?;
    let (mut ids, mut secrets) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for row in rows {
        let about = about_totp(row.id);
        secrets.push(key.seal(rng, &about, &key.open(&about, &row.sealed)?)?);
        ids.push(row.id);
    }
    let resealed = sqlx::query!(
        r#"
        UPDATE staff SET totp_secret = anew.sealed
        FROM unnest($1::uuid[], $2::bytea[]) AS anew (id, sealed)
        WHERE staff.id = anew.id
        "#,
        &ids,
        &secrets,
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("reseal_totp", ids.len(), resealed.rows_affected())?;
    Ok(ids.len())
}
