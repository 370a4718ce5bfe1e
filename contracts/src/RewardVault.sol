// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {GrantRun, Run, Stop} from "./GrantRun.sol";
import {IRewardVault} from "./interfaces/IRewardVault.sol";

/// @title RewardVault
/// @notice Pays each (campaign, seq) at most once. See {IRewardVault}.
contract RewardVault is IRewardVault, Ownable2Step, ReentrancyGuardTransient {
    using GrantRun for Run;

    /// @dev Three slots; a settlement reads them all and writes only the last.
    struct Campaign {
        address token;
        uint40 closesAt;
        uint32 grantGas;
        bool batch;
        bool released;
        uint96 cap;
        uint96 windowLimit;
        uint32 window;
        /// `windowEnds << 192 | windowSpent << 96 | spent`: packed by hand, so that it is read and written once.
        uint256 spending;
    }

    /// @inheritdoc IRewardVault
    uint64 public constant MAX_LIFETIME = 1 hours;
    /// @inheritdoc IRewardVault
    uint40 public constant CLOSE_DELAY = 1 days;
    /// @inheritdoc IRewardVault
    bytes32 public constant RECIPIENT_REFUSED = "recipient is vault or token";

    /// @dev Less than a plain ERC-20 transfer to a new holder costs (two storage writes and a log): every grant would fail.
    uint32 private constant MIN_GRANT_GAS = 30_000;
    /// @dev More would leave no room for a second grant in a transaction of 16.7 M gas (EIP-7825).
    uint32 private constant MAX_GRANT_GAS = 8_000_000;
    /// @inheritdoc IRewardVault
    address public guardian;
    /// @inheritdoc IRewardVault
    bool public paused;
    /// @inheritdoc IRewardVault
    mapping(address operator => bool allowed) public isOperator;
    /// @inheritdoc IRewardVault
    mapping(address token => uint256 amount) public committed;

    mapping(uint64 id => Campaign) private _campaigns;
    /// @dev Key: `campaign << 64 | word`.
    mapping(uint256 key => uint256 bits) private _burned;

    /// @param owner_ Opens and funds campaigns: a Safe, or any account.
    /// @param guardian_ Pauses and closes; zero: none.
    constructor(address owner_, address guardian_) Ownable(owner_) {
        guardian = guardian_;
        emit GuardianSet(guardian_);
    }

    modifier onlyGuardianOrOwner() {
        if (msg.sender != guardian && msg.sender != owner()) revert NotAllowed(msg.sender);
        _;
    }

    /*//////////////////////////////////////////////////////////////////////////
                                     OPERATORS
    //////////////////////////////////////////////////////////////////////////*/

    /// @inheritdoc IRewardVault
    function settle(uint64 deadline, Segment[] calldata segments, bytes32 seal)
        external
        nonReentrant
        returns (uint256[][] memory paid)
    {
        _requireOperator();
        if (paused) revert VaultPaused();
        if (block.timestamp > deadline) revert Expired(deadline);
        if (deadline > block.timestamp + MAX_LIFETIME) {
            revert DeadlineTooFar(deadline, block.timestamp + MAX_LIFETIME);
        }
        paid = new uint256[][](segments.length);
        for (uint256 i = 0; i < segments.length; ++i) {
            paid[i] = _settleSegment(segments[i], seal);
        }
    }

    /// @inheritdoc IRewardVault
    function cancel(uint64 campaign, uint64 word, uint256 mask) external nonReentrant {
        if (msg.sender != owner()) _requireOperator();
        if (word > type(uint64).max >> 8) revert BadWord(campaign, word);
        _unreleased(campaign);
        uint256 key = _key(campaign, word);
        uint256 before = _burned[key];
        uint256 fresh = mask & ~before;
        if (fresh == 0) return;
        _burned[key] = before | fresh;
        emit GrantsCancelled(campaign, word, fresh);
    }

    /// @inheritdoc IRewardVault
    function anchor(bytes32 seal) external nonReentrant {
        _requireOperator();
        if (paused) revert VaultPaused();
        emit SealAnchored(seal);
    }

    /// @dev The sender of the transaction itself, without code: a contract in construction has none yet, but is no sender.
    function _requireOperator() private view {
        if (!isOperator[msg.sender]) revert NotAllowed(msg.sender);
        if (msg.sender != tx.origin || msg.sender.code.length != 0) revert OperatorHasCode(msg.sender);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                     SETTLEMENT
    //////////////////////////////////////////////////////////////////////////*/

    function _settleSegment(Segment calldata segment, bytes32 seal) private returns (uint256[] memory paid) {
        uint64 campaign = segment.campaign;
        uint64 firstSeq = segment.firstSeq;
        uint256[] calldata grants = segment.grants;
        Campaign storage c = _campaigns[campaign];
        address token = c.token;
        uint40 closesAt = c.closesAt;
        if (token == address(0) || (closesAt != 0 && block.timestamp >= closesAt)) revert CampaignNotOpen(campaign);
        if (grants.length == 0 || grants.length - 1 > type(uint64).max - firstSeq) {
            revert BadSegment(campaign, firstSeq);
        }

        uint256 before = _balance(token);
        (uint256 begin, uint256 end, uint256 buffer, uint256 tail) = GrantRun.place(grants);
        uint256 grantGas = c.grantGas;
        uint256 floor = GrantRun.gasFloor(grantGas);
        Run memory run = Run(token, grantGas, floor, begin, end, begin, firstSeq, 0, 0, buffer, tail, 0);
        paid = _payGrants(run, campaign, c.batch);
        uint256 afterwards = _balance(token);
        uint256 total = run.total;
        unchecked {
            // A balance that rose wraps around to more than any total.
            if (before - afterwards != total) revert BalanceMismatch(token, before, afterwards, total);
        }
        if (total != 0) _spend(campaign, c, token, total);
        emit BatchSettled(campaign, firstSeq, seal, grants.length, total, run.hash(), paid);
    }

    /// @dev Pays bitmap word by bitmap word. A bitmap word is written once, after its transfers: nothing acts on it in
    /// between, because everything that changes state shares one lock.
    function _payGrants(Run memory run, uint64 campaign, bool batch) private returns (uint256[] memory paid) {
        uint256 firstSeq = run.seq;
        unchecked {
            uint256 lastSeq = firstSeq + ((run.end - run.begin) >> 5) - 1;
            paid = new uint256[]((lastSeq >> 8) - (firstSeq >> 8) + 1);
        }
        bool refused = false;
        uint256 anyPaid = 0;
        for (uint256 i = 0; i < paid.length; ++i) {
            uint256 key = _key(campaign, run.seq >> 8);
            uint256 before = _burned[key];
            run.bits = before;
            if (_payWord(run, campaign, batch)) refused = true;
            uint256 fresh = run.bits ^ before;
            if (fresh != 0) _burned[key] = run.bits;
            paid[i] = fresh;
            anyPaid |= fresh;
        }
        // forge-lint: disable-next-line(unsafe-typecast) it came from 64 bits
        if ((refused && anyPaid == 0) || (batch && !run.send())) revert NothingPaid(campaign, uint64(firstSeq));
    }

    /// @dev Pays, or gathers, what is open in the bitmap word at the cursor.
    function _payWord(Run memory run, uint64 campaign, bool batch) private returns (bool refused) {
        uint256 word = run.seq >> 8;
        while (run.seq >> 8 == word && run.pos != run.end) {
            (bool isOpen, uint256 stretchEnd) = run.stretch();
            if (!isOpen) {
                run.skipTo(stretchEnd);
                continue;
            }
            // Two places that call each loop: inlined into this one, they would run out of stack and use memory instead.
            Stop why = batch ? run.collect(stretchEnd) : run.pay(stretchEnd);
            while (why != Stop.Done) {
                if (_report(run, campaign, why)) refused = true;
                run.skip();
                if (run.pos == stretchEnd) break;
                why = batch ? run.collect(stretchEnd) : run.pay(stretchEnd);
            }
        }
    }

    /// @dev Decides about the word at the cursor, which was not paid: a hole, a report, or a revert.
    function _report(Run memory run, uint64 campaign, Stop why) private returns (bool refused) {
        uint256 word = run.current();
        if (word == 0) return false;
        // forge-lint: disable-next-line(unsafe-typecast) a seq of the segment, checked to lie in 64 bits
        uint64 seq = uint64(run.seq);
        bytes32 reason = run.reason;
        if (why == Stop.Untried) {
            // forge-lint: disable-next-line(unsafe-typecast) 160 bits are left
            address to = address(uint160(word >> 96));
            if (to == address(0)) revert ZeroRecipient(campaign, seq);
            if (to != run.token && to != address(this)) revert GasTooLow(campaign, seq);
            reason = RECIPIENT_REFUSED;
        }
        emit GrantFailed(campaign, seq, word, reason);
        return true;
    }

    /// @dev Books a segment's total against the campaign's cap and window and the token's commitment.
    function _spend(uint64 campaign, Campaign storage c, address token, uint256 total) private {
        (uint256 spent, uint256 windowSpent, uint256 windowEnds) = _spending(c);
        uint256 left = _left(c.cap, spent);
        if (total > left) revert CapExceeded(campaign, total, left);
        if (c.window != 0) {
            left = _left(c.windowLimit, windowSpent);
            if (total > left) revert WindowExceeded(campaign, total, left);
        }
        unchecked {
            // Each sum is at most a cap or a limit, of 96 bits both; without a limit, windowSpent was zero.
            c.spending = windowEnds << 192 | (windowSpent + total) << 96 | (spent + total);
        }
        committed[token] -= total;
    }

    /// @dev What a campaign spent, in all and in the window of this block, and when that ends. Without a window all zero
    /// but the first, so that one set later starts anew.
    function _spending(Campaign storage c)
        private
        view
        returns (uint256 spent, uint256 windowSpent, uint256 windowEnds)
    {
        uint256 packed = c.spending;
        spent = packed & type(uint96).max;
        windowSpent = (packed >> 96) & type(uint96).max;
        windowEnds = packed >> 192;
        if (block.timestamp >= windowEnds) (windowSpent, windowEnds) = (0, block.timestamp + c.window);
    }

    /// @dev Zero where a limit was lowered below what is spent.
    function _left(uint256 limit, uint256 spent) private pure returns (uint256) {
        return limit > spent ? limit - spent : 0;
    }

    /*//////////////////////////////////////////////////////////////////////////
                                       OWNER
    //////////////////////////////////////////////////////////////////////////*/

    /// @inheritdoc IRewardVault
    function open(uint64 campaign, Terms calldata terms) external onlyOwner nonReentrant {
        Campaign storage c = _campaigns[campaign];
        if (c.token != address(0)) revert CampaignExists(campaign);
        if (terms.token.code.length == 0 || terms.token == address(this)) revert BadTerms(campaign);
        c.token = terms.token;
        c.batch = terms.batch;
        c.cap = terms.cap;
        _setLimits(campaign, c, terms.grantGas, terms.windowLimit, terms.window);
        _commit(terms.token, terms.cap);
        emit CampaignOpened(campaign, terms);
    }

    /// @inheritdoc IRewardVault
    function raiseCap(uint64 campaign, uint96 cap) external onlyOwner nonReentrant {
        Campaign storage c = _campaigns[campaign];
        if (c.token == address(0) || c.closesAt != 0) revert CampaignNotOpen(campaign);
        if (cap <= c.cap) revert CapNotRaised(campaign, cap, c.cap);
        _commit(c.token, cap - c.cap);
        c.cap = cap;
        emit CampaignChanged(campaign, _terms(c));
    }

    /// @inheritdoc IRewardVault
    function setLimits(uint64 campaign, uint32 grantGas, uint96 windowLimit, uint32 window)
        external
        onlyOwner
        nonReentrant
    {
        Campaign storage c = _unreleased(campaign);
        _setLimits(campaign, c, grantGas, windowLimit, window);
        // A window under way goes on with what it spent, but never longer than the new length.
        (uint256 spent, uint256 windowSpent, uint256 windowEnds) = _spending(c);
        uint256 latest = block.timestamp + window;
        if (windowEnds > latest) windowEnds = latest;
        c.spending = windowEnds << 192 | windowSpent << 96 | spent;
        emit CampaignChanged(campaign, _terms(c));
    }

    function _setLimits(uint64 id, Campaign storage c, uint32 grantGas, uint96 windowLimit, uint32 window) private {
        if (!c.batch && (grantGas < MIN_GRANT_GAS || grantGas > MAX_GRANT_GAS)) revert BadTerms(id);
        if (window == 0 && windowLimit != 0) revert BadTerms(id);
        c.grantGas = grantGas;
        c.windowLimit = windowLimit;
        c.window = window;
    }

    /// @inheritdoc IRewardVault
    function setOperator(address operator, bool allowed) external nonReentrant {
        if (msg.sender != owner() && (allowed || msg.sender != guardian)) revert NotAllowed(msg.sender);
        if (allowed && operator.code.length != 0) revert OperatorHasCode(operator);
        isOperator[operator] = allowed;
        emit OperatorSet(operator, allowed);
    }

    /// @inheritdoc IRewardVault
    function setGuardian(address guardian_) external onlyOwner nonReentrant {
        guardian = guardian_;
        emit GuardianSet(guardian_);
    }

    /// @inheritdoc IRewardVault
    function unpause() external onlyOwner nonReentrant {
        paused = false;
        emit Unpaused(msg.sender);
    }

    /// @inheritdoc IRewardVault
    function withdraw(address token, address to, uint256 amount) external onlyOwner nonReentrant {
        uint256 before = _balance(token);
        uint256 free = _uncommitted(token, before);
        if (amount > free) revert NotBacked(token, amount, free);
        (bool ok, bytes memory answer) = token.call(abi.encodeCall(IERC20.transfer, (to, amount)));
        if (!ok || (answer.length != 0 && abi.decode(answer, (uint256)) != 1)) revert TokenFailed(token);
        uint256 afterwards = _balance(token);
        unchecked {
            if (before - afterwards != amount) revert BalanceMismatch(token, before, afterwards, amount);
        }
        emit Withdrawn(token, to, amount);
    }

    function _commit(address token, uint256 amount) private {
        uint256 free = _uncommitted(token, _balance(token));
        if (amount > free) revert NotBacked(token, amount, free);
        committed[token] += amount;
    }

    /*//////////////////////////////////////////////////////////////////////////
                                GUARDIAN AND ANYONE
    //////////////////////////////////////////////////////////////////////////*/

    /// @inheritdoc IRewardVault
    function pause() external onlyGuardianOrOwner nonReentrant {
        paused = true;
        emit Paused(msg.sender);
    }

    /// @inheritdoc IRewardVault
    function close(uint64 campaign) external onlyGuardianOrOwner nonReentrant {
        Campaign storage c = _campaigns[campaign];
        if (c.token == address(0) || c.closesAt != 0) revert CampaignNotOpen(campaign);
        uint40 closesAt = uint40(block.timestamp) + CLOSE_DELAY;
        c.closesAt = closesAt;
        emit CampaignClosing(campaign, closesAt);
    }

    /// @inheritdoc IRewardVault
    function release(uint64 campaign) external nonReentrant {
        Campaign storage c = _unreleased(campaign);
        uint40 closesAt = c.closesAt;
        if (closesAt == 0 || block.timestamp < closesAt) revert NotReleasable(campaign, closesAt);
        uint96 spent = uint96(c.spending);
        uint96 rest = c.cap - spent;
        c.cap = spent;
        c.released = true;
        committed[c.token] -= rest;
        emit CampaignReleased(campaign, spent, rest);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                       VIEWS
    //////////////////////////////////////////////////////////////////////////*/

    /// @inheritdoc IRewardVault
    function uncommitted(address token) external view returns (uint256) {
        return _uncommitted(token, _balance(token));
    }

    /// @inheritdoc IRewardVault
    function burned(uint64 campaign, uint64 word) external view returns (uint256) {
        return _burned[_key(campaign, word)];
    }

    /// @inheritdoc IRewardVault
    function campaign(uint64 id) external view returns (Terms memory terms, uint96 spent, uint40 closesAt) {
        Campaign storage c = _campaigns[id];
        return (_terms(c), uint96(c.spending), c.closesAt);
    }

    /// @inheritdoc IRewardVault
    function released(uint64 campaign) external view returns (bool) {
        return _campaigns[campaign].released;
    }

    /// @inheritdoc IRewardVault
    function spendable(uint64 campaign) external view returns (uint256 left) {
        Campaign storage c = _campaigns[campaign];
        if (c.closesAt != 0 && block.timestamp >= c.closesAt) return 0;
        (uint256 spent, uint256 windowSpent,) = _spending(c);
        left = _left(c.cap, spent);
        if (c.window == 0) return left;
        uint256 windowLeft = _left(c.windowLimit, windowSpent);
        if (windowLeft < left) left = windowLeft;
    }

    function _terms(Campaign storage c) private view returns (Terms memory) {
        return Terms(c.token, c.batch, c.grantGas, c.cap, c.windowLimit, c.window);
    }

    function _unreleased(uint64 id) private view returns (Campaign storage c) {
        c = _campaigns[id];
        if (c.token == address(0) || c.released) revert CampaignNotOpen(id);
    }

    function _key(uint64 id, uint256 word) private pure returns (uint256) {
        return (uint256(id) << 64) | word;
    }

    /// @dev Zero where the token took from the vault more than it should have.
    function _uncommitted(address token, uint256 balance) private view returns (uint256) {
        uint256 due = committed[token];
        return balance > due ? balance - due : 0;
    }

    /// @dev An address without code answers nothing, and so is never paid from.
    function _balance(address token) private view returns (uint256 held) {
        bool ok;
        assembly ("memory-safe") {
            mstore(0x00, shl(224, 0x70a08231)) // balanceOf(address)
            mstore(0x04, address())
            ok := staticcall(gas(), token, 0x00, 0x24, 0x00, 0x20)
            ok := and(ok, gt(returndatasize(), 0x1f))
            held := mload(0x00)
        }
        if (!ok) revert TokenFailed(token);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                     OWNERSHIP
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice Not possible: without an owner the uncommitted tokens would be lost.
    function renounceOwnership() public view override onlyOwner {
        revert NotAllowed(msg.sender);
    }

    /// @dev The vault's own error instead of the library's.
    function _checkOwner() internal view override {
        if (msg.sender != owner()) revert NotAllowed(msg.sender);
    }
}
