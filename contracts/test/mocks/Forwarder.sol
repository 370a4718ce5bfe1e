// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice Calls whatever it is told to: a multicall, or what an EIP-7702 delegation points at.
contract Forwarder {
    function forward(address target, bytes calldata data) external returns (bool ok, bytes memory answer) {
        return target.call(data);
    }
}

/// @notice Calls from its constructor, while its address has no code yet.
contract ConstructorCaller {
    bool public ok;
    bytes public answer;

    constructor(address target, bytes memory data) {
        (ok, answer) = target.call(data);
    }
}
