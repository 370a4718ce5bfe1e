// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SoladyToken} from "./ReferenceTokens.sol";

/// @notice A token with a block list, as regulated ones have.
contract FussyToken is SoladyToken {
    error Refused();

    mapping(address account => bool refused) private _refused;

    function refuse(address account, bool refused) external {
        _refused[account] = refused;
    }

    function _beforeTokenTransfer(address from, address to, uint256) internal view override {
        if (_refused[from] || _refused[to]) revert Refused();
    }
}
