//! Erasing: nothing tells any more who a player is. What they were granted stays, as the grants of somebody whom nobody knows.

use laurel_events::{OrgId, PlayerId};
use laurel_ledger::{Context, LedgerError};
use sqlx::PgConnection;

use crate::find_player;

/// Erases what a player is called, their wallets and what they were asked to sign. Returns who it was, if `org` knows anybody by
/// `external_id`. What the chain has of their wallets, and the journal with it, stays: whose they were is what is gone.
///
/// A grant that has a place goes to the wallet it has. One that has none yet finds no wallet, runs out, and gives its budget back.
///
/// # Errors
/// If the database does not answer.
pub async fn erase_player(
    conn: &mut PgConnection,
    context: &Context,
    org: OrgId,
    external_id: &str,
) -> Result<Option<PlayerId>, LedgerError> {
    let Some(player) = find_player(conn, org, external_id).await? else { return Ok(None) };
    let id = player.id.uuid();
    // A link, a challenge or a sign-in under way holds the player, is waited for, and is erased then; those that come now find nobody.
    let held = sqlx::query_scalar!(
        r#"SELECT true AS "held!" FROM players WHERE id = $1 AND external_id IS NOT NULL FOR UPDATE"#,
        id,
    );
    if held.fetch_optional(&mut *conn).await?.is_none() {
        return Ok(None);
    }
    sqlx::query!("DELETE FROM wallet_challenges WHERE player = $1", id).execute(&mut *conn).await?;
    sqlx::query!(
        r#"
        UPDATE wallets
        SET address = NULL, kind = NULL, linked_at = NULL, proof_hash = NULL, proof_signature = NULL
        WHERE player = $1
        "#,
        id,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("UPDATE players SET external_id = NULL, erased_at = $2 WHERE id = $1", id, context.now,)
        .execute(conn)
        .await?;
    Ok(Some(player.id))
}
