// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Vm} from "forge-std/Vm.sol";

import {IRewardVault} from "../../src/interfaces/IRewardVault.sol";
import {RewardVault} from "../../src/RewardVault.sol";
import {HostileToken} from "../mocks/HostileToken.sol";
import {VaultTest} from "../VaultTest.sol";

/// @dev The token itself is owner and guardian of this vault: whatever it calls, its role would allow.
contract ReentrancyTest is VaultTest {
    uint64 internal constant MAIN = 1;
    uint64 internal constant CLOSED = 2;
    HostileToken internal token;

    function setUp() public override {
        super.setUp();
        token = new HostileToken();
        vault = new RewardVault(address(token), address(token));
        token.mint(address(vault), 3 * uint256(CAP));
        vm.startPrank(address(token));
        vault.setOperator(operator, true);
        vault.open(MAIN, terms(address(token), false));
        vault.open(CLOSED, terms(address(token), false));
        vault.close(CLOSED);
        vm.stopPrank();
        vm.warp(vm.getBlockTimestamp() + vault.CLOSE_DELAY());
    }

    function test_EveryFunctionIsLockedDuringASettlement() external {
        bytes[14] memory calls = [
            abi.encodeCall(IRewardVault.settle, (deadline(), segments(MAIN, 0, grants(0, 3)), SEAL)),
            abi.encodeCall(IRewardVault.cancel, (MAIN, 0, 7)),
            abi.encodeCall(IRewardVault.anchor, (SEAL)),
            abi.encodeCall(IRewardVault.open, (MAIN + 9, terms(address(token), false))),
            abi.encodeCall(IRewardVault.raiseCap, (MAIN, CAP + 1)),
            abi.encodeCall(IRewardVault.setLimits, (MAIN, GRANT_GAS, 0, 1)),
            abi.encodeCall(IRewardVault.setOperator, (address(0xbeef), true)),
            abi.encodeCall(IRewardVault.setOperator, (operator, false)),
            abi.encodeCall(IRewardVault.setGuardian, (address(0xbeef))),
            abi.encodeCall(IRewardVault.pause, ()),
            abi.encodeCall(IRewardVault.unpause, ()),
            abi.encodeCall(IRewardVault.withdraw, (address(token), address(0xbeef), 1)),
            abi.encodeCall(IRewardVault.close, (MAIN)),
            abi.encodeCall(IRewardVault.release, (CLOSED))
        ];
        bytes memory locked = abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        for (uint256 i = 0; i < calls.length; ++i) {
            (bool ok, bytes memory answer) = _callBackDuringSettlement(calls[i]);
            assertFalse(ok);
            assertEq(answer, locked);
        }
    }

    /// @dev Without the lock, the role: an operator has no code, so no contract is one.
    function test_OperatorFunctionsAreClosedToContracts() external {
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.OperatorHasCode.selector, token));
        vm.prank(address(token));
        vault.setOperator(address(token), true);
    }

    function test_OwnershipPaysNobody() external {
        (bool ok,) = _callBackDuringSettlement(abi.encodeWithSignature("transferOwnership(address)", stranger));
        assertTrue(ok);
    }

    function test_ViewsPromiseNoMoreThanIsThere() external {
        token.mint(address(vault), 5 * uint256(AMOUNT));
        (bool ok, bytes memory answer) =
            _callBackDuringSettlement(abi.encodeCall(IRewardVault.uncommitted, (address(token))));
        assertTrue(ok);
        // One grant has left the vault and is not yet booked: less than the truth, never more.
        assertLt(abi.decode(answer, (uint256)), vault.uncommitted(address(token)));
    }

    function test_SecondWithdrawalIsLocked() external {
        token.callBack(address(vault), abi.encodeCall(IRewardVault.withdraw, (address(token), address(0xbeef), AMOUNT)));
        vm.recordLogs();
        vm.prank(address(token));
        vault.withdraw(address(token), address(0xbeef), AMOUNT);
        (bool ok,) = _calledBack(vm.getRecordedLogs());
        assertFalse(ok);
        assertEq(token.balances(address(0xbeef)), AMOUNT);
    }

    function _callBackDuringSettlement(bytes memory data) private returns (bool ok, bytes memory answer) {
        uint256 snapshot = vm.snapshotState();
        token.callBack(address(vault), data);
        token.play(HostileToken.Trick.CallBack, player(1), 0);
        vm.recordLogs();
        assertEq(settle(MAIN, 0, grants(0, 3))[0], 7, "the settlement itself goes on");
        (ok, answer) = _calledBack(vm.getRecordedLogs());
        assertEq(spentOf(MAIN), 3 * AMOUNT);
        assertEq(token.balances(player(0)) + token.balances(player(1)) + token.balances(player(2)), 3 * AMOUNT);
        vm.revertToState(snapshot);
    }

    function _calledBack(Vm.Log[] memory logs) private pure returns (bool ok, bytes memory answer) {
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] == HostileToken.CalledBack.selector) return abi.decode(logs[i].data, (bool, bytes));
        }
        revert("the token never called back");
    }
}
