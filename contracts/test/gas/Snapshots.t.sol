// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IRewardVault} from "../../src/interfaces/IRewardVault.sol";
import {FussyToken} from "../mocks/FussyToken.sol";
import {VaultTest} from "../VaultTest.sol";

/// @notice Writes snapshots/*.json; with FORGE_SNAPSHOT_CHECK=true it compares instead.
/// @dev Execution gas of single calls, without a transaction's base cost and calldata: gas/measure.mjs has whole receipts.
contract SnapshotsTest is VaultTest {
    string private constant GROUP = "RewardVault";

    function test_Settle() external {
        _settle(PLAIN, "plain");
        _settle(BATCH, "batch");
    }

    function _settle(uint64 campaign, string memory token) private {
        settle(campaign, 0, grants(1_000_000, 1));
        uint16[4] memory sizes = [1, 10, 100, 500];
        for (uint64 i = 0; i < sizes.length; ++i) {
            settle(campaign, 1024 * (i + 1), grants(1000 * i, sizes[i]));
            _record(string.concat("settle, ", token, ", new holders, ", vm.toString(sizes[i])));
        }
        settle(campaign, 1024 * 4, grants(3000, 500));
        _record(string.concat("settle, ", token, ", replay, 500"));
        settle(campaign, 1024 * 9, grants(3000, 500));
        _record(string.concat("settle, ", token, ", existing holders, 500"));
        uint256[] memory holes = grants(3000, 500);
        for (uint256 i = 0; i < 500; i += 2) {
            holes[i] = 0;
        }
        settle(campaign, 1024 * 10, holes);
        _record(string.concat("settle, ", token, ", existing holders, 250 between 250 holes"));
        settle(campaign, 1024 * 10, grants(3000, 500));
        _record(string.concat("settle, ", token, ", existing holders, 250 between 250 burned"));
    }

    function test_Refusals() external {
        FussyToken fussy = new FussyToken();
        fussy.mint(address(vault), CAP);
        vm.prank(owner);
        vault.open(3, terms(address(fussy), false));
        settle(3, 0, grants(0, 500));
        for (uint256 i = 0; i < 10; ++i) {
            fussy.refuse(player(i * 50), true);
        }
        settle(3, 1024, grants(0, 500));
        _record("settle, plain, existing holders, 490 with 10 refused");
    }

    function test_OtherFunctions() external {
        settle(PLAIN, 0, grants(0, 1));
        cancel(PLAIN, 1, 0xff);
        _record("cancel, fresh word");
        cancel(PLAIN, 0, 0xff);
        _record("cancel, used word");
        vm.prank(operator, operator);
        vault.anchor(SEAL);
        _record("anchor");
        plain.mint(address(vault), uint256(CAP) * 2);
        vm.startPrank(owner);
        vault.open(9, IRewardVault.Terms(address(plain), false, GRANT_GAS, CAP, CAP, 1 days));
        _record("open");
        vault.raiseCap(9, CAP + 1);
        _record("raiseCap");
        vault.setLimits(9, GRANT_GAS, CAP, 1 hours);
        _record("setLimits");
        vault.close(9);
        _record("close");
        vm.warp(vm.getBlockTimestamp() + vault.CLOSE_DELAY());
        vault.release(9);
        _record("release");
        vault.withdraw(address(plain), owner, 1 ether);
        _record("withdraw");
        vault.pause();
        _record("pause");
        vm.stopPrank();
    }

    function _record(string memory name) private {
        vm.snapshotGasLastCall(GROUP, name);
    }
}
