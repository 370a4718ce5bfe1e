// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IRewardVault} from "../../src/interfaces/IRewardVault.sol";
import {VaultTest} from "../VaultTest.sol";

contract CancelTest is VaultTest {
    function test_RevertWhen_CallerIsNeitherOperatorNorOwner() external {
        address[2] memory others = [guardian, stranger];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotAllowed.selector, others[i]));
            vm.prank(others[i], others[i]);
            vault.cancel(PLAIN, 0, 1);
        }
    }

    function test_RevertWhen_CampaignWasNeverOpened() external {
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.CampaignNotOpen.selector, 77));
        cancel(77, 0, 1);
    }

    function test_RevertWhen_Released() external {
        close(PLAIN);
        vm.warp(vm.getBlockTimestamp() + vault.CLOSE_DELAY());
        cancel(PLAIN, 0, 1);
        assertEq(vault.burned(PLAIN, 0), 1);
        vault.release(PLAIN);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.CampaignNotOpen.selector, PLAIN));
        cancel(PLAIN, 0, 2);
    }

    function test_RevertWhen_NoSeqLiesInTheWord() external {
        uint64 last = type(uint64).max >> 8;
        cancel(PLAIN, last, 1 << 255);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.BadWord.selector, PLAIN, last + 1));
        cancel(PLAIN, last + 1, 1);
    }

    function test_LogsNothingWhenAllIsBurned() external {
        settle(PLAIN, 0, grants(0, 8));
        cancel(PLAIN, 0, 0xff00);
        vm.recordLogs();
        cancel(PLAIN, 0, 0xffff);
        cancel(PLAIN, 0, 0);
        assertEq(vm.getRecordedLogs().length, 0);
    }

    function test_LogsAndBurnsOnlyOpenBits() external {
        settle(PLAIN, 0, grants(0, 8));
        vm.expectEmit(address(vault));
        emit IRewardVault.GrantsCancelled(PLAIN, 0, (1 << 255) | 0xff00);
        cancel(PLAIN, 0, (1 << 255) | 0xffff);
        assertEq(vault.burned(PLAIN, 0), (1 << 255) | 0xffff);
    }

    function test_BurnsWhilePaused() external {
        vm.prank(guardian);
        vault.pause();
        cancel(PLAIN, 0, 1);
        vm.prank(owner);
        vault.cancel(PLAIN, 0, 2);
        vm.etch(owner, hex"00");
        vm.prank(owner);
        vault.cancel(PLAIN, 0, 4);
        assertEq(vault.burned(PLAIN, 0), 7);
    }

    function test_SettlementAfterItPaysNobody() external {
        uint64[2] memory both = [PLAIN, BATCH];
        for (uint256 i = 0; i < both.length; ++i) {
            cancel(both[i], 0, 2);
            assertEq(settle(both[i], 0, grants(0, 3))[0], 5);
            assertEq(settle(both[i], 1, grants(1, 1))[0], 0);
            assertEq(spentOf(both[i]), 2 * AMOUNT);
        }
        assertEq(plain.balanceOf(player(1)), 0);
        assertEq(batch.balanceOf(player(1)), 0);
    }

    function test_BurnsNothingAfterSettlement() external {
        settle(PLAIN, 0, grants(0, 3));
        vm.recordLogs();
        cancel(PLAIN, 0, 7);
        assertEq(vm.getRecordedLogs().length, 0);
        assertEq(spentOf(PLAIN), 3 * AMOUNT);
    }

    function test_BetweenTwoSettlements() external {
        settle(PLAIN, 0, grants(0, 1));
        cancel(PLAIN, 0, 2);
        assertEq(settle(PLAIN, 0, grants(0, 3))[0], 4);
        assertEq(spentOf(PLAIN), 2 * AMOUNT);
    }

    function testFuzz_PaidAndCancelledNeverOverlap(uint256 mask, uint8 first, uint16 count) external {
        count = uint16(bound(count, 1, 300));
        cancel(PLAIN, 0, mask);
        uint256[] memory paid = settle(PLAIN, first, grants(0, count));
        assertEq(paid[0] & mask, 0);
        uint256 range = count + first >= 256 ? type(uint256).max : (1 << (count + uint256(first))) - 1;
        range &= ~((1 << first) - 1);
        assertEq(paid[0], range & ~mask, "all that was open is paid");
        assertEq(vault.burned(PLAIN, 0), range | mask);
    }
}
