// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";

import {IRewardVault} from "../../src/interfaces/IRewardVault.sol";
import {FussyToken} from "../mocks/FussyToken.sol";
import {VaultTest} from "../VaultTest.sol";

contract SettleTest is VaultTest {
    uint64 internal constant FUSSY = 3;
    FussyToken internal fussy;

    function setUp() public override {
        super.setUp();
        fussy = new FussyToken();
        fussy.mint(address(vault), CAP);
        vm.prank(owner);
        vault.open(FUSSY, terms(address(fussy), false));
    }

    /*//////////////////////////////////////////////////////////////////////////
                                   WHO AND WHEN
    //////////////////////////////////////////////////////////////////////////*/

    function test_RevertWhen_CallerIsNoOperator() external {
        address[3] memory others = [owner, guardian, stranger];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotAllowed.selector, others[i]));
            vm.prank(others[i], others[i]);
            vault.settle(deadline(), segments(PLAIN, 0, grants(0, 1)), SEAL);
        }
    }

    function test_RevertWhen_Paused() external {
        vm.prank(guardian);
        vault.pause();
        settleReverts(PLAIN, 0, grants(0, 1), abi.encodeWithSelector(IRewardVault.VaultPaused.selector));
    }

    function test_RevertWhen_DeadlineIsPast() external {
        uint64 past = uint64(vm.getBlockTimestamp() - 1);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.Expired.selector, past));
        vm.prank(operator, operator);
        vault.settle(past, segments(PLAIN, 0, grants(0, 1)), SEAL);
    }

    function test_PaysAtTheDeadline() external {
        vm.prank(operator, operator);
        vault.settle(uint64(vm.getBlockTimestamp()), segments(PLAIN, 0, grants(0, 1)), SEAL);
        assertEq(plain.balanceOf(player(0)), AMOUNT);
    }

    function test_RevertWhen_DeadlineIsTooFar() external {
        uint64 latest = uint64(vm.getBlockTimestamp()) + vault.MAX_LIFETIME();
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.DeadlineTooFar.selector, latest + 1, latest));
        vm.prank(operator, operator);
        vault.settle(latest + 1, segments(PLAIN, 0, grants(0, 1)), SEAL);

        vm.prank(operator, operator);
        vault.settle(latest, segments(PLAIN, 0, grants(0, 1)), SEAL);
        assertEq(plain.balanceOf(player(0)), AMOUNT);
    }

    function test_NoSegmentsChangeNothing() external {
        vm.recordLogs();
        assertEq(settleAll(new IRewardVault.Segment[](0)).length, 0);
        assertEq(vm.getRecordedLogs().length, 0);
    }

    function test_RevertWhen_CampaignWasNeverOpened() external {
        settleReverts(77, 0, grants(0, 1), abi.encodeWithSelector(IRewardVault.CampaignNotOpen.selector, 77));
    }

    function test_RevertWhen_CampaignIsClosed() external {
        close(PLAIN);
        vm.warp(vm.getBlockTimestamp() + vault.CLOSE_DELAY() - 1);
        settle(PLAIN, 0, grants(0, 1));
        vm.warp(vm.getBlockTimestamp() + 1);
        settleReverts(PLAIN, 1, grants(1, 1), abi.encodeWithSelector(IRewardVault.CampaignNotOpen.selector, PLAIN));
    }

    /*//////////////////////////////////////////////////////////////////////////
                                       WORDS
    //////////////////////////////////////////////////////////////////////////*/

    function test_RevertWhen_SegmentIsEmpty() external {
        settleReverts(
            PLAIN, 5, new uint256[](0), abi.encodeWithSelector(IRewardVault.BadSegment.selector, PLAIN, uint64(5))
        );
    }

    function test_RevertWhen_SegmentLeavesTheRangeOfSeqs() external {
        uint64 first = type(uint64).max - 2;
        settleReverts(
            PLAIN, first, grants(0, 4), abi.encodeWithSelector(IRewardVault.BadSegment.selector, PLAIN, first)
        );

        uint256[] memory paid = settle(PLAIN, first, grants(0, 3));
        assertEq(paid.length, 1);
        assertEq(paid[0], uint256(7) << 253);
        assertEq(vault.burned(PLAIN, type(uint64).max >> 8), uint256(7) << 253);
    }

    function test_RevertWhen_RecipientIsZero() external {
        uint64[2] memory both = [PLAIN, BATCH];
        for (uint256 i = 0; i < both.length; ++i) {
            uint256[] memory words = grants(0, 12);
            words[10] = AMOUNT;
            settleReverts(
                both[i], 100, words, abi.encodeWithSelector(IRewardVault.ZeroRecipient.selector, both[i], uint64(110))
            );
            cancel(both[i], 0, 1 << 110);
            settle(both[i], 100, words);
            assertEq(vault.burned(both[i], 0), ((1 << 12) - 1) << 100);
        }
    }

    function test_ReportsVaultAndTokenAsRecipients() external {
        _refusesRecipient(PLAIN, address(vault));
        _refusesRecipient(PLAIN, address(plain));
        _refusesRecipient(BATCH, address(vault));
        _refusesRecipient(BATCH, address(batch));
    }

    function _refusesRecipient(uint64 campaign, address to) private {
        uint256 snapshot = vm.snapshotState();
        uint256[] memory words = grants(0, 20);
        words[9] = word(to, AMOUNT);
        vm.expectEmit(address(vault));
        emit IRewardVault.GrantFailed(campaign, 9, words[9], vault.RECIPIENT_REFUSED());
        uint256[] memory paid = settle(campaign, 0, words);
        assertEq(paid[0], ((1 << 20) - 1) ^ (1 << 9));
        assertEq(spentOf(campaign), 19 * AMOUNT);

        settleReverts(
            campaign, 9, one(words[9]), abi.encodeWithSelector(IRewardVault.NothingPaid.selector, campaign, uint64(9))
        );
        vm.revertToState(snapshot);
    }

    function test_HolesChangeNothing() external {
        uint64[2] memory both = [PLAIN, BATCH];
        for (uint256 i = 0; i < both.length; ++i) {
            uint256[] memory words = grants(0, 600);
            uint256 expected = type(uint256).max;
            for (uint256 hole = 0; hole < 256; hole += 3) {
                words[hole] = 0;
                expected ^= 1 << hole;
            }
            uint256[] memory paid = settle(both[i], 0, words);
            assertEq(paid[0], expected);
            assertEq(paid[1], type(uint256).max);
            assertEq(paid[2], (1 << 88) - 1);
            assertEq(spentOf(both[i]), (600 - 86) * AMOUNT);
        }
    }

    function test_HolesAloneAreAccepted() external {
        assertEq(settle(PLAIN, 0, new uint256[](300)).length, 2);
        assertEq(settle(BATCH, 0, new uint256[](300)).length, 2);
        assertEq(vault.burned(PLAIN, 0) | vault.burned(BATCH, 0), 0);
    }

    function test_ZeroAmountBurnsItsBit() external {
        uint64[2] memory both = [PLAIN, BATCH];
        for (uint256 i = 0; i < both.length; ++i) {
            assertEq(settle(both[i], 0, one(word(player(0), 0)))[0], 1);
            assertEq(vault.burned(both[i], 0), 1);
        }
    }

    /*//////////////////////////////////////////////////////////////////////////
                                     FAILURES
    //////////////////////////////////////////////////////////////////////////*/

    function test_RevertWhen_EveryOpenGrantFails() external {
        fussy.refuse(player(0), true);
        fussy.refuse(player(1), true);
        bytes memory err = abi.encodeWithSelector(IRewardVault.NothingPaid.selector, FUSSY, uint64(0));
        settleReverts(FUSSY, 0, grants(0, 2), err);

        settle(FUSSY, 2, grants(2, 1));
        settleReverts(FUSSY, 0, grants(0, 3), err);
    }

    function test_ReportsFailuresAndPaysTheRest() external {
        uint256[] memory words = grants(0, 300);
        fussy.refuse(player(0), true);
        fussy.refuse(player(255), true);
        fussy.refuse(player(299), true);
        bytes32 reason = bytes32(FussyToken.Refused.selector);
        vm.expectEmit(address(vault));
        emit IRewardVault.GrantFailed(FUSSY, 0, words[0], reason);
        vm.expectEmit(address(vault));
        emit IRewardVault.GrantFailed(FUSSY, 255, words[255], reason);
        vm.expectEmit(address(vault));
        emit IRewardVault.GrantFailed(FUSSY, 299, words[299], reason);
        uint256[] memory paid = settle(FUSSY, 0, words);
        assertEq(paid[0], type(uint256).max ^ 1 ^ (1 << 255));
        assertEq(paid[1], (1 << 43) - 1);
        assertEq(spentOf(FUSSY), 297 * AMOUNT);

        fussy.refuse(player(0), false);
        fussy.refuse(player(255), false);
        fussy.refuse(player(299), false);
        paid = settle(FUSSY, 0, words);
        assertEq(paid[0], 1 | (1 << 255));
        assertEq(paid[1], 1 << 43);
        for (uint256 i = 0; i < 300; ++i) {
            assertEq(fussy.balanceOf(player(i)), AMOUNT);
        }
    }

    /*//////////////////////////////////////////////////////////////////////////
                                      REPLAYS
    //////////////////////////////////////////////////////////////////////////*/

    function test_FullReplayChangesNothing() external {
        uint64[2] memory both = [PLAIN, BATCH];
        for (uint256 i = 0; i < both.length; ++i) {
            uint256[] memory words = grants(0, 500);
            settle(both[i], 250, words);
            vm.expectEmit(address(vault));
            emit IRewardVault.BatchSettled(
                both[i], 250, SEAL, 500, 0, keccak256(abi.encodePacked(words)), new uint256[](3)
            );
            uint256[] memory paid = settle(both[i], 250, words);
            assertEq(paid[0] | paid[1] | paid[2], 0);
            assertEq(spentOf(both[i]), 500 * AMOUNT);
        }
    }

    function test_PartialReplayPaysTheRest() external {
        uint64[2] memory both = [PLAIN, BATCH];
        for (uint256 i = 0; i < both.length; ++i) {
            uint256[] memory words = grants(0, 40);
            uint256[] memory sparse = grants(0, 40);
            uint256 first;
            for (uint256 j = 0; j < 40; ++j) {
                if (j % 3 == 0) sparse[j] = 0;
                else first |= 1 << j;
            }
            assertEq(settle(both[i], 0, sparse)[0], first);
            assertEq(settle(both[i], 0, words)[0], ((1 << 40) - 1) ^ first);
            assertEq(spentOf(both[i]), 40 * AMOUNT);
        }
    }

    function test_ReplayAtBits0And255And256() external {
        uint64[2] memory both = [PLAIN, BATCH];
        for (uint256 i = 0; i < both.length; ++i) {
            uint256[] memory words = grants(0, 257);
            settle(both[i], 0, one(words[0]));
            settle(both[i], 255, one(words[255]));
            settle(both[i], 256, one(words[256]));
            uint256[] memory paid = settle(both[i], 0, words);
            assertEq(paid[0], type(uint256).max ^ 1 ^ (1 << 255));
            assertEq(paid[1], 0);
            assertEq(spentOf(both[i]), 257 * AMOUNT);
        }
    }

    function test_SegmentAcrossABitmapWord() external {
        uint64[2] memory both = [PLAIN, BATCH];
        for (uint256 i = 0; i < both.length; ++i) {
            uint256[] memory paid = settle(both[i], 255, grants(0, 2));
            assertEq(paid.length, 2);
            assertEq(paid[0], 1 << 255);
            assertEq(paid[1], 1);
            assertEq(vault.burned(both[i], 0), 1 << 255);
            assertEq(vault.burned(both[i], 1), 1);
        }
    }

    function test_OverlappingSegmentsPayOnce() external {
        uint64[2] memory both = [PLAIN, BATCH];
        for (uint256 i = 0; i < both.length; ++i) {
            IRewardVault.Segment[] memory list = new IRewardVault.Segment[](3);
            list[0] = IRewardVault.Segment(both[i], 0, grants(0, 20));
            list[1] = IRewardVault.Segment(both[i], 10, grants(10, 20));
            list[2] = list[0];
            uint256[][] memory paid = settleAll(list);
            assertEq(paid[0][0], (1 << 20) - 1);
            assertEq(paid[1][0], ((1 << 10) - 1) << 20);
            assertEq(paid[2][0], 0);
            assertEq(spentOf(both[i]), 30 * AMOUNT);
        }
    }

    function test_CampaignsWithEqualSeqsAreApart() external {
        IRewardVault.Segment[] memory list = new IRewardVault.Segment[](2);
        list[0] = IRewardVault.Segment(PLAIN, 7, grants(0, 3));
        list[1] = IRewardVault.Segment(BATCH, 7, grants(0, 3));
        uint256[][] memory paid = settleAll(list);
        assertEq(paid[0][0], 7 << 7);
        assertEq(paid[1][0], 7 << 7);

        vm.prank(owner);
        vault.close(PLAIN);
        cancel(BATCH, 0, 1);
        assertEq(vault.burned(PLAIN, 0), 7 << 7);
        assertEq(vault.burned(BATCH, 0), (7 << 7) | 1);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                 CAPS AND WINDOWS
    //////////////////////////////////////////////////////////////////////////*/

    function test_RevertWhen_CapIsExceeded() external {
        uint64[2] memory both = [PLAIN, BATCH];
        address[2] memory tokens = [address(plain), address(batch)];
        for (uint256 i = 0; i < both.length; ++i) {
            // More in the vault than any cap, so that only the cap can stop it.
            deal(tokens[i], address(vault), uint256(CAP) * 3);
            settleReverts(
                both[i],
                0,
                one(word(player(0), CAP + 1)),
                abi.encodeWithSelector(IRewardVault.CapExceeded.selector, both[i], CAP + 1, CAP)
            );
            settle(both[i], 0, one(word(player(0), CAP)));
            assertEq(vault.spendable(both[i]), 0);
            settleReverts(
                both[i],
                1,
                one(word(player(1), 1)),
                abi.encodeWithSelector(IRewardVault.CapExceeded.selector, both[i], 1, 0)
            );
        }
    }

    function test_RevertWhen_WindowIsExceeded() external {
        vm.prank(owner);
        vault.setLimits(PLAIN, GRANT_GAS, 10 ether, 1 hours);
        assertEq(vault.spendable(PLAIN), 10 ether);
        settle(PLAIN, 0, one(word(player(0), 4 ether)));
        assertEq(vault.spendable(PLAIN), 6 ether);
        uint256[] memory over = one(word(player(1), 6 ether + 1));
        bytes memory err = abi.encodeWithSelector(IRewardVault.WindowExceeded.selector, PLAIN, 6 ether + 1, 6 ether);
        settleReverts(PLAIN, 1, over, err);
        vm.warp(vm.getBlockTimestamp() + 1 hours - 1);
        settleReverts(PLAIN, 1, over, err);
        settle(PLAIN, 2, one(word(player(2), 6 ether)));
        assertEq(vault.spendable(PLAIN), 0);

        vm.warp(vm.getBlockTimestamp() + 1);
        assertEq(vault.spendable(PLAIN), 10 ether);
        settle(PLAIN, 1, over);
        settle(PLAIN, 3, one(word(player(3), 4 ether - 1)));
        settleReverts(
            PLAIN, 4, grants(4, 1), abi.encodeWithSelector(IRewardVault.WindowExceeded.selector, PLAIN, AMOUNT, 0)
        );
    }

    function test_WindowCountsAllSegmentsOfACall() external {
        vm.prank(owner);
        vault.setLimits(PLAIN, GRANT_GAS, 3 ether, 1 hours);
        IRewardVault.Segment[] memory list = new IRewardVault.Segment[](2);
        list[0] = IRewardVault.Segment(PLAIN, 0, grants(0, 2));
        list[1] = IRewardVault.Segment(PLAIN, 2, grants(2, 2));
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.WindowExceeded.selector, PLAIN, 2 ether, 1 ether));
        vm.prank(operator, operator);
        vault.settle(deadline(), list, SEAL);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                       LOGS
    //////////////////////////////////////////////////////////////////////////*/

    function test_LogsHashTotalAndMask() external {
        uint256[] memory words = grants(0, 9);
        words[4] = 0;
        uint256[] memory mask = new uint256[](1);
        mask[0] = 0x1ef << 3;
        uint64[2] memory both = [PLAIN, BATCH];
        for (uint256 i = 0; i < both.length; ++i) {
            vm.expectEmit(address(vault));
            emit IRewardVault.BatchSettled(both[i], 3, SEAL, 9, 8 * AMOUNT, keccak256(abi.encodePacked(words)), mask);
            assertEq(settle(both[i], 3, words), mask);
            assertEq(vault.committed(i == 0 ? address(plain) : address(batch)), CAP - 8 * AMOUNT);
        }
    }

    function test_LogsAloneTellWhoGotWhat() external {
        fussy.refuse(player(2), true);
        IRewardVault.Segment[] memory list = new IRewardVault.Segment[](3);
        list[0] = IRewardVault.Segment(FUSSY, 254, grants(0, 5));
        list[0].grants[1] = 0;
        list[1] = IRewardVault.Segment(BATCH, 1000, grants(50, 3));
        list[2] = IRewardVault.Segment(FUSSY, 900, grants(80, 2));
        vm.recordLogs();
        settleAll(list);
        _readLogs(vm.getRecordedLogs());
        assertEq(rebuilt[FUSSY][254], word(player(0), AMOUNT));
        assertEq(rebuilt[FUSSY][255], 0);
        assertEq(rebuilt[FUSSY][256], 0, "refused");
        assertEq(rebuilt[FUSSY][257], word(player(3), AMOUNT));
        assertEq(rebuilt[FUSSY][258], word(player(4), AMOUNT));
        assertEq(rebuilt[BATCH][1000], word(player(50), AMOUNT));
        assertEq(rebuilt[BATCH][1002], word(player(52), AMOUNT));
        assertEq(rebuilt[FUSSY][901], word(player(81), AMOUNT));
    }

    mapping(uint64 campaign => mapping(uint64 seq => uint256 word)) private rebuilt;
    uint256[] private transfers;

    /// @dev What a stranger does: the k-th set bit is the k-th transfer from the vault since the last BatchSettled.
    function _readLogs(Vm.Log[] memory logs) private {
        for (uint256 i = 0; i < logs.length; ++i) {
            bytes32 topic = logs[i].topics[0];
            if (topic == keccak256("Transfer(address,address,uint256)")) {
                if (address(uint160(uint256(logs[i].topics[1]))) != address(vault)) continue;
                transfers.push(uint256(logs[i].topics[2]) << 96 | abi.decode(logs[i].data, (uint256)));
            } else if (topic == IRewardVault.BatchSettled.selector) {
                uint64 campaign = uint64(uint256(logs[i].topics[1]));
                uint64 base = (uint64(uint256(logs[i].topics[2])) >> 8) << 8;
                (,,, uint256[] memory paid) = abi.decode(logs[i].data, (uint256, uint256, bytes32, uint256[]));
                uint256 k;
                for (uint256 bit = 0; bit < paid.length * 256; ++bit) {
                    if (paid[bit >> 8] >> (bit & 0xff) & 1 == 1) {
                        rebuilt[campaign][base + uint64(bit)] = transfers[k++];
                    }
                }
                assertEq(k, transfers.length, "as many transfers as bits");
                delete transfers;
            }
        }
    }
}
