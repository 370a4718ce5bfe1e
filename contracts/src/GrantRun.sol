// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {LibBit} from "solady/utils/LibBit.sol";

import {IBatchTransfer} from "./interfaces/IBatchTransfer.sol";

/// @notice A cursor over the words of one segment, and what came of them.
/// @param token The token paid.
/// @param grantGas Stipend of a single transfer.
/// @param gasFloor Gas that must be left before a single transfer, so that it gets its full stipend.
/// @param begin Calldata offset of the segment's first word.
/// @param end Calldata offset after its last word.
/// @param pos Calldata offset of the next word.
/// @param seq Seq of the next word.
/// @param bits Burned bits of the bitmap word that the cursor is in.
/// @param total Sum of the amounts paid so far, or gathered.
/// @param buffer Memory for a call of transferBatch: HEAD bytes and one word per grant.
/// @param tail Where the next gathered word goes.
/// @param reason First 32 bytes of the token's last refusal, zero-padded.
struct Run {
    address token;
    uint256 grantGas;
    uint256 gasFloor;
    uint256 begin;
    uint256 end;
    uint256 pos;
    uint256 seq;
    uint256 bits;
    uint256 total;
    uint256 buffer;
    uint256 tail;
    bytes32 reason;
}

/// @notice Why a run stopped.
enum Stop {
    /// At its end.
    Done,
    /// At a word that was not tried: a hole, a bad recipient, or too little gas.
    Untried,
    /// At a word that the token refused.
    Refused
}

