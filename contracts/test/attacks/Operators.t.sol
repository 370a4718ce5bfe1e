// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IRewardVault} from "../../src/interfaces/IRewardVault.sol";
import {ConstructorCaller, Forwarder} from "../mocks/Forwarder.sol";
import {VaultTest} from "../VaultTest.sol";

contract OperatorsTest is VaultTest {
    /*//////////////////////////////////////////////////////////////////////////
                                       CODE
    //////////////////////////////////////////////////////////////////////////*/

    function test_RevertWhen_OperatorIsDelegated() external {
        (address delegated, uint256 key) = makeAddrAndKey("delegated");
        vm.prank(owner);
        vault.setOperator(delegated, true);
        Forwarder forwarder = new Forwarder();
        bytes memory call = abi.encodeCall(IRewardVault.settle, (deadline(), segments(PLAIN, 0, grants(0, 1)), SEAL));
        bytes memory err = abi.encodeWithSelector(IRewardVault.OperatorHasCode.selector, delegated);

        vm.signAndAttachDelegation(address(forwarder), key);
        vm.prank(delegated, delegated);
        (bool ok, bytes memory answer) = address(vault).call(call);
        assertFalse(ok);
        assertEq(answer, err);
        assertEq(delegated.code.length, 23, "it is delegated");

        // Its own code calls: sender and origin are both the operator.
        vm.prank(delegated, delegated);
        (ok, answer) = Forwarder(delegated).forward(address(vault), call);
        assertFalse(ok);
        assertEq(answer, err);

        vm.signAndAttachDelegation(address(0), key);
        vm.prank(delegated, delegated);
        (ok,) = address(vault).call(call);
        assertTrue(ok);
        assertEq(plain.balanceOf(player(0)), AMOUNT);
    }

    function test_RevertWhen_OperatorBecomesAContract() external {
        bytes memory call = abi.encodeCall(IRewardVault.settle, (deadline(), segments(PLAIN, 0, grants(0, 1)), SEAL));
        address future = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
        vm.prank(owner);
        vault.setOperator(future, true);
        ConstructorCaller caller = new ConstructorCaller(address(vault), call);
        assertEq(address(caller), future);
        assertFalse(caller.ok());
        assertEq(caller.answer(), abi.encodeWithSelector(IRewardVault.OperatorHasCode.selector, future));

        vm.prank(future, future);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.OperatorHasCode.selector, future));
        vault.anchor(SEAL);
    }

    function test_RevertWhen_AContractIsBetween() external {
        Forwarder forwarder = new Forwarder();
        vm.prank(operator, operator);
        (bool ok, bytes memory answer) = forwarder.forward(address(vault), abi.encodeCall(IRewardVault.anchor, (SEAL)));
        assertFalse(ok);
        assertEq(answer, abi.encodeWithSelector(IRewardVault.NotAllowed.selector, forwarder));
    }

    /*//////////////////////////////////////////////////////////////////////////
                                    STOLEN KEY
    //////////////////////////////////////////////////////////////////////////*/

    /// @dev The thief pays itself as much as goes, with every seq it likes, until the guardian acts.
    function testFuzz_StolenKeyIsBounded(uint96 windowLimit, uint32 window, uint256 seed) external {
        window = uint32(bound(window, 60, 1 days));
        windowLimit = uint96(bound(windowLimit, 1, CAP));
        vm.prank(owner);
        vault.setLimits(PLAIN, GRANT_GAS, windowLimit, window);
        uint64 begin = uint64(vm.getBlockTimestamp());
        for (uint64 i = 0; i < 20; ++i) {
            uint256 amount = bound(uint256(keccak256(abi.encode(seed, i))), 1, CAP);
            uint256 left = vault.spendable(PLAIN);
            vm.prank(operator, operator);
            try vault.settle(deadline(), segments(PLAIN, i, one(word(stranger, amount))), 0) {
                assertLe(amount, left);
            } catch {
                assertGt(amount, left);
            }
            vm.warp(vm.getBlockTimestamp() + seed % window);
        }
        uint256 windows = (vm.getBlockTimestamp() - begin) / window + 1;
        uint256 most = windowLimit * windows < CAP ? windowLimit * windows : CAP;
        assertLe(plain.balanceOf(stranger), most);
        assertEq(plain.balanceOf(stranger), spentOf(PLAIN));

        vm.prank(guardian);
        vault.setOperator(operator, false);
        settleReverts(PLAIN, 99, grants(0, 1), abi.encodeWithSelector(IRewardVault.NotAllowed.selector, operator));
    }

    /*//////////////////////////////////////////////////////////////////////////
                                     IN FLIGHT
    //////////////////////////////////////////////////////////////////////////*/

    function test_BatchesInFlightAtAClose() external {
        IRewardVault.Segment[] memory first = segments(PLAIN, 0, grants(0, 3));
        IRewardVault.Segment[] memory second = segments(PLAIN, 3, grants(3, 3));
        uint64 signedFor = uint64(vm.getBlockTimestamp()) + vault.MAX_LIFETIME();
        close(PLAIN);
        vm.warp(signedFor);
        vm.prank(operator, operator);
        vault.settle(signedFor, first, SEAL);
        vm.warp(signedFor + 1);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.Expired.selector, signedFor));
        vm.prank(operator, operator);
        vault.settle(signedFor, second, SEAL);

        (,, uint40 closesAt) = vault.campaign(PLAIN);
        vm.warp(closesAt);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.CampaignNotOpen.selector, PLAIN));
        vm.prank(operator, operator);
        vault.settle(closesAt, second, SEAL);
        vault.release(PLAIN);
        assertEq(vault.burned(PLAIN, 0), 7);
    }
}
