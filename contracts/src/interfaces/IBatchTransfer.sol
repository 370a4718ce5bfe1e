// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title IBatchTransfer
/// @notice An ERC-20 that pays many recipients in one call.
/// @dev The vault treats a batch as one transfer: an implementation must not refuse single recipients (a token with a
/// block list must be opened in the vault without `batch`), or one of them would hold back all the others.
interface IBatchTransfer {
    /// @notice A grant names no recipient.
    error ZeroRecipient();

    /// @notice Pays every grant from the caller's balance, all or nothing.
    /// @dev Emits one ERC-20 `Transfer` from the caller per grant, in the order given.
    /// @param grants One word per grant: `recipient << 96 | amount`.
    /// @return total Sum of the amounts: what the caller's balance fell by, less what it paid to itself.
    function transferBatch(uint256[] calldata grants) external returns (uint256 total);
}
