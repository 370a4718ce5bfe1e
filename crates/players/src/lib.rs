//! Players, their wallets, and the proof that a wallet is theirs.
//!
//! ```text
//!   challenge: an EIP-4361 message with a nonce ──► the player's wallet signs ──► link
//!                                                                                  │
//!        grant-saga ◄── WalletLinked ◄── wallets row, in one transaction ◄─────────┘
//! ```

mod challenge;
mod erase;
mod link;
mod store;
mod wallets;

pub use self::{
    challenge::{CHALLENGE_LIFETIME, Challenge, ChallengeRequest, Purpose, empty_challenge, issue_challenge},
    erase::erase_player,
    link::{
        Asked, LinkError, Proof, ProvenWallet, ask_contract, find_challenge, link_wallet, prove_wallet,
        use_challenge,
    },
    store::{
        EXTERNAL_ID_MAX, Player, PlayerError, find_player, find_players, hold_player, player_of_id,
        players_of_ids, put_player,
    },
    wallets::{Wallet, WalletProof, keep_wallets, resolve_wallets, wallet_of, wallet_proof, wallets_of},
};
