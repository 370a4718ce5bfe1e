//! Players, their wallets, and what they earned.

pub(crate) mod challenge;
pub(crate) mod get;
pub(crate) mod grants;
pub(crate) mod put;
pub(crate) mod tokens;
pub(crate) mod wallet;

use laurel_players::{Player, find_player};
use sqlx::PgConnection;

use crate::{Principal, Problem};

/// The player in the path, of the caller's organisation.
async fn player(
    conn: &mut PgConnection,
    principal: &Principal,
    external_id: &str,
) -> Result<Player, Problem> {
    find_player(conn, principal.org, external_id).await?.ok_or_else(|| Problem::not_found("player"))
}
