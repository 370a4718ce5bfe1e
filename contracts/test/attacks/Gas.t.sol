// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IRewardVault} from "../../src/interfaces/IRewardVault.sol";
import {HostileToken} from "../mocks/HostileToken.sol";
import {VaultTest} from "../VaultTest.sol";

/// @dev Whoever sends a settlement chooses its gas limit: it may decide between a revert and the full result, no more.
contract GasTest is VaultTest {
    uint64 internal constant HOSTILE = 3;
    uint256 internal constant ALL = 30_000_000;
    HostileToken internal token;

    function setUp() public override {
        super.setUp();
        token = new HostileToken();
        token.mint(address(vault), CAP);
        vm.prank(owner);
        vault.open(HOSTILE, terms(address(token), false));
    }

    function test_SweepWithAGasBurner() external {
        token.play(HostileToken.Trick.BurnGas, player(4), 0);
        _sweep(HOSTILE, 0xef);
    }

    function test_SweepWithAReturnBomb() external {
        token.play(HostileToken.Trick.ReturnBomb, player(4), 100_000);
        _sweep(HOSTILE, 0xef);
    }

    /// @dev Refuses whoever comes with less than nearly the full stipend: every recipient is good at a full limit.
    function test_SweepWithATokenThatReadsItsGas() external {
        token.play(HostileToken.Trick.NeedGas, address(0), GRANT_GAS - 500);
        _sweep(HOSTILE, 0xff);
    }

    function test_SweepWithABatchToken() external {
        _sweep(BATCH, 0xff);
    }

    /// @dev From far too little to plenty, in steps small enough to hit the last gas of each of the eight grants.
    function _sweep(uint64 campaign, uint256 expected) private {
        uint256[] memory words = grants(0, 8);
        (bool ok, uint256 full) = _settleWith(ALL, campaign, words);
        assertTrue(ok);
        assertEq(full, expected);
        uint256 passed;
        uint256 failed;
        for (uint256 limit = 30_000; limit < 1_000_000; limit += 499) {
            (bool fine, uint256 mask) = _settleWith(limit, campaign, words);
            if (fine) assertEq(mask, expected, "the gas limit changed a mask");
            fine ? ++passed : ++failed;
        }
        assertGt(passed, 100, "the sweep never passed");
        assertGt(failed, 100, "the sweep never failed");
    }

    function testFuzz_GasLimitNeverChangesAMask(uint256 limit, uint8 trick, uint8 victim, uint24 knob) external {
        token.play(HostileToken.Trick(bound(trick, 0, uint256(HostileToken.Trick.Lie))), player(victim % 8), knob);
        uint256[] memory words = grants(0, 8);
        (bool ok, uint256 full) = _settleWith(ALL, HOSTILE, words);
        (bool fine, uint256 mask) = _settleWith(bound(limit, 30_000, 1_500_000), HOSTILE, words);
        if (fine) assertTrue(ok, "a small limit passed what a large one refuses");
        if (fine) assertEq(mask, full);
    }

    function test_RevertWhen_StipendIsNotCovered() external {
        vm.prank(owner);
        vault.setLimits(HOSTILE, 8_000_000, 0, 0);
        IRewardVault.Segment[] memory list = segments(HOSTILE, 7, grants(0, 1));
        uint64 last = deadline();
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.GasTooLow.selector, HOSTILE, uint64(7)));
        vm.prank(operator, operator);
        vault.settle{gas: 8_000_000}(last, list, SEAL);
        vm.prank(operator, operator);
        vault.settle{gas: 8_250_000}(last, list, SEAL);
        assertEq(spentOf(HOSTILE), AMOUNT);
    }

    function test_BurnerAndBombCostTheirStipendOnly() external {
        uint256 snapshot = vm.snapshotState();
        uint256 usual = _gasOf(grants(0, 8));
        vm.revertToState(snapshot);

        token.play(HostileToken.Trick.BurnGas, player(4), 0);
        assertLt(_gasOf(grants(0, 8)), usual + GRANT_GAS + 5000);
        vm.revertToState(snapshot);

        token.play(HostileToken.Trick.ReturnBomb, player(4), 150_000);
        assertLt(_gasOf(grants(0, 8)), usual + GRANT_GAS + 5000);
    }

    function _gasOf(uint256[] memory words) private returns (uint256 used) {
        IRewardVault.Segment[] memory list = segments(HOSTILE, 0, words);
        uint64 last = deadline();
        vm.prank(operator, operator);
        used = gasleft();
        vault.settle(last, list, SEAL);
        used -= gasleft();
    }

    /// @dev Settles with a gas limit on a copy of the state.
    function _settleWith(uint256 limit, uint64 campaign, uint256[] memory words)
        private
        returns (bool ok, uint256 mask)
    {
        uint256 snapshot = vm.snapshotState();
        IRewardVault.Segment[] memory list = segments(campaign, 0, words);
        uint64 last = deadline();
        vm.prank(operator, operator);
        try vault.settle{gas: limit}(last, list, SEAL) returns (uint256[][] memory paid) {
            (ok, mask) = (true, paid[0][0]);
        } catch {}
        vm.revertToStateAndDelete(snapshot);
    }
}
