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
    /// @dev Credits first, debits the sum at the end. No credit overflows in a call that succeeds: the caller held the sum
    /// from the start, and all balances together are at most the supply.
    function transferBatch(uint256[] calldata grants) external returns (uint256 total) {
        uint256 zeros;
        assembly ("memory-safe") {
            // Credits the grant at pos + offset. Copied in at each use because the offset is a literal.
            function credit(offset, pos, sum, zeros_) -> newSum, newZeros {
                let word := calldataload(add(pos, offset))
                let to := shr(96, word)
                newZeros := or(zeros_, iszero(to))
                mstore(0x00, to)
                let amount := and(word, 0xffffffffffffffffffffffff)
                newSum := add(sum, amount)
                let slot := keccak256(0x0c, 0x20)
                sstore(slot, add(sload(slot), amount))
                mstore(0x00, amount)
                log3(0x00, 0x20, TRANSFER_TOPIC, caller(), to)
            }
            // 0x0c..0x2c is a balance slot's preimage. Its end stays while recipients and amounts pass through 0x00..0x20.
            mstore(0x0c, BALANCE_SLOT_SEED)
            mstore(0x00, caller())
            // In memory, as is the slot below computed anew: what the loop does not need would only lie in its way.
            let held := mload(0x40)
            mstore(held, sload(keccak256(0x0c, 0x20)))
            let pos := grants.offset
            let end := add(pos, shl(5, grants.length))
            for { let last := mul(gt(end, 0xe0), sub(end, 0xe0)) } lt(pos, last) { pos := add(pos, 0x100) } {
                total, zeros := credit(0x00, pos, total, zeros)
                total, zeros := credit(0x20, pos, total, zeros)
                total, zeros := credit(0x40, pos, total, zeros)
                total, zeros := credit(0x60, pos, total, zeros)
                total, zeros := credit(0x80, pos, total, zeros)
                total, zeros := credit(0xa0, pos, total, zeros)
                total, zeros := credit(0xc0, pos, total, zeros)
                total, zeros := credit(0xe0, pos, total, zeros)
            }
            for {} lt(pos, end) { pos := add(pos, 0x20) } { total, zeros := credit(0x00, pos, total, zeros) }
            if gt(total, mload(held)) {
                mstore(0x00, 0xf4d678b8) // InsufficientBalance()
                revert(0x1c, 0x04)
            }
            mstore(0x00, caller())
            let slot := keccak256(0x0c, 0x20)
            // Read again: the caller may be among the recipients.
            sstore(slot, sub(sload(slot), total))
        }
        if (zeros != 0) revert ZeroRecipient();
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
