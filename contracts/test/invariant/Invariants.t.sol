// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";

import {IRewardVault} from "../../src/interfaces/IRewardVault.sol";
import {RewardToken} from "../../src/RewardToken.sol";
import {RewardVault} from "../../src/RewardVault.sol";
import {FussyToken} from "../mocks/FussyToken.sol";
import {Handler} from "./Handler.sol";

contract InvariantsTest is Test {
    uint64 internal constant CAMPAIGNS = 6;
    uint64 internal constant WORDS = 3;
    address internal constant OPERATOR = address(0x09e7a707);
    address internal constant OWNER = address(0x0111e7);

    RewardVault internal vault;
    FussyToken internal plain;
    RewardToken internal batch;
    Handler internal handler;

    function setUp() external {
        vm.warp(1_800_000_000);
        vault = new RewardVault(OWNER, address(0));
        plain = new FussyToken();
        batch = new RewardToken("Reward", "RWD", OWNER);
        plain.mint(address(vault), 40_000 ether);
        vm.startPrank(OWNER);
        batch.mint(address(vault), 40_000 ether);
        vault.setOperator(OPERATOR, true);
        vault.open(1, IRewardVault.Terms(address(plain), false, 100_000, 3000 ether, 1000 ether, 1 days));
        vault.open(2, IRewardVault.Terms(address(batch), true, 0, 3000 ether, 0, 0));
        vm.stopPrank();
        handler = new Handler(vault, plain, batch);
        targetContract(address(handler));
    }

    function invariant_NoCallBrokeARule() external view {
        if (handler.violationCount() != 0) revert(handler.violations(0));
    }

    function invariant_BitsAreWhatTheLogsTold() external view {
        for (uint64 id = 1; id <= CAMPAIGNS; ++id) {
            for (uint64 word = 0; word < WORDS; ++word) {
                uint256 paid = handler.paidBits(id, word);
                uint256 cancelled = handler.cancelledBits(id, word);
                assertEq(paid & cancelled, 0, "paid and cancelled overlap");
                assertEq(vault.burned(id, word), paid | cancelled, "a bit without a log, or one gone");
            }
        }
    }

    function invariant_SpentIsTheSumOfTotalsWithinTheCap() external view {
        for (uint64 id = 1; id <= CAMPAIGNS; ++id) {
            (IRewardVault.Terms memory t, uint96 spent,) = vault.campaign(id);
            assertEq(spent, handler.totals(id));
            assertLe(spent, t.cap);
        }
    }

    function invariant_CommittedIsTheUnreleasedRestAndIsThere() external view {
        uint256[2] memory rest;
        for (uint64 id = 1; id <= CAMPAIGNS; ++id) {
            (IRewardVault.Terms memory t, uint96 spent,) = vault.campaign(id);
            if (!vault.released(id)) rest[t.batch ? 1 : 0] += t.cap - spent;
        }
        assertEq(vault.committed(address(plain)), rest[0]);
        assertEq(vault.committed(address(batch)), rest[1]);
        assertLe(rest[0], plain.balanceOf(address(vault)));
        assertLe(rest[1], batch.balanceOf(address(vault)));
    }

    function invariant_ReleasedCampaignsNeverChange() external view {
        for (uint64 id = 1; id <= CAMPAIGNS; ++id) {
            if (vault.released(id)) assertEq(handler.stateOf(id), handler.releasedState(id));
        }
    }

    function afterInvariant() external view {
        assertGt(handler.calls("settle"), 0, "no settlement ever passed");
    }
}
