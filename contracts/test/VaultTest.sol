// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";

import {IRewardVault} from "../src/interfaces/IRewardVault.sol";
import {RewardToken} from "../src/RewardToken.sol";
import {RewardVault} from "../src/RewardVault.sol";
import {SoladyToken} from "./mocks/ReferenceTokens.sol";

/// @notice A vault with an owner, a guardian, an operator, and one open campaign per kind of token.
abstract contract VaultTest is Test {
    uint64 internal constant PLAIN = 1;
    uint64 internal constant BATCH = 2;
    uint32 internal constant GRANT_GAS = 100_000;
    uint96 internal constant CAP = 1_000_000 ether;
    uint96 internal constant AMOUNT = 1 ether;
    bytes32 internal constant SEAL = keccak256("seal");

    address internal owner = makeAddr("owner");
    address internal guardian = makeAddr("guardian");
    address internal operator = makeAddr("operator");
    address internal stranger = makeAddr("stranger");

    RewardVault internal vault;
    SoladyToken internal plain;
    RewardToken internal batch;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        vault = new RewardVault(owner, guardian);
        plain = new SoladyToken();
        batch = new RewardToken("Reward", "RWD", owner);
        plain.mint(address(vault), CAP);
        vm.startPrank(owner);
        batch.mint(address(vault), CAP);
        vault.setOperator(operator, true);
        vault.open(PLAIN, terms(address(plain), false));
        vault.open(BATCH, terms(address(batch), true));
        vm.stopPrank();
    }

    function terms(address token, bool isBatch) internal pure returns (IRewardVault.Terms memory) {
        return IRewardVault.Terms(token, isBatch, isBatch ? 0 : GRANT_GAS, CAP, 0, 0);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                      GRANTS
    //////////////////////////////////////////////////////////////////////////*/

    function word(address to, uint256 amount) internal pure returns (uint256) {
        return uint256(uint160(to)) << 96 | amount;
    }

    /// @dev Player i: an address that nothing else here uses.
    function player(uint256 i) internal pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode("player", i)))));
    }

    /// @dev n grants of AMOUNT to players first, first + 1, ...
    function grants(uint256 first, uint256 n) internal pure returns (uint256[] memory words) {
        words = new uint256[](n);
        for (uint256 i = 0; i < n; ++i) {
            words[i] = word(player(first + i), AMOUNT);
        }
    }

    function one(uint256 w) internal pure returns (uint256[] memory words) {
        words = new uint256[](1);
        words[0] = w;
    }

    function segments(uint64 campaign, uint64 firstSeq, uint256[] memory words)
        internal
        pure
        returns (IRewardVault.Segment[] memory list)
    {
        list = new IRewardVault.Segment[](1);
        list[0] = IRewardVault.Segment(campaign, firstSeq, words);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                       CALLS
    //////////////////////////////////////////////////////////////////////////*/

    /// @dev Time comes from the cheat code: the optimizer takes the opcode for a constant and moves it across a warp.
    function deadline() internal view returns (uint64) {
        return uint64(vm.getBlockTimestamp() + 600);
    }

    /// @dev As a transaction of the operator: sender and origin.
    modifier asOperator() {
        vm.startPrank(operator, operator);
        _;
        vm.stopPrank();
    }

    function settle(uint64 campaign, uint64 firstSeq, uint256[] memory words) internal returns (uint256[] memory paid) {
        return settleAll(segments(campaign, firstSeq, words))[0];
    }

    function settleAll(IRewardVault.Segment[] memory list) internal asOperator returns (uint256[][] memory paid) {
        return vault.settle(deadline(), list, SEAL);
    }

    /// @dev Expects the next settlement to revert with exactly this error.
    function settleReverts(uint64 campaign, uint64 firstSeq, uint256[] memory words, bytes memory err)
        internal
        asOperator
    {
        IRewardVault.Segment[] memory list = segments(campaign, firstSeq, words);
        uint64 last = deadline();
        vm.expectRevert(err);
        vault.settle(last, list, SEAL);
    }

    function cancel(uint64 campaign, uint64 wordIndex, uint256 mask) internal asOperator {
        vault.cancel(campaign, wordIndex, mask);
    }

    function close(uint64 campaign) internal {
        vm.prank(guardian);
        vault.close(campaign);
    }

    function spentOf(uint64 campaign) internal view returns (uint96 spent) {
        (, spent,) = vault.campaign(campaign);
    }
}
