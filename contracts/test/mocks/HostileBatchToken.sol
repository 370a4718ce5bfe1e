// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBatchTransfer} from "../../src/interfaces/IBatchTransfer.sol";

/// @notice A batch token that misbehaves on command.
contract HostileBatchToken is IBatchTransfer {
    enum Trick {
        None,
        Refuse,
        ReturnNothing,
        ReturnShort,
        ReturnOther,
        ReturnCut,
        Lie
    }

    event Transfer(address indexed from, address indexed to, uint256 amount);

    mapping(address account => uint256 amount) public balanceOf;
    Trick private _trick;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function play(Trick trick) external {
        _trick = trick;
    }

    function transferBatch(uint256[] calldata grants) external returns (uint256 total) {
        require(_trick != Trick.Refuse, "refused");
        for (uint256 i = 0; i < grants.length; ++i) {
            address to = address(uint160(grants[i] >> 96));
            total += uint96(grants[i]);
            if (_trick != Trick.Lie) balanceOf[to] += uint96(grants[i]);
            emit Transfer(msg.sender, to, uint96(grants[i]));
        }
        if (_trick != Trick.Lie) balanceOf[msg.sender] -= total;
        uint256 size = 32;
        if (_trick == Trick.ReturnNothing) size = 0;
        if (_trick == Trick.ReturnShort) size = 31;
        if (_trick == Trick.ReturnOther) total += 1;
        if (_trick == Trick.ReturnCut) total = uint96(total);
        assembly ("memory-safe") {
            mstore(0x00, total)
            return(0x00, size)
        }
    }
}
