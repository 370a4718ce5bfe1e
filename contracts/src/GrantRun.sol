// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBatchTransfer} from "./interfaces/IBatchTransfer.sol";

/// @notice A cursor over the words of one segment.
/// @param token The token paid.
/// @param grantGas Stipend of a single transfer.
/// @param buffer Memory of at least 0x60 + 32 bytes per grant, for the calls.
/// @param pos Calldata offset of the next word.
/// @param seq Seq of the next word.
/// @param total Sum of the amounts paid so far.
/// @param tail Where {GrantRun-collect} writes the next word of a batch.
struct Run {
    address token;
    uint256 grantGas;
    uint256 buffer;
    uint256 pos;
    uint256 seq;
    uint256 total;
    uint256 tail;
}

/// @notice Why a run stopped before its end.
enum Stop {
    /// It did not: the end was reached.
    Done,
    /// The word at the cursor was not tried: a bad recipient, or too little gas.
    Untried,
    /// The word at the cursor was tried and the token refused it.
    Refused
}

/// @title GrantRun
/// @notice The loops that pay grants, in assembly because they run once per grant.
/// @dev They stop at whatever is not an ordinary payment and leave it to the caller, so that nothing rare costs gas here.
library GrantRun {
    /// @dev Gas a call costs before EIP-150 looks at what is left (100 for the warm token), and what the loop spends
    /// between looking and calling. Generous: it only moves the point at which a settlement reverts for want of gas.
    uint256 private constant CALL_OVERHEAD = 6000;

    /// @notice Pays one by one until `end`, a word that needs a decision, or a refusal.
    /// @param bits Burned bits of the bitmap word that the run lies in.
    /// @return why Why it stopped; the cursor stands on that word.
    /// @return newBits `bits` with those of the paid grants.
    /// @return reason First 32 bytes of the token's answer, zero-padded, where it refused.
    function pay(Run memory run, uint256 end, uint256 bits)
        internal
        returns (Stop why, uint256 newBits, bytes32 reason)
    {
        address token = run.token;
        uint256 grantGas = run.grantGas;
        uint256 buffer = run.buffer;
        uint256 pos = run.pos;
        uint256 total = run.total;
        uint256 bit;
        unchecked {
            bit = 1 << (run.seq & 0xff);
            run.seq += (end - pos) >> 5;
        }
        newBits = bits;
        assembly ("memory-safe") {
            // A call gets the stipend asked for only if 63/64 of the gas left cover it.
            let floor := add(div(shl(6, grantGas), 63), CALL_OVERHEAD)
            mstore(buffer, shl(224, 0xa9059cbb)) // transfer(address,uint256)
            for {} lt(pos, end) {
                pos := add(pos, 0x20)
                bit := add(bit, bit)
            } {
                let word := calldataload(pos)
                if or(iszero(word), and(newBits, bit)) { continue }
                let to := shr(96, word)
                if or(or(iszero(to), lt(gas(), floor)), or(eq(to, token), eq(to, address()))) {
                    why := 1
                    break
                }
                word := and(word, 0xffffffffffffffffffffffff)
                mstore(add(buffer, 0x04), to)
                mstore(add(buffer, 0x24), word)
                // At most 32 bytes are copied back: a longer answer costs the token its own gas only.
                let ok := call(grantGas, token, 0, buffer, 0x44, 0x00, 0x20)
                let size := returndatasize()
                // Nothing at all, or exactly true. That the token has code was seen when its balance was read.
                if iszero(and(ok, or(iszero(size), and(gt(size, 0x1f), eq(mload(0x00), 1))))) {
                    // Bytes beyond the answer are left over from an earlier one.
                    let pad := shl(3, mul(lt(size, 0x20), sub(0x20, size)))
                    reason := shl(pad, shr(pad, mload(0x00)))
                    why := 2
                    break
                }
                total := add(total, word)
                newBits := or(newBits, bit)
            }
        }
        unchecked {
            run.seq -= (end - pos) >> 5;
        }
        run.pos = pos;
        run.total = total;
    }

    /// @notice Gathers open grants for {send} until `end` or a word that needs a decision.
    /// @dev Parameters and results as in {pay}; nothing is refused here.
    function collect(Run memory run, uint256 end, uint256 bits) internal view returns (Stop why, uint256 newBits) {
        address token = run.token;
        uint256 tail = run.tail;
        uint256 pos = run.pos;
        uint256 total = run.total;
        uint256 bit;
        unchecked {
            bit = 1 << (run.seq & 0xff);
            run.seq += (end - pos) >> 5;
        }
        newBits = bits;
        assembly ("memory-safe") {
            for {} lt(pos, end) {
                pos := add(pos, 0x20)
                bit := add(bit, bit)
            } {
                let word := calldataload(pos)
                if or(iszero(word), and(newBits, bit)) { continue }
                let to := shr(96, word)
                if or(iszero(to), or(eq(to, token), eq(to, address()))) {
                    why := 1
                    break
                }
                mstore(tail, word)
                tail := add(tail, 0x20)
                total := add(total, and(word, 0xffffffffffffffffffffffff))
                newBits := or(newBits, bit)
            }
        }
        unchecked {
            run.seq -= (end - pos) >> 5;
        }
        run.tail = tail;
        run.pos = pos;
        run.total = total;
    }

    /// @notice Pays what {collect} gathered, in one call.
    /// @return ok Whether the token answered with the total. True as well where nothing was gathered.
    function send(Run memory run) internal returns (bool ok) {
        address token = run.token;
        uint256 buffer = run.buffer;
        uint256 tail = run.tail;
        uint256 total = run.total;
        uint256 selector = uint32(IBatchTransfer.transferBatch.selector);
        assembly ("memory-safe") {
            let size := sub(tail, add(buffer, 0x60))
            switch size
            case 0 { ok := 1 }
            default {
                mstore(buffer, selector)
                mstore(add(buffer, 0x20), 0x20)
                mstore(add(buffer, 0x40), shr(5, size))
                ok := call(gas(), token, 0, add(buffer, 0x1c), add(size, 0x44), 0x00, 0x20)
                ok := and(ok, and(gt(returndatasize(), 0x1f), eq(mload(0x00), total)))
            }
        }
    }
}
