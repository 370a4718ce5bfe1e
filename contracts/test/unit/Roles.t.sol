// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {IRewardVault} from "../../src/interfaces/IRewardVault.sol";
import {RewardVault} from "../../src/RewardVault.sol";
import {FussyToken} from "../mocks/FussyToken.sol";
import {VaultTest} from "../VaultTest.sol";

contract RolesTest is VaultTest {
    function test_ConstructorSetsRoles() external {
        vm.expectEmit();
        emit IRewardVault.GuardianSet(guardian);
        RewardVault fresh = new RewardVault(owner, guardian);
        assertEq(fresh.owner(), owner);
        assertEq(fresh.guardian(), guardian);
        assertFalse(fresh.paused());
    }

    /*//////////////////////////////////////////////////////////////////////////
                                     OPERATORS
    //////////////////////////////////////////////////////////////////////////*/

    function test_OwnerSetsOperators() external {
        address next = makeAddr("next");
        vm.expectEmit(address(vault));
        emit IRewardVault.OperatorSet(next, true);
        vm.prank(owner);
        vault.setOperator(next, true);
        assertTrue(vault.isOperator(next));
        vm.prank(owner);
        vault.setOperator(next, false);
        assertFalse(vault.isOperator(next));
    }

    function test_GuardianDisallowsOnly() external {
        vm.expectEmit(address(vault));
        emit IRewardVault.OperatorSet(operator, false);
        vm.prank(guardian);
        vault.setOperator(operator, false);
        settleReverts(PLAIN, 0, grants(0, 1), abi.encodeWithSelector(IRewardVault.NotAllowed.selector, operator));

        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotAllowed.selector, guardian));
        vm.prank(guardian);
        vault.setOperator(operator, true);
    }

    function test_RevertWhen_StrangerSetsOperator() external {
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotAllowed.selector, stranger));
        vm.prank(stranger);
        vault.setOperator(operator, false);
    }

    function test_RevertWhen_OperatorHasCode() external {
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.OperatorHasCode.selector, plain));
        vm.prank(owner);
        vault.setOperator(address(plain), true);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                GUARDIAN AND PAUSE
    //////////////////////////////////////////////////////////////////////////*/

    function test_OwnerSetsGuardian() external {
        vm.expectEmit(address(vault));
        emit IRewardVault.GuardianSet(stranger);
        vm.prank(owner);
        vault.setGuardian(stranger);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotAllowed.selector, guardian));
        vm.prank(guardian);
        vault.pause();
        vm.prank(stranger);
        vault.pause();
    }

    function test_RevertWhen_OthersSetGuardian() external {
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotAllowed.selector, guardian));
        vm.prank(guardian);
        vault.setGuardian(stranger);
    }

    function test_GuardianAndOwnerPause() external {
        vm.expectEmit(address(vault));
        emit IRewardVault.Paused(guardian);
        vm.prank(guardian);
        vault.pause();
        vm.prank(owner);
        vault.pause();
        assertTrue(vault.paused());
        vm.expectEmit(address(vault));
        emit IRewardVault.Unpaused(owner);
        vm.prank(owner);
        vault.unpause();
        settle(PLAIN, 0, grants(0, 1));
    }

    function test_RevertWhen_OthersPauseOrUnpause() external {
        address[2] memory others = [operator, stranger];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotAllowed.selector, others[i]));
            vm.prank(others[i]);
            vault.pause();
        }
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotAllowed.selector, guardian));
        vm.prank(guardian);
        vault.unpause();
    }

    function test_AnchorLogsTheSeal() external {
        vm.expectEmit(address(vault));
        emit IRewardVault.SealAnchored(SEAL);
        vm.prank(operator, operator);
        vault.anchor(SEAL);
    }

    function test_RevertWhen_AnchoringIsNotAllowed() external {
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotAllowed.selector, owner));
        vm.prank(owner, owner);
        vault.anchor(SEAL);
        vm.prank(guardian);
        vault.pause();
        vm.expectRevert(IRewardVault.VaultPaused.selector);
        vm.prank(operator, operator);
        vault.anchor(SEAL);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                     WITHDRAW
    //////////////////////////////////////////////////////////////////////////*/

    function test_WithdrawsWhatIsUncommitted() external {
        plain.mint(address(vault), 10);
        vm.expectEmit(address(vault));
        emit IRewardVault.Withdrawn(address(plain), stranger, 10);
        vm.prank(owner);
        vault.withdraw(address(plain), stranger, 10);
        assertEq(plain.balanceOf(stranger), 10);
        assertEq(plain.balanceOf(address(vault)), vault.committed(address(plain)));
    }

    function test_RevertWhen_OthersWithdraw() external {
        address[3] memory others = [operator, guardian, stranger];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotAllowed.selector, others[i]));
            vm.prank(others[i]);
            vault.withdraw(address(plain), others[i], 0);
        }
    }

    function test_RevertWhen_CommittedFundsAreWithdrawn() external {
        plain.mint(address(vault), 10);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotBacked.selector, plain, 11, 10));
        vm.prank(owner);
        vault.withdraw(address(plain), owner, 11);

        // Not in pieces either, nor while the campaign closes.
        vm.startPrank(owner);
        vault.withdraw(address(plain), owner, 10);
        vault.close(PLAIN);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotBacked.selector, plain, 1, 0));
        vault.withdraw(address(plain), owner, 1);
        vm.stopPrank();
    }

    function test_RevertWhen_TokenRefusesAWithdrawal() external {
        FussyToken fussy = new FussyToken();
        fussy.mint(address(vault), 5);
        fussy.refuse(owner, true);
        vm.startPrank(owner);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.TokenFailed.selector, fussy));
        vault.withdraw(address(fussy), owner, 5);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.TokenFailed.selector, stranger));
        vault.withdraw(stranger, owner, 0);
        vm.stopPrank();
    }

    function test_RevertWhen_VaultIsToReceiveAWithdrawal() external {
        plain.mint(address(vault), 5);
        vm.expectRevert(
            abi.encodeWithSelector(IRewardVault.BalanceMismatch.selector, plain, CAP + 5, CAP + 5, uint256(5))
        );
        vm.prank(owner);
        vault.withdraw(address(plain), address(vault), 5);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                     OWNERSHIP
    //////////////////////////////////////////////////////////////////////////*/

    function test_OwnershipChangesInTwoSteps() external {
        vm.prank(owner);
        vault.transferOwnership(stranger);
        assertEq(vault.owner(), owner);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, guardian));
        vm.prank(guardian);
        vault.acceptOwnership();
        vm.prank(stranger);
        vault.acceptOwnership();
        assertEq(vault.owner(), stranger);
    }

    function test_RevertWhen_OwnershipIsTakenOrRenounced() external {
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotAllowed.selector, stranger));
        vm.prank(stranger);
        vault.transferOwnership(stranger);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotAllowed.selector, owner));
        vm.prank(owner);
        vault.renounceOwnership();
        assertEq(vault.owner(), owner);
    }
}
