//! The contracts' interfaces, from the committed artifacts.
#![allow(
    missing_docs,
    clippy::too_many_arguments,
    reason = "generated from the contracts, which are documented there"
)]

use alloy::sol;

sol!(
    #[sol(all_derives)]
    RewardVault,
    "../../contracts/artifacts/RewardVault.json"
);
sol!(
    #[sol(all_derives)]
    RewardToken,
    "../../contracts/artifacts/RewardToken.json"
);
sol! {
    /// EIP-1271.
    interface Erc1271 {
        function isValidSignature(bytes32 hash, bytes signature) external view returns (bytes4);
    }

    /// ERC-20, as far as it is needed.
    interface Erc20 {
        event Transfer(address indexed from, address indexed to, uint256 value);

        function balanceOf(address owner) external view returns (uint256);
        function transfer(address to, uint256 value) external returns (bool);
    }
}

pub use IRewardVault::{Segment, Terms};
