// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {ERC20} from "solady/tokens/ERC20.sol";

import {IBatchTransfer} from "../../src/interfaces/IBatchTransfer.sol";
import {RewardToken} from "../../src/RewardToken.sol";
import {VaultTest} from "../VaultTest.sol";

contract RewardTokenTest is VaultTest {
    address private constant PERMIT2 = 0x000000000022D473030F116dDEE9F6B43aC78BA3;

    function test_Metadata() external view {
        assertEq(batch.name(), "Reward");
        assertEq(batch.symbol(), "RWD");
        assertEq(batch.decimals(), 18);
    }

    function test_OwnerMints() external {
        vm.prank(owner);
        batch.mint(stranger, 5);
        assertEq(batch.balanceOf(stranger), 5);
        vm.expectRevert();
        vm.prank(stranger);
        batch.mint(stranger, 5);
    }

    /// @dev Recipients from a small set, so that some repeat and the caller is among them.
    function testFuzz_BatchEqualsTransfers(uint256 seed, uint8 count) external {
        RewardToken other = new RewardToken("Reward", "RWD", owner);
        vm.startPrank(owner);
        batch.mint(stranger, 1e30);
        other.mint(stranger, 1e30);
        vm.stopPrank();
        uint256[] memory words = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint256 random = uint256(keccak256(abi.encode(seed, i)));
            words[i] = word(random % 9 == 0 ? stranger : player(random % 9), uint96(random >> 160) % 1e27);
        }

        vm.recordLogs();
        vm.prank(stranger);
        uint256 total = batch.transferBatch(words);
        Vm.Log[] memory batched = vm.getRecordedLogs();
        uint256 sum;
        vm.startPrank(stranger);
        for (uint256 i = 0; i < count; ++i) {
            sum += uint96(words[i]);
            // forge-lint: disable-next-line(erc20-unchecked-transfer)
            other.transfer(address(uint160(words[i] >> 96)), uint96(words[i]));
        }
        vm.stopPrank();
        Vm.Log[] memory single = vm.getRecordedLogs();

        assertEq(total, sum);
        assertEq(batch.balanceOf(stranger), other.balanceOf(stranger));
        for (uint256 i = 0; i < 9; ++i) {
            assertEq(batch.balanceOf(player(i)), other.balanceOf(player(i)));
        }
        assertEq(batched.length, single.length);
        for (uint256 i = 0; i < single.length; ++i) {
            assertEq(batched[i].data, single[i].data);
            assertEq(abi.encode(batched[i].topics), abi.encode(single[i].topics));
        }
    }

    function test_RevertWhen_BalanceIsTooSmall() external {
        vm.prank(owner);
        batch.mint(stranger, 9 * AMOUNT - 1);
        vm.expectRevert(ERC20.InsufficientBalance.selector);
        vm.prank(stranger);
        batch.transferBatch(grants(0, 9));

        // What comes back to the caller does not count as held before.
        vm.expectRevert(ERC20.InsufficientBalance.selector);
        vm.prank(stranger);
        batch.transferBatch(one(word(stranger, 9 * AMOUNT)));
    }

    function test_RevertWhen_RecipientIsZero() external {
        vm.prank(owner);
        batch.mint(stranger, 100 * AMOUNT);
        for (uint256 i = 0; i < 17; ++i) {
            uint256[] memory words = grants(0, 17);
            words[i] = uint96(i);
            vm.expectRevert(IBatchTransfer.ZeroRecipient.selector);
            vm.prank(stranger);
            batch.transferBatch(words);
        }
    }

    function test_EmptyBatch() external {
        vm.recordLogs();
        vm.prank(stranger);
        assertEq(batch.transferBatch(new uint256[](0)), 0);
        assertEq(vm.getRecordedLogs().length, 0);

        // The shortest calldata there is: the array's place points back at its own zero word.
        vm.prank(stranger);
        (bool ok, bytes memory answer) =
            address(batch).call(abi.encodePacked(IBatchTransfer.transferBatch.selector, uint256(0)));
        assertTrue(ok);
        assertEq(abi.decode(answer, (uint256)), 0);
        assertEq(vm.getRecordedLogs().length, 0);
    }

    function test_Permit() external {
        (address holder, uint256 key) = makeAddrAndKey("holder");
        bytes32 typehash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 hashed = keccak256(abi.encode(typehash, holder, stranger, 7, 0, vm.getBlockTimestamp()));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", batch.DOMAIN_SEPARATOR(), hashed));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        batch.permit(holder, stranger, 7, vm.getBlockTimestamp(), v, r, s);
        assertEq(batch.allowance(holder, stranger), 7);
    }

    function test_Permit2HasNoAllowance() external {
        assertEq(batch.allowance(address(vault), PERMIT2), 0);
        vm.expectRevert(ERC20.InsufficientAllowance.selector);
        vm.prank(PERMIT2);
        // forge-lint: disable-next-line(erc20-unchecked-transfer)
        batch.transferFrom(address(vault), stranger, 1);
        vm.prank(stranger);
        batch.approve(PERMIT2, 5);
        assertEq(batch.allowance(stranger, PERMIT2), 5);
    }
}
