//! Players and their wallets.

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

use crate::{GrantId, OrgId, Payload, PlayerId, Subject};

/// A game server told of a player for the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerRegistered {
    /// The player.
    pub player: PlayerId,
    /// Whose player it is.
    pub org: OrgId,
}

impl Payload for PlayerRegistered {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("player", self.player)
    }

    fn key(&self) -> String {
        self.player.to_string()
    }
}

/// All that told who a player is, is gone. What they were granted stays, and is nobody's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerErased {
    /// The player.
    pub player: PlayerId,
    /// Whose player it was.
    pub org: OrgId,
}

impl Payload for PlayerErased {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("player", self.player)
    }

    fn key(&self) -> String {
        self.player.to_string()
    }
}

/// How a wallet proves that it is the player's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WalletKind {
    /// A key: the signature recovers to the address.
    Key,
    /// A contract (EIP-1271), which is asked, and counts for the chain it was asked on.
    Contract,
}

/// A player proved that a wallet is theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletLinked {
    /// The player.
    pub player: PlayerId,
    /// The chain it is for.
    pub chain_id: u64,
    /// The wallet.
    pub wallet: Address,
    /// How it was proved.
    pub kind: WalletKind,
    /// How many links the player made on that chain, this one included.
    pub version: i32,
}

impl Payload for WalletLinked {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("player", self.player)
    }

    fn key(&self) -> String {
        format!("{}/{}/{}", self.player, self.chain_id, self.version)
    }
}

/// The time for linking a wallet is over for a grant that awaited one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletDeadlinePassed {
    /// The grant.
    pub grant: GrantId,
}

impl Payload for WalletDeadlinePassed {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("campaign", self.grant.campaign)
    }

    fn key(&self) -> String {
        self.grant.to_string()
    }
}
