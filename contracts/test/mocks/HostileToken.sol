// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice An ERC-20 that misbehaves on command, for all transfers or for those to one victim.
/// @dev Books are kept in `balances`, honestly unless the trick says otherwise.
contract HostileToken {
    enum Trick {
        None,
        ReturnFalse,
        ReturnTwo,
        ReturnNothing,
        ReturnShort,
        ReturnTrueAndMore,
        RevertEmpty,
        RevertLong,
        ReturnBomb,
        BurnGas,
        NeedGas,
        Lie,
        SenderFee,
        RecipientFee,
        PauseInTheMiddle,
        CallBack
    }

    event Transfer(address indexed from, address indexed to, uint256 amount);
    event CalledBack(bool ok, bytes answer);

    mapping(address account => uint256 amount) public balances;
    mapping(address account => bool refused) public refuses;
    Trick public trick;
    /// @dev The only recipient that the trick works on; zero: all.
    address public victim;
    /// @dev Length of an answer, gas needed, fee, transfers until the pause: as the trick wants.
    uint256 public knob;
    address public target;
    bytes public callData;
    uint256 public transfers;

    function mint(address to, uint256 amount) external {
        balances[to] += amount;
    }

    function play(Trick trick_, address victim_, uint256 knob_) external {
        (trick, victim, knob) = (trick_, victim_, knob_);
    }

    function refuse(address account, bool refused) external {
        refuses[account] = refused;
    }

    function callBack(address target_, bytes calldata data) external {
        (trick, target, callData) = (Trick.CallBack, target_, data);
    }

    function balanceOf(address account) external view returns (uint256) {
        return balances[account];
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        uint256 gasAtEntry = gasleft();
        require(!refuses[msg.sender] && !refuses[to], "refused");
        ++transfers;
        if (victim == address(0) || victim == to) _misbehave(to, amount, gasAtEntry);
        _move(to, amount);
        return true;
    }

    function _misbehave(address to, uint256 amount, uint256 gasAtEntry) private {
        if (trick == Trick.ReturnFalse) _answer(0, 32);
        if (trick == Trick.ReturnTwo) _answer(2, 32);
        if (trick == Trick.ReturnNothing) {
            _move(to, amount);
            _answer(0, 0);
        }
        // The head of a true: looks like one to whoever reads 32 bytes of memory that held a true before.
        if (trick == Trick.ReturnShort) _answer(1, knob);
        if (trick == Trick.ReturnTrueAndMore) {
            _move(to, amount);
            _answer(1, knob);
        }
        if (trick == Trick.RevertEmpty) _refuse(0);
        if (trick == Trick.RevertLong) _refuse(knob);
        if (trick == Trick.ReturnBomb) {
            uint256 size = knob;
            assembly ("memory-safe") {
                return(mload(0x40), size)
            }
        }
        if (trick == Trick.BurnGas) {
            assembly ("memory-safe") {
                invalid()
            }
        }
        if (trick == Trick.NeedGas) require(gasAtEntry >= knob, "gas");
        if (trick == Trick.Lie) _answer(1, 32);
        if (trick == Trick.SenderFee) balances[msg.sender] -= knob;
        if (trick == Trick.RecipientFee) {
            _move(to, amount);
            balances[to] -= knob;
            _answer(1, 32);
        }
        if (trick == Trick.PauseInTheMiddle) require(transfers <= knob, "paused");
        if (trick == Trick.CallBack) {
            (bool ok, bytes memory answer) = target.call(callData);
            emit CalledBack(ok, answer);
        }
    }

    function _move(address to, uint256 amount) private {
        balances[msg.sender] -= amount;
        balances[to] += amount;
        emit Transfer(msg.sender, to, amount);
    }

    function _answer(uint256 value, uint256 size) private pure {
        assembly ("memory-safe") {
            let place := mload(0x40)
            mstore(place, value)
            return(place, size)
        }
    }

    function _refuse(uint256 size) private pure {
        assembly ("memory-safe") {
            let place := mload(0x40)
            mstore(place, not(0))
            revert(place, size)
        }
    }
}