/// @title GrantRun
/// @notice The loops over grants, in assembly because they run once per grant.
/// @dev They stop at whatever is not an ordinary payment and leave it to the caller, so that nothing rare costs gas here.
/// A run is a stretch of open seqs within one bitmap word; bits are set for it as a whole.
library GrantRun {
    /// @dev Gas a call costs before EIP-150 looks at what is left (100 for a warm token), and what the loop spends between
    /// looking and calling. Generous: it only moves the point at which a settlement reverts for want of gas.
    uint256 private constant CALL_OVERHEAD = 6000;

    /// @dev What precedes the words in a call of transferBatch, the selector in a word of its own: selector, offset, length.
    uint256 private constant HEAD = 0x60;

    /// @notice Where a segment's words lie, and memory for as many of them in a batch.
    /// @return begin Calldata offset of the first word.
    /// @return end Calldata offset after the last word.
    /// @return buffer See {Run}.
    /// @return tail Where the first gathered word goes.
    function place(uint256[] calldata grants)
        internal
        pure
        returns (uint256 begin, uint256 end, uint256 buffer, uint256 tail)
    {
        assembly ("memory-safe") {
            begin := grants.offset
            end := add(begin, shl(5, grants.length))
            buffer := mload(0x40)
            tail := add(buffer, HEAD)
            mstore(0x40, add(tail, shl(5, grants.length)))
        }
    }

    /// @notice Gas that must be left before a transfer: a call gets what it asks for only if 63/64 of it cover that (EIP-150).
    function gasFloor(uint256 grantGas) internal pure returns (uint256) {
        unchecked {
            return grantGas * 64 / 63 + CALL_OVERHEAD;
        }
    }

    /// @notice Pays one by one until `end`, a word that needs a decision, or a refusal.
    /// @param end Calldata offset after the last word of a stretch of open seqs that is not empty.
    /// @return why Why it stopped; the cursor stands on that word.
    function pay(Run memory run, uint256 end) internal returns (Stop why) {
        uint256 pos = run.pos;
        uint256 total = run.total;
        address token = run.token;
        uint256 grantGas = run.grantGas;
        uint256 floor = run.gasFloor;
        bytes32 reason;
        assembly ("memory-safe") {
            // The call's data lies in 0x00..0x44 and its answer in 0x60..0x80: fixed places keep the stack short. What
            // belongs there, the head of the free memory pointer and the zero slot, is restored below.
            mstore(0x00, shl(224, 0xa9059cbb)) // transfer(address,uint256)
            for {} 1 {} {
                let word := calldataload(pos)
                let to := shr(96, word)
                if or(or(iszero(to), lt(gas(), floor)), or(eq(to, token), eq(to, address()))) {
                    why := 1
                    break
                }
                mstore(0x10, word)
                word := and(word, 0xffffffffffffffffffffffff)
                mstore(0x24, word)
                // At most 32 bytes are copied back: a longer answer costs only the stipend it was made with.
                let ok := call(grantGas, token, 0, 0x00, 0x44, 0x60, 0x20)
                // Nothing at all, or exactly true. That the token has code was seen when its balance was read.
                if iszero(and(ok, or(and(gt(returndatasize(), 0x1f), eq(mload(0x60), 1)), iszero(returndatasize())))) {
                    why := 2
                    // Bytes beyond the answer are left over from an earlier one.
                    let pad := shl(3, mul(lt(returndatasize(), 0x20), sub(0x20, returndatasize())))
                    reason := shl(pad, shr(pad, mload(0x60)))
                    break
                }
                total := add(total, word)
                pos := add(pos, 0x20)
                if lt(pos, end) { continue }
                break
            }
            mstore(0x40, and(mload(0x40), shr(32, not(0))))
            mstore(0x60, 0)
        }
        run.reason = reason;
        run.total = total;
        settleTo(run, pos);
    }

    /// @notice Gathers grants for {send} until `end` or a word that needs a decision. Refuses nothing.
    /// @param end As for {pay}.
    /// @return why Why it stopped; the cursor stands on that word.
    function collect(Run memory run, uint256 end) internal view returns (Stop why) {
        uint256 pos = run.pos;
        uint256 total = run.total;
        address token = run.token;
        assembly ("memory-safe") {
            // Looks at the word at pos + offset. Copied in at each use because the offset is a literal.
            function look(offset, at, token_, sum, flaws) -> newSum, newFlaws {
                let word := calldataload(add(at, offset))
                newSum := add(sum, word)
                let to := shr(96, word)
                newFlaws := or(flaws, or(iszero(to), or(eq(to, token_), eq(to, address()))))
            }
            // Whole words are added: what the recipients bring into the sum lies above the amounts' 96 bits and is cut
            // off below. Amounts of more than 96 bits together would lose their head; then the balance does not match.
            for { let last := mul(gt(end, 0xe0), sub(end, 0xe0)) } lt(pos, last) { pos := add(pos, 0x100) } {
                let sum, flaws := look(0x00, pos, token, total, 0)
                sum, flaws := look(0x20, pos, token, sum, flaws)
                sum, flaws := look(0x40, pos, token, sum, flaws)
                sum, flaws := look(0x60, pos, token, sum, flaws)
                sum, flaws := look(0x80, pos, token, sum, flaws)
                sum, flaws := look(0xa0, pos, token, sum, flaws)
                sum, flaws := look(0xc0, pos, token, sum, flaws)
                sum, flaws := look(0xe0, pos, token, sum, flaws)
                if flaws { break }
                total := sum
            }
            for {} lt(pos, end) { pos := add(pos, 0x20) } {
                let sum, flaw := look(0x00, pos, token, total, 0)
                if flaw {
                    why := 1
                    break
                }
                total := sum
            }
            total := and(total, 0xffffffffffffffffffffffff)
        }
        run.total = total;
        uint256 from = run.pos;
        uint256 tail = run.tail;
        assembly ("memory-safe") {
            calldatacopy(tail, from, sub(pos, from))
            tail := add(tail, sub(pos, from))
        }
        run.tail = tail;
        settleTo(run, pos);
    }

    /// @notice Pays what {collect} gathered, in one call.
    /// @return ok Whether the token answered with the total; true as well where nothing was gathered.
    function send(Run memory run) internal returns (bool ok) {
        address token = run.token;
        uint256 buffer = run.buffer;
        uint256 tail = run.tail;
        uint256 total = run.total;
        uint256 selector = uint32(IBatchTransfer.transferBatch.selector);
        assembly ("memory-safe") {
            let size := sub(tail, add(buffer, HEAD))
            ok := iszero(size)
            if size {
                mstore(buffer, selector)
                mstore(add(buffer, 0x20), 0x20)
                mstore(add(buffer, 0x40), shr(5, size))
                ok := call(gas(), token, 0, add(buffer, 0x1c), add(size, 0x44), 0x00, 0x20)
                ok := and(ok, and(gt(returndatasize(), 0x1f), eq(mload(0x00), total)))
            }
        }
    }

    /// @notice The longest stretch of open, or else of burned, seqs from the cursor on, within its bitmap word.
    /// @return open Whether the seqs are open.
    /// @return stretchEnd Calldata offset after the stretch.
    function stretch(Run memory run) internal pure returns (bool open, uint256 stretchEnd) {
        unchecked {
            uint256 bit = run.seq & 0xff;
            uint256 ahead = run.bits >> bit;
            open = ahead & 1 == 0;
            uint256 length = ahead == 0 ? 256 : LibBit.ffs(open ? ahead : ~ahead);
            if (length > 256 - bit) length = 256 - bit;
            stretchEnd = run.pos + (length << 5);
            if (stretchEnd > run.end) stretchEnd = run.end;
        }
    }

    /// @notice Moves the cursor within its bitmap word and burns the bits on the way.
    function settleTo(Run memory run, uint256 pos) internal pure {
        unchecked {
            // A shift by 256 gives zero, and zero less one gives all 256 bits.
            run.bits |= ((1 << ((pos - run.pos) >> 5)) - 1) << (run.seq & 0xff);
        }
        skipTo(run, pos);
    }

    /// @notice Moves the cursor, nothing else.
    function skipTo(Run memory run, uint256 pos) internal pure {
        unchecked {
            run.seq += (pos - run.pos) >> 5;
        }
        run.pos = pos;
    }

    /// @notice keccak256 of all words of the segment, also those that were not paid. Ends the use of the buffer.
    function hash(Run memory run) internal pure returns (bytes32 digest) {
        uint256 begin = run.begin;
        uint256 end = run.end;
        uint256 words = run.buffer + HEAD;
        uint256 gathered = run.tail - words;
        assembly ("memory-safe") {
            let size := sub(end, begin)
            // A batch without holes and burned seqs lies there already.
            if sub(gathered, size) { calldatacopy(words, begin, size) }
            digest := keccak256(words, size)
        }
    }

    /// @notice Moves the cursor by one word.
    function skip(Run memory run) internal pure {
        unchecked {
            run.pos += 0x20;
            ++run.seq;
        }
    }

    /// @notice The word at the cursor.
    function current(Run memory run) internal pure returns (uint256 word) {
        uint256 pos = run.pos;
        assembly ("memory-safe") {
            word := calldataload(pos)
        }
    }
}
