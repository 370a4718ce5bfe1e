// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {ERC20} from "solady/tokens/ERC20.sol";

import {IBatchTransfer} from "./interfaces/IBatchTransfer.sol";

/// @title RewardToken
/// @notice An ERC-20 with EIP-2612 permits that pays a batch of grants in one call. The owner mints.
/// @dev No allowance exists that its holder did not give: Permit2 gets none by itself.
contract RewardToken is ERC20, Ownable2Step, IBatchTransfer {
    /// @dev Where Solady's ERC20 keeps a balance: keccak256 of 20 bytes of address, 8 zero bytes and these 4. Part of its
    /// documented layout; a test compares {transferBatch} with as many transfers.
    uint256 private constant BALANCE_SLOT_SEED = 0x87a211a2;
    uint256 private constant TRANSFER_TOPIC = 0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef;

    string private _name;
    string private _symbol;

    /// @param name_ The token's name.
    /// @param symbol_ The token's symbol.
    /// @param owner_ Who may mint.
    constructor(string memory name_, string memory symbol_, address owner_) Ownable(owner_) {
        _name = name_;
        _symbol = symbol_;
    }

    /// @notice Makes new tokens.
    function mint(address to, uint256 amount) external onlyOwner {
        _mint(to, amount);
    }

    /// @inheritdoc IBatchTransfer
    /// @dev The caller's balance is read and written once. Additions cannot overflow: all balances are at most the supply.
    function transferBatch(uint256[] calldata grants) external returns (uint256 total) {
        uint256 bad = type(uint256).max;
        assembly ("memory-safe") {
            let data := mload(0x40)
            mstore(0x0c, BALANCE_SLOT_SEED)
            let pos := grants.offset
            let end := add(pos, shl(5, grants.length))
            for {} lt(pos, end) { pos := add(pos, 0x20) } {
                total := add(total, and(calldataload(pos), 0xffffffffffffffffffffffff))
            }
            mstore(0x00, caller())
            let slot := keccak256(0x0c, 0x20)
            let balance_ := sload(slot)
            if gt(total, balance_) {
                mstore(0x00, 0xf4d678b8) // InsufficientBalance()
                revert(0x1c, 0x04)
            }
            sstore(slot, sub(balance_, total))
            for { pos := grants.offset } lt(pos, end) { pos := add(pos, 0x20) } {
                let word := calldataload(pos)
                let to := shr(96, word)
                if iszero(to) {
                    bad := shr(5, sub(pos, grants.offset))
                    break
                }
                mstore(0x00, to)
                slot := keccak256(0x0c, 0x20)
                let amount := and(word, 0xffffffffffffffffffffffff)
                sstore(slot, add(sload(slot), amount))
                mstore(data, amount)
                log3(data, 0x20, TRANSFER_TOPIC, caller(), to)
            }
        }
        if (bad != type(uint256).max) revert ZeroRecipient(bad);
    }

    /// @inheritdoc ERC20
    function name() public view override returns (string memory) {
        return _name;
    }

    /// @inheritdoc ERC20
    function symbol() public view override returns (string memory) {
        return _symbol;
    }

    /// @inheritdoc ERC20
    function _givePermit2InfiniteAllowance() internal pure override returns (bool) {
        return false;
    }
}
