// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC20 as OpenZeppelinERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20 as SoladyERC20} from "solady/tokens/ERC20.sol";

/// @notice Solady's ERC-20: the reference for what any token costs.
contract SoladyToken is SoladyERC20 {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function name() public pure override returns (string memory) {
        return "Solady";
    }

    function symbol() public pure override returns (string memory) {
        return "SOL";
    }
}

/// @notice OpenZeppelin's ERC-20: the most common one.
contract OpenZeppelinToken is OpenZeppelinERC20("OpenZeppelin", "OZ") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
