// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IRewardVault} from "../../src/interfaces/IRewardVault.sol";
import {HostileBatchToken} from "../mocks/HostileBatchToken.sol";
import {HostileToken} from "../mocks/HostileToken.sol";
import {VaultTest} from "../VaultTest.sol";

contract TokensTest is VaultTest {
    uint64 internal constant HOSTILE = 3;
    uint64 internal constant HOSTILE_BATCH = 4;
    HostileToken internal token;
    HostileBatchToken internal batchToken;

    function setUp() public override {
        super.setUp();
        token = new HostileToken();
        token.mint(address(vault), CAP);
        batchToken = new HostileBatchToken();
        batchToken.mint(address(vault), CAP);
        vm.startPrank(owner);
        vault.open(HOSTILE, terms(address(token), false));
        vault.open(HOSTILE_BATCH, terms(address(batchToken), true));
        vm.stopPrank();
    }

    /*//////////////////////////////////////////////////////////////////////////
                                      ANSWERS
    //////////////////////////////////////////////////////////////////////////*/

    function test_RefusesFalseTwoAndShortAnswers() external {
        _refusesOnlyTheVictim(HostileToken.Trick.ReturnFalse, 0);
        _refusesOnlyTheVictim(HostileToken.Trick.ReturnTwo, 0);
        for (uint256 size = 1; size < 32; ++size) {
            _refusesOnlyTheVictim(HostileToken.Trick.ReturnShort, size);
        }
        _refusesOnlyTheVictim(HostileToken.Trick.RevertEmpty, 0);
        _refusesOnlyTheVictim(HostileToken.Trick.RevertLong, 500);
    }

    function test_AcceptsNothingAndTrueWithMore() external {
        _paysAll(HostileToken.Trick.ReturnNothing, 0);
        _paysAll(HostileToken.Trick.ReturnTrueAndMore, 33);
        _paysAll(HostileToken.Trick.ReturnTrueAndMore, 2000);
    }

    function test_ReportsTheReasonWithoutLeftovers() external {
        // Each refusal follows a transfer that left a true in the vault's memory.
        _reports(HostileToken.Trick.RevertEmpty, 0, 0);
        _reports(HostileToken.Trick.ReturnFalse, 0, 0);
        _reports(HostileToken.Trick.ReturnTwo, 0, bytes32(uint256(2)));
        _reports(HostileToken.Trick.RevertLong, 4, bytes32(uint256(0xffffffff) << 224));
        _reports(HostileToken.Trick.RevertLong, 31, bytes32(type(uint256).max << 8));
        _reports(HostileToken.Trick.RevertLong, 32, bytes32(type(uint256).max));
        _reports(HostileToken.Trick.RevertLong, 500, bytes32(type(uint256).max));
    }

    function _refusesOnlyTheVictim(HostileToken.Trick trick, uint256 knob) private {
        uint256 snapshot = vm.snapshotState();
        token.play(trick, player(1), knob);
        assertEq(settle(HOSTILE, 0, grants(0, 3))[0], 5);
        assertEq(token.balances(player(1)), 0);
        assertEq(spentOf(HOSTILE), 2 * AMOUNT);
        vm.revertToState(snapshot);
    }

    function _paysAll(HostileToken.Trick trick, uint256 knob) private {
        uint256 snapshot = vm.snapshotState();
        token.play(trick, player(1), knob);
        assertEq(settle(HOSTILE, 0, grants(0, 3))[0], 7);
        assertEq(token.balances(player(1)), AMOUNT);
        vm.revertToState(snapshot);
    }

    function _reports(HostileToken.Trick trick, uint256 knob, bytes32 reason) private {
        uint256 snapshot = vm.snapshotState();
        token.play(trick, player(1), knob);
        uint256[] memory words = grants(0, 2);
        vm.expectEmit(address(vault));
        emit IRewardVault.GrantFailed(HOSTILE, 1, words[1], reason);
        settle(HOSTILE, 0, words);
        vm.revertToState(snapshot);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                     BALANCES
    //////////////////////////////////////////////////////////////////////////*/

    function test_RevertWhen_TokenLosesItsCode() external {
        vm.etch(address(token), "");
        settleReverts(
            HOSTILE, 0, grants(0, 2), abi.encodeWithSelector(IRewardVault.TokenFailed.selector, address(token))
        );
        vm.etch(address(batchToken), "");
        settleReverts(
            HOSTILE_BATCH,
            0,
            grants(0, 2),
            abi.encodeWithSelector(IRewardVault.TokenFailed.selector, address(batchToken))
        );
    }

    function test_RevertWhen_TokenLies() external {
        token.play(HostileToken.Trick.Lie, player(1), 0);
        settleReverts(HOSTILE, 0, grants(0, 2), _mismatch(CAP, CAP - AMOUNT, 2 * AMOUNT));
    }

    function test_RevertWhen_TokenTakesAFeeFromTheVault() external {
        token.play(HostileToken.Trick.SenderFee, address(0), 1);
        settleReverts(HOSTILE, 0, grants(0, 2), _mismatch(CAP, CAP - 2 * AMOUNT - 2, 2 * AMOUNT));
    }

    /// @dev A fee on the recipient's side is between the token and the recipient: the vault's books are right.
    function test_FeeFromTheRecipientCostsTheVaultNothing() external {
        token.play(HostileToken.Trick.RecipientFee, address(0), 1);
        settle(HOSTILE, 0, grants(0, 2));
        assertEq(token.balances(player(0)), AMOUNT - 1);
        assertEq(token.balances(address(vault)), CAP - 2 * AMOUNT);
        assertEq(spentOf(HOSTILE), 2 * AMOUNT);
    }

    function test_RevertWhen_BalanceRises() external {
        token.callBack(address(token), abi.encodeCall(HostileToken.mint, (address(vault), 5 * AMOUNT)));
        settleReverts(HOSTILE, 0, grants(0, 2), _mismatch(CAP, CAP + 8 * AMOUNT, 2 * AMOUNT));
    }

    function _mismatch(uint256 before, uint256 afterwards, uint256 total) private view returns (bytes memory) {
        return abi.encodeWithSelector(IRewardVault.BalanceMismatch.selector, token, before, afterwards, total);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                     STOPPAGES
    //////////////////////////////////////////////////////////////////////////*/

    function test_PauseInTheMiddle() external {
        token.play(HostileToken.Trick.PauseInTheMiddle, address(0), 260);
        uint256[] memory paid = settle(HOSTILE, 0, grants(0, 300));
        assertEq(paid[0], type(uint256).max);
        assertEq(paid[1], 15);
        settleReverts(
            HOSTILE, 0, grants(0, 300), abi.encodeWithSelector(IRewardVault.NothingPaid.selector, HOSTILE, uint64(0))
        );
        token.play(HostileToken.Trick.None, address(0), 0);
        assertEq(settle(HOSTILE, 0, grants(0, 300))[1], ((1 << 44) - 1) ^ 15);
        assertEq(spentOf(HOSTILE), 300 * AMOUNT);
    }

    function test_RevertWhen_VaultIsBlacklisted() external {
        settle(HOSTILE, 0, grants(0, 2));
        token.refuse(address(vault), true);
        settleReverts(
            HOSTILE, 0, grants(0, 3), abi.encodeWithSelector(IRewardVault.NothingPaid.selector, HOSTILE, uint64(0))
        );
        assertEq(settle(HOSTILE, 0, grants(0, 2))[0], 0);
    }

    function test_RevertWhen_BatchTokenMisbehaves() external {
        bytes memory nothingPaid = abi.encodeWithSelector(IRewardVault.NothingPaid.selector, HOSTILE_BATCH, uint64(0));
        HostileBatchToken.Trick[4] memory refusals = [
            HostileBatchToken.Trick.Refuse,
            HostileBatchToken.Trick.ReturnNothing,
            HostileBatchToken.Trick.ReturnShort,
            HostileBatchToken.Trick.ReturnOther
        ];
        for (uint256 i = 0; i < refusals.length; ++i) {
            batchToken.play(refusals[i]);
            settleReverts(HOSTILE_BATCH, 0, grants(0, 9), nothingPaid);
        }
        batchToken.play(HostileBatchToken.Trick.Lie);
        settleReverts(
            HOSTILE_BATCH,
            0,
            grants(0, 9),
            abi.encodeWithSelector(IRewardVault.BalanceMismatch.selector, batchToken, CAP, CAP, 9 * AMOUNT)
        );
        batchToken.play(HostileBatchToken.Trick.None);
        settle(HOSTILE_BATCH, 0, grants(0, 9));
        assertEq(spentOf(HOSTILE_BATCH), 9 * AMOUNT);
    }

    /// @dev Two amounts whose sum has more than 96 bits, of which only the low ones fit the sum that the vault gathers.
    function test_RevertWhen_BatchSumLeaves96Bits() external {
        batchToken.mint(address(vault), type(uint128).max);
        uint256[] memory words = grants(0, 2);
        words[0] = word(player(0), type(uint96).max);
        words[1] = word(player(1), 2);
        bytes memory err = abi.encodeWithSelector(IRewardVault.NothingPaid.selector, HOSTILE_BATCH, uint64(0));
        settleReverts(HOSTILE_BATCH, 0, words, err);

        // Nor does it help to return what the vault expects.
        batchToken.play(HostileBatchToken.Trick.ReturnCut);
        uint256 held = batchToken.balanceOf(address(vault));
        err = abi.encodeWithSelector(
            IRewardVault.BalanceMismatch.selector, batchToken, held, held - uint256(type(uint96).max) - 2, 1
        );
        settleReverts(HOSTILE_BATCH, 0, words, err);
    }
}
