//! Players, their wallets, and what they earned.

pub(crate) mod challenge;
pub(crate) mod data;
pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod grants;
pub(crate) mod put;
pub(crate) mod tokens;
pub(crate) mod wallet;

use alloy_primitives::Address;
use laurel_ledger::reserved_addresses;
use laurel_players::{LinkError, Player, find_player};
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

/// Refuses an address that can never be paid.
async fn refuse_recipient(conn: &mut PgConnection, chain_id: u64, address: Address) -> Result<(), Problem> {
    if address.is_zero() {
        return Err(Problem::unprocessable(
            "zero_address",
            "the zero address is nobody's wallet: send the player's",
        )
        .at("#/address"));
    }
    if !reserved_addresses(conn, chain_id, &[address]).await?.is_empty() {
        return Err(Problem::from(LinkError::Reserved).at("#/address"));
    }
    Ok(())
}
