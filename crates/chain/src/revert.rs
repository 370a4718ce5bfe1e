//! Why a contract reverted, in words.

use std::sync::LazyLock;

use alloy::{
    primitives::Bytes,
    sol_types::{ContractError, SolInterface},
};

use regex::Regex;

use crate::abi::RewardVault::RewardVaultErrors as VaultError;

/// How clients say that a call ended in the EVM, where its data does not show it: a revert without a reason, which some send
/// without data; an exception, which consumes all gas. go-ethereum and erigon `core/vm/errors.go`, reth `EvmHalt`, Nethermind
/// `VM execution error`, Anvil `EVM error`.
static ENDED: LazyLock<Regex> = LazyLock::new(|| {
    let texts = r"(?ix) \brevert | ^out\ of\ gas | out\ of\ gas$ | invalid\ opcode | invalid\ jump | stack\ (underflow|overflow|limit)
        | max\ call\ depth | write\ protection | return\ data\ out\ of\ bounds | gas\ uint64\ overflow | \bevm\ error\b
        | vm\ execution\ error | execution\ halted";
    Regex::new(texts).expect("it is a regular expression; a test compiles it")
});

/// Whether an error of `eth_call` says that the call itself ended badly: every node says so, and it is no use to ask again.
pub(crate) fn ended_in_evm(message: &str) -> bool {
    ENDED.is_match(message)
}

/// What a revert's data says, as far as the vault's own errors and Solidity's go.
pub fn revert_reason(data: &Bytes) -> String {
    if data.is_empty() {
        return "it gives no reason".to_owned();
    }
    match ContractError::<VaultError>::abi_decode(data) {
        Ok(ContractError::CustomError(error)) => vault_error(&error),
        Ok(ContractError::Revert(revert)) => revert.reason,
        Ok(ContractError::Panic(panic)) => panic.to_string(),
        Err(_) => format!("an error that is not the vault's: 0x{}", alloy::hex::encode(data)),
    }
}

fn vault_error(error: &VaultError) -> String {
    match error {
        VaultError::NotAllowed(error) => format!("{} may not do this in the vault", error.caller),
        VaultError::VaultPaused(_) => "the vault is paused".to_owned(),
        VaultError::CampaignNotOpen(error) => format!("campaign {} is not open in the vault", error.campaign),
        VaultError::CampaignExists(error) => {
            format!("campaign {} is open in the vault already", error.campaign)
        }
        VaultError::BadTerms(error) => format!("the vault refuses the terms of campaign {}", error.campaign),
        VaultError::CapNotRaised(error) => {
            format!("the cap {} of campaign {} is not above {}", error.cap, error.campaign, error.current)
        }
        VaultError::CapExceeded(error) => {
            format!(
                "campaign {} has {} left of its cap, and {} is asked for",
                error.campaign, error.left, error.total
            )
        }
        VaultError::WindowExceeded(error) => {
            format!(
                "campaign {} may pay {} more in this window, and {} is asked for",
                error.campaign, error.left, error.total
            )
        }
        VaultError::NotBacked(error) => format!(
            "the vault has {} of token {} that no campaign claims, and {} is asked for",
            error.uncommitted, error.token, error.wanted
        ),
        VaultError::NothingPaid(error) => {
            format!("campaign {}: no grant from seq {} on could be paid", error.campaign, error.firstSeq)
        }
        VaultError::TokenFailed(error) => format!("token {} fails", error.token),
        VaultError::Expired(error) => format!("the deadline {} is over", error.deadline),
        // What only a mistake of ours or another contract brings about; its fields say more than words would.
        error => format!("the vault refuses it: {error:?}"),
    }
}

#[cfg(test)]
mod tests {
    use alloy::{
        primitives::{Address, U256, hex},
        sol_types::{Revert, SolError},
    };

    use super::*;
    use crate::RewardVault;

    #[test]
    fn how_a_call_ended_is_told_from_what_is_wrong_with_a_node() {
        for ended in [
            "execution reverted",
            "Execution reverted",
            "VM execution error.",
            "out of gas",
            "contract creation code storage out of gas",
            "invalid opcode: INVALID",
            "invalid jump destination",
            "stack underflow (0 <=> 2)",
            "stack limit reached 1024 (1023)",
            "EVM error: InvalidFEOpcode",
            "EVM error OutOfGas",
        ] {
            assert!(ended_in_evm(ended), "{ended}");
        }
        for node in [
            "header not found",
            "missing trie node 9f (path )",
            "too many requests",
            "project ID request rate exceeded",
            "the method eth_call is not available",
            "request timed out",
        ] {
            assert!(!ended_in_evm(node), "{node}");
        }
    }

    #[test]
    fn errors_are_told_in_words() {
        let unbacked = RewardVault::NotBacked {
            token: Address::ZERO,
            wanted: U256::from(7),
            uncommitted: U256::from(5),
        };
        let open = RewardVault::CampaignNotOpen { campaign: 9 };
        for (data, words) in [
            (unbacked.abi_encode(), "the vault has 5 of token 0x0000000000000000000000000000000000000000"),
            (open.abi_encode(), "campaign 9 is not open in the vault"),
            (RewardVault::VaultPaused {}.abi_encode(), "the vault is paused"),
            (Revert::from("no more").abi_encode(), "no more"),
            (hex!("deadbeef").to_vec(), "not the vault's: 0xdeadbeef"),
            (Vec::new(), "no reason"),
        ] {
            let reason = revert_reason(&data.into());
            assert!(reason.contains(words), "{reason}");
        }
    }
}
