// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IRewardVault} from "../../src/interfaces/IRewardVault.sol";
import {VaultTest} from "../VaultTest.sol";

contract CampaignsTest is VaultTest {
    uint64 internal constant NEW = 9;

    /*//////////////////////////////////////////////////////////////////////////
                                       OPEN
    //////////////////////////////////////////////////////////////////////////*/

    function test_Open_RevertWhen_CallerIsNotTheOwner() external {
        address[3] memory others = [operator, guardian, stranger];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotAllowed.selector, others[i]));
            vm.prank(others[i]);
            vault.open(NEW, terms(address(plain), false));
        }
    }

    function test_Open_RevertWhen_IdWasUsed() external {
        _openReverts(PLAIN, terms(address(plain), false), IRewardVault.CampaignExists.selector);
        close(PLAIN);
        vm.warp(vm.getBlockTimestamp() + vault.CLOSE_DELAY());
        vault.release(PLAIN);
        _openReverts(PLAIN, terms(address(plain), false), IRewardVault.CampaignExists.selector);
    }

    function test_Open_RevertWhen_TermsCanNeverPay() external {
        plain.mint(address(vault), CAP);
        IRewardVault.Terms memory t = terms(makeAddr("no code"), false);
        _openReverts(NEW, t, IRewardVault.BadTerms.selector);
        t = terms(address(vault), false);
        _openReverts(NEW, t, IRewardVault.BadTerms.selector);
        t = terms(address(plain), false);
        t.grantGas = 29_999;
        _openReverts(NEW, t, IRewardVault.BadTerms.selector);
        t.grantGas = 8_000_001;
        _openReverts(NEW, t, IRewardVault.BadTerms.selector);
        t.grantGas = 30_000;
        t.windowLimit = 1;
        _openReverts(NEW, t, IRewardVault.BadTerms.selector);
        t.window = 1;
        vm.prank(owner);
        vault.open(NEW, t);
    }

    function test_Open_RevertWhen_CapIsNotBacked() external {
        plain.mint(address(vault), CAP - 1);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotBacked.selector, plain, CAP, CAP - 1));
        vm.prank(owner);
        vault.open(NEW, terms(address(plain), false));
    }

    function test_Open_CommitsAndLogs() external {
        plain.mint(address(vault), CAP + 5);
        IRewardVault.Terms memory t = IRewardVault.Terms(address(plain), false, 77_000, CAP, 3 ether, 60);
        vm.expectEmit(address(vault));
        emit IRewardVault.CampaignOpened(NEW, t);
        vm.prank(owner);
        vault.open(NEW, t);
        assertEq(vault.committed(address(plain)), uint256(CAP) * 2);
        assertEq(vault.uncommitted(address(plain)), 5);
        (IRewardVault.Terms memory read, uint96 spent, uint40 closesAt) = vault.campaign(NEW);
        assertEq(abi.encode(read), abi.encode(t));
        assertEq(spent, 0);
        assertEq(closesAt, 0);
        assertFalse(vault.released(NEW));
    }

    /*//////////////////////////////////////////////////////////////////////////
                                     RAISE CAP
    //////////////////////////////////////////////////////////////////////////*/

    function test_RaiseCap_RevertWhen_CallerIsNotTheOwner() external {
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotAllowed.selector, guardian));
        vm.prank(guardian);
        vault.raiseCap(PLAIN, CAP + 1);
    }

    function test_RaiseCap_RevertWhen_NotOpenOrClosing() external {
        plain.mint(address(vault), 1);
        close(PLAIN);
        uint64[2] memory ids = [PLAIN, NEW];
        for (uint256 i = 0; i < ids.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IRewardVault.CampaignNotOpen.selector, ids[i]));
            vm.prank(owner);
            vault.raiseCap(ids[i], CAP + 1);
        }
    }

    function test_RaiseCap_RevertWhen_CapDoesNotRise() external {
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.CapNotRaised.selector, PLAIN, CAP, CAP));
        vm.prank(owner);
        vault.raiseCap(PLAIN, CAP);
    }

    function test_RaiseCap_RevertWhen_RiseIsNotBacked() external {
        plain.mint(address(vault), 6);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotBacked.selector, plain, 7, 6));
        vm.prank(owner);
        vault.raiseCap(PLAIN, CAP + 7);
    }

    function test_RaiseCap_CommitsTheDifference() external {
        settle(PLAIN, 0, grants(0, 2));
        plain.mint(address(vault), 7);
        IRewardVault.Terms memory t = terms(address(plain), false);
        t.cap = CAP + 7;
        vm.expectEmit(address(vault));
        emit IRewardVault.CampaignChanged(PLAIN, t);
        vm.prank(owner);
        vault.raiseCap(PLAIN, CAP + 7);
        assertEq(vault.uncommitted(address(plain)), 0);
        assertEq(vault.spendable(PLAIN), CAP + 7 - 2 * AMOUNT);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                    SET LIMITS
    //////////////////////////////////////////////////////////////////////////*/

    function test_SetLimits_RevertWhen_CallerIsNotTheOwner() external {
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotAllowed.selector, guardian));
        vm.prank(guardian);
        vault.setLimits(PLAIN, GRANT_GAS, 0, 1);
    }

    function test_SetLimits_RevertWhen_Released() external {
        close(PLAIN);
        vm.warp(vm.getBlockTimestamp() + vault.CLOSE_DELAY());
        vault.release(PLAIN);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.CampaignNotOpen.selector, PLAIN));
        _setLimits(GRANT_GAS, 0, 1);
    }

    function test_SetLimits_RevertWhen_LimitsCanNeverPay() external {
        bytes memory err = abi.encodeWithSelector(IRewardVault.BadTerms.selector, PLAIN);
        vm.expectRevert(err);
        _setLimits(29_999, 0, 0);
        vm.expectRevert(err);
        _setLimits(8_000_001, 0, 0);
        vm.expectRevert(err);
        _setLimits(GRANT_GAS, 1, 0);
        _setLimits(8_000_000, 0, 0);
    }

    function test_SetLimits_BelowWhatTheWindowSpent() external {
        _setLimits(GRANT_GAS, 10 ether, 1 hours);
        settle(PLAIN, 0, grants(0, 5));
        _setLimits(GRANT_GAS, 4 ether, 1 hours);
        assertEq(vault.spendable(PLAIN), 0);
        settleReverts(
            PLAIN, 5, grants(5, 1), abi.encodeWithSelector(IRewardVault.WindowExceeded.selector, PLAIN, AMOUNT, 0)
        );
        vm.warp(vm.getBlockTimestamp() + 1 hours);
        settle(PLAIN, 5, grants(5, 4));
    }

    function test_SetLimits_ShorterWindowEndsInTime() external {
        _setLimits(GRANT_GAS, 5 ether, 1 days);
        settle(PLAIN, 0, grants(0, 5));
        _setLimits(GRANT_GAS, 5 ether, 1 hours);
        vm.warp(vm.getBlockTimestamp() + 1 hours - 1);
        assertEq(vault.spendable(PLAIN), 0);
        vm.warp(vm.getBlockTimestamp() + 1);
        assertEq(vault.spendable(PLAIN), 5 ether);
    }

    function test_SetLimits_ZeroStopsTheCampaign() external {
        _setLimits(GRANT_GAS, 0, 1);
        settleReverts(
            PLAIN, 0, grants(0, 1), abi.encodeWithSelector(IRewardVault.WindowExceeded.selector, PLAIN, AMOUNT, 0)
        );
        vm.warp(vm.getBlockTimestamp() + 30 days);
        assertEq(vault.spendable(PLAIN), 0);
        _setLimits(GRANT_GAS, 0, 0);
        settle(PLAIN, 0, grants(0, 1));
    }

    /*//////////////////////////////////////////////////////////////////////////
                                 CLOSE AND RELEASE
    //////////////////////////////////////////////////////////////////////////*/

    function test_Close_RevertWhen_CallerIsNeitherGuardianNorOwner() external {
        address[2] memory others = [operator, stranger];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotAllowed.selector, others[i]));
            vm.prank(others[i]);
            vault.close(PLAIN);
        }
    }

    function test_Close_RevertWhen_NotOpenOrClosing() external {
        close(PLAIN);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.CampaignNotOpen.selector, PLAIN));
        close(PLAIN);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.CampaignNotOpen.selector, NEW));
        close(NEW);
    }

    function test_Close_OutlivesEveryDeadline() external {
        assertGt(vault.CLOSE_DELAY(), vault.MAX_LIFETIME());
        uint40 closesAt = uint40(vm.getBlockTimestamp()) + vault.CLOSE_DELAY();
        vm.expectEmit(address(vault));
        emit IRewardVault.CampaignClosing(PLAIN, closesAt);
        vm.prank(owner);
        vault.close(PLAIN);
        (,, uint40 read) = vault.campaign(PLAIN);
        assertEq(read, closesAt);

        // A settlement signed in the last second before the close, with the longest deadline, still lands at its end.
        uint64 latest = uint64(vm.getBlockTimestamp()) + vault.MAX_LIFETIME();
        vm.warp(latest);
        vm.prank(operator, operator);
        vault.settle(latest, segments(PLAIN, 0, grants(0, 3)), SEAL);
        assertEq(spentOf(PLAIN), 3 * AMOUNT);
    }

    function test_Release_RevertWhen_NotReleasable() external {
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotReleasable.selector, PLAIN, 0));
        vault.release(PLAIN);
        close(PLAIN);
        uint40 closesAt = uint40(vm.getBlockTimestamp()) + vault.CLOSE_DELAY();
        vm.warp(closesAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotReleasable.selector, PLAIN, closesAt));
        vault.release(PLAIN);
        vm.warp(closesAt);
        vault.release(PLAIN);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.CampaignNotOpen.selector, PLAIN));
        vault.release(PLAIN);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.CampaignNotOpen.selector, NEW));
        vault.release(NEW);
    }

    function test_Release_UncommitsTheRest() external {
        close(PLAIN);
        vm.warp(vm.getBlockTimestamp() + vault.CLOSE_DELAY() - 1);
        settle(PLAIN, 0, grants(0, 3));
        vm.warp(vm.getBlockTimestamp() + 1);
        assertEq(vault.spendable(PLAIN), 0);
        vm.expectEmit(address(vault));
        emit IRewardVault.CampaignReleased(PLAIN, 3 * AMOUNT, CAP - 3 * AMOUNT);
        vm.prank(stranger);
        vault.release(PLAIN);
        assertTrue(vault.released(PLAIN));
        assertEq(vault.committed(address(plain)), 0);
        assertEq(vault.uncommitted(address(plain)), CAP - 3 * AMOUNT);
        (IRewardVault.Terms memory t, uint96 spent,) = vault.campaign(PLAIN);
        assertEq(t.cap, 3 * AMOUNT);
        assertEq(spent, 3 * AMOUNT);
    }

    function _openReverts(uint64 id, IRewardVault.Terms memory t, bytes4 selector) private {
        vm.expectRevert(abi.encodeWithSelector(selector, id));
        vm.prank(owner);
        vault.open(id, t);
    }

    function _setLimits(uint32 grantGas, uint96 windowLimit, uint32 window) private {
        vm.prank(owner);
        vault.setLimits(PLAIN, grantGas, windowLimit, window);
    }
}
