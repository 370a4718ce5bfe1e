//! To whom grants may be paid at once.

use std::collections::{HashMap, HashSet};

use alloy::primitives::Address;
use laurel_events::{PlayerId, WalletKind};
use laurel_ledger::{LedgerError, reserved_addresses};
use laurel_players::{Wallet, keep_wallets, resolve_wallets};
use sqlx::PgConnection;

use crate::exceptions::{RESERVED_RECIPIENT, WALLET_CHECK};

/// What a player's wallet means for a grant that is about to be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipient {
    /// It can be paid.
    Payable(Address),
    /// It cannot, yet; the reason.
    Held(&'static str),
}

/// What the wallets of `players` on a chain mean; whoever has none is absent. For everybody who is absent or held, a
/// link under way waits until this transaction ends, and so finds the grants that it is for.
pub(crate) async fn recipients(
    conn: &mut PgConnection,
    chain_id: u64,
    players: &[PlayerId],
) -> Result<HashMap<PlayerId, Recipient>, LedgerError> {
    let mut wallets = resolve_wallets(conn, chain_id, players).await?;
    let reserved = reserved(conn, chain_id, &wallets).await?;
    let held: Vec<PlayerId> = wallets
        .iter()
        .filter(|(_, wallet)| judge(wallet, &reserved) != Recipient::Payable(wallet.address))
        .map(|(player, _)| *player)
        .collect();
    if held.is_empty() {
        return Ok(judge_all(wallets, &reserved));
    }
    // Read again behind the lock: they may have got another wallet in between.
    wallets.extend(keep_wallets(conn, chain_id, &held).await?);
    let reserved = self::reserved(conn, chain_id, &wallets).await?;
    Ok(judge_all(wallets, &reserved))
}

async fn reserved(
    conn: &mut PgConnection,
    chain_id: u64,
    wallets: &HashMap<PlayerId, Wallet>,
) -> Result<HashSet<Address>, LedgerError> {
    let addresses: Vec<Address> = wallets.values().map(|wallet| wallet.address).collect();
    reserved_addresses(conn, chain_id, &addresses).await
}

fn judge_all(
    wallets: HashMap<PlayerId, Wallet>,
    reserved: &HashSet<Address>,
) -> HashMap<PlayerId, Recipient> {
    wallets.into_iter().map(|(player, wallet)| (player, judge(&wallet, reserved))).collect()
}

fn judge(wallet: &Wallet, reserved: &HashSet<Address>) -> Recipient {
    if reserved.contains(&wallet.address) {
        Recipient::Held(RESERVED_RECIPIENT)
    } else if wallet.kind == WalletKind::Contract {
        Recipient::Held(WALLET_CHECK)
    } else {
        Recipient::Payable(wallet.address)
    }
}
