// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CommonBase} from "forge-std/Base.sol";
import {StdUtils} from "forge-std/StdUtils.sol";
import {Vm} from "forge-std/Vm.sol";

import {IRewardVault} from "../../src/interfaces/IRewardVault.sol";
import {RewardToken} from "../../src/RewardToken.sol";
import {RewardVault} from "../../src/RewardVault.sol";
import {FussyToken} from "../mocks/FussyToken.sol";

/// @notice Does anything that anybody may do, and writes down from the logs alone what came of it.
/// @dev Whatever must hold for a single call is checked here, by `violations`; what must hold always, by the invariants.
contract Handler is CommonBase, StdUtils {
    uint64 internal constant CAMPAIGNS = 6;
    /// @dev Seqs stay below, so that calls meet: three bitmap words.
    uint64 internal constant SEQS = 600;
    uint64 internal constant WORDS = 3;
    address internal constant OPERATOR = address(0x09e7a707);
    address internal constant OWNER = address(0x0111e7);

    RewardVault public vault;
    FussyToken public plain;
    RewardToken public batch;

    /// @dev What was found wrong, first finding first.
    string[] public violations;
    mapping(string name => uint256 count) public calls;

    struct Past {
        uint256 seed;
        uint64 campaign;
        uint64 firstSeq;
        uint16 count;
    }

    Past[] private _past;

    // What the logs told.
    mapping(uint64 campaign => mapping(uint64 seq => uint256 word)) public paidWord;
    mapping(uint64 campaign => mapping(uint64 word => uint256 bits)) public paidBits;
    mapping(uint64 campaign => mapping(uint64 word => uint256 bits)) public cancelledBits;
    mapping(uint64 campaign => uint256 sum) public totals;
    mapping(uint64 campaign => bytes32 state) public releasedState;
    // A window's own books: what was paid since it began.
    mapping(uint64 campaign => uint256 time) private _windowEnds;
    mapping(uint64 campaign => uint256 sum) private _windowSpent;
    // Transfers since the last BatchSettled, and how many of them are told apart.
    uint256[] private _transfers;
    uint256 private _next;

    constructor(RewardVault vault_, FussyToken plain_, RewardToken batch_) {
        (vault, plain, batch) = (vault_, plain_, batch_);
    }

    /*//////////////////////////////////////////////////////////////////////////
                                      ACTIONS
    //////////////////////////////////////////////////////////////////////////*/

    function settle(uint256 seed, uint64 campaign, uint64 firstSeq, uint16 count) external {
        _past.push(Past(seed, campaign, firstSeq, count));
        _settleFrom(seed, campaign, firstSeq, count);
    }

    function settleInTheFirstTwo(uint256 seed, bool second, uint64 firstSeq, uint16 count) external {
        _past.push(Past(seed, second ? 1 : 0, firstSeq, count));
        _settleFrom(seed, second ? 1 : 0, firstSeq, count);
    }

    function replay(uint256 which) external {
        if (_past.length == 0) return;
        Past memory past = _past[which % _past.length];
        _settleFrom(past.seed, past.campaign, past.firstSeq, past.count);
    }

    function _settleFrom(uint256 seed, uint64 campaign, uint64 firstSeq, uint16 count) private {
        campaign = _campaign(campaign);
        firstSeq = uint64(bound(firstSeq, 0, SEQS - 1));
        uint256[] memory words = new uint256[](bound(count, 1, SEQS - firstSeq < 80 ? SEQS - firstSeq : 80));
        for (uint256 i = 0; i < words.length; ++i) {
            words[i] = _word(seed, campaign, firstSeq + uint64(i));
        }
        IRewardVault.Segment[] memory list = new IRewardVault.Segment[](1 + seed % 2);
        list[0] = IRewardVault.Segment(campaign, firstSeq, words);
        // The second overlaps the first or pays another campaign under the same seqs.
        if (list.length == 2) {
            uint64 other = seed % 3 == 0 ? campaign : _campaign(campaign + 1);
            list[1] = IRewardVault.Segment(other, firstSeq, words);
        }
        _settle(list);
    }

    function _settle(IRewardVault.Segment[] memory list) private {
        uint256[2] memory before = [plain.balanceOf(address(vault)), batch.balanceOf(address(vault))];
        uint64 last = uint64(vm.getBlockTimestamp() + 60);
        vm.recordLogs();
        vm.prank(OPERATOR, OPERATOR);
        try vault.settle(last, list, 0) returns (uint256[][] memory paid) {
            ++calls["settle"];
            Vm.Log[] memory logs = vm.getRecordedLogs();
            uint256[2] memory sums = _readSettlement(logs, list, paid);
            if (before[0] - plain.balanceOf(address(vault)) != sums[0]) _violation("plain balance fell by the total");
            if (before[1] - batch.balanceOf(address(vault)) != sums[1]) _violation("batch balance fell by the total");
        } catch (bytes memory err) {
            vm.getRecordedLogs();
            ++calls["settle reverted"];
            if (bytes4(err) == 0x4e487b71) _violation("settle panicked");
        }
    }

    function cancel(uint64 campaign, uint64 word, uint256 mask) external {
        campaign = _campaign(campaign);
        word = uint64(bound(word, 0, WORDS - 1));
        mask &= mask >> 7 & mask << 11;
        vm.recordLogs();
        vm.prank(OPERATOR, OPERATOR);
        try vault.cancel(campaign, word, mask) {
            ++calls["cancel"];
            Vm.Log[] memory logs = vm.getRecordedLogs();
            for (uint256 i = 0; i < logs.length; ++i) {
                uint256 fresh = abi.decode(logs[i].data, (uint256));
                if (fresh & (paidBits[campaign][word] | cancelledBits[campaign][word]) != 0) {
                    _violation("cancel logs open bits only");
                }
                cancelledBits[campaign][word] |= fresh;
            }
        } catch {
            vm.getRecordedLogs();
        }
    }

    function open(uint64 campaign, bool isBatch, uint96 cap, uint96 limit, uint32 window) external {
        campaign = _campaign(campaign);
        address token = isBatch ? address(batch) : address(plain);
        cap = uint96(bound(cap, 0, vault.uncommitted(token) / 2));
        window = uint32(bound(window, 0, 2 days));
        limit = window == 0 ? 0 : uint96(bound(limit, cap / 8, cap));
        vm.prank(OWNER);
        try vault.open(campaign, IRewardVault.Terms(token, isBatch, 100_000, cap, limit, window)) {
            ++calls["open"];
        } catch {}
    }

    function raiseCap(uint64 campaign, uint96 by) external {
        campaign = _campaign(campaign);
        (IRewardVault.Terms memory t,,) = vault.campaign(campaign);
        if (t.token == address(0)) return;
        uint256 free = vault.uncommitted(t.token);
        vm.prank(OWNER);
        try vault.raiseCap(campaign, uint96(t.cap + bound(by, 0, free))) {
            ++calls["raiseCap"];
        } catch {}
    }

    function setLimits(uint64 campaign, uint96 limit, uint32 window) external {
        campaign = _campaign(campaign);
        (IRewardVault.Terms memory t,,) = vault.campaign(campaign);
        window = uint32(bound(window, 0, 2 days));
        limit = window == 0 ? 0 : uint96(bound(limit, t.cap / 10, t.cap));
        vm.prank(OWNER);
        try vault.setLimits(campaign, 100_000, limit, window) {
            ++calls["setLimits"];
            uint256 latest = vm.getBlockTimestamp() + window;
            if (vm.getBlockTimestamp() >= _windowEnds[campaign]) _windowSpent[campaign] = 0;
            if (_windowEnds[campaign] > latest) _windowEnds[campaign] = latest;
        } catch {}
    }

    /// @dev Seldom, or soon nothing would be open.
    function close(uint64 campaign, uint8 chance) external {
        if (chance % 6 != 0) return;
        vm.prank(OWNER);
        try vault.close(_campaign(campaign)) {
            ++calls["close"];
        } catch {}
    }

    function release(uint64 campaign) external {
        campaign = _campaign(campaign);
        try vault.release(campaign) {
            ++calls["release"];
            releasedState[campaign] = stateOf(campaign);
        } catch {}
    }

    function withdraw(uint256 amount, bool isBatch) external {
        address token = isBatch ? address(batch) : address(plain);
        uint256 free = vault.uncommitted(token);
        // One time in four more than there is.
        bool tooMuch = amount % 4 == 0;
        amount = tooMuch ? free + 1 + amount % 1 ether : bound(amount, 0, free / 100);
        vm.prank(OWNER);
        try vault.withdraw(token, OWNER, amount) {
            ++calls["withdraw"];
            if (tooMuch) _violation("withdrawals are at most uncommitted");
        } catch {}
    }

    function donate(uint96 amount, bool isBatch) external {
        amount = uint96(bound(amount, 0, 1000 ether));
        if (isBatch) {
            vm.prank(OWNER);
            batch.mint(address(vault), amount);
        } else {
            plain.mint(address(vault), amount);
        }
    }

    function refuse(uint8 account, bool refused) external {
        plain.refuse(_account(account), refused);
    }

    /// @dev Paused for this one settlement only, or hardly anything else would pass.
    function settleWhilePaused(uint256 seed, bool second, uint64 firstSeq, uint16 count) external {
        uint256 passed = calls["settle"];
        vm.prank(OWNER);
        vault.pause();
        _settleFrom(seed, second ? 1 : 0, firstSeq, count);
        if (calls["settle"] != passed) _violation("nothing is settled while paused");
        vm.prank(OWNER);
        vault.unpause();
    }

    function passTime(uint32 time) external {
        vm.warp(vm.getBlockTimestamp() + bound(time, 1, 1 days));
    }

    /*//////////////////////////////////////////////////////////////////////////
                                   READING LOGS
    //////////////////////////////////////////////////////////////////////////*/

    /// @dev Rebuilds every payment from the logs, and holds it against the calldata.
    function _readSettlement(Vm.Log[] memory logs, IRewardVault.Segment[] memory list, uint256[][] memory returned)
        private
        returns (uint256[2] memory sums)
    {
        uint256 settled;
        for (uint256 i = 0; i < logs.length; ++i) {
            bytes32 topic = logs[i].topics[0];
            if (topic == keccak256("Transfer(address,address,uint256)")) {
                _transfers.push(uint256(logs[i].topics[2]) << 96 | abi.decode(logs[i].data, (uint256)));
            } else if (topic == IRewardVault.BatchSettled.selector) {
                (bool isBatch, uint256 total) = _readSegment(logs[i], list[settled], returned[settled]);
                sums[isBatch ? 1 : 0] += total;
                ++settled;
            }
        }
        if (settled != list.length) _violation("one log per segment");
    }

    function _readSegment(Vm.Log memory log, IRewardVault.Segment memory segment, uint256[] memory returned)
        private
        returns (bool isBatch, uint256 total)
    {
        uint256 count;
        bytes32 hash;
        uint256[] memory paid;
        (count, total, hash, paid) = abi.decode(log.data, (uint256, uint256, bytes32, uint256[]));
        if (uint64(uint256(log.topics[1])) != segment.campaign) _violation("log names the campaign");
        if (uint64(uint256(log.topics[2])) != segment.firstSeq) _violation("log names the first seq");
        if (count != segment.grants.length) _violation("log counts the words");
        if (hash != keccak256(abi.encodePacked(segment.grants))) _violation("log hashes the words");
        if (keccak256(abi.encode(paid)) != keccak256(abi.encode(returned))) _violation("returned masks are logged");
        if (_readPaid(segment, paid) != total) _violation("transfers sum up to the total");
        (IRewardVault.Terms memory t,,) = vault.campaign(segment.campaign);
        isBatch = t.batch;
        _book(segment.campaign, t, total);
    }

    function _readPaid(IRewardVault.Segment memory segment, uint256[] memory paid) private returns (uint256 sum) {
        uint64 base = segment.firstSeq >> 8;
        _next = 0;
        for (uint64 i = 0; i < paid.length; ++i) {
            _burn(segment.campaign, base + i, paid[i]);
            for (uint64 bit = 0; bit < 256; ++bit) {
                if (paid[i] >> bit & 1 == 1) sum += _readBit(segment, (base + i) * 256 + bit);
            }
        }
        if (_next != _transfers.length) _violation("as many transfers as bits");
        delete _transfers;
    }

    function _burn(uint64 campaign, uint64 word, uint256 fresh) private {
        if (fresh & paidBits[campaign][word] != 0) _violation("a bit is paid once");
        if (fresh & cancelledBits[campaign][word] != 0) _violation("a cancelled bit is never paid");
        paidBits[campaign][word] |= fresh;
    }

    /// @dev The next transfer is this seq's.
    function _readBit(IRewardVault.Segment memory segment, uint64 seq) private returns (uint256 amount) {
        uint256 word = _next < _transfers.length ? _transfers[_next] : 0;
        ++_next;
        if (paidWord[segment.campaign][seq] != 0) _violation("a seq is paid once");
        if (seq < segment.firstSeq || seq - segment.firstSeq >= segment.grants.length) {
            _violation("only seqs of the segment are paid");
        } else if (word != segment.grants[seq - segment.firstSeq]) {
            _violation("the logs tell who got what");
        }
        paidWord[segment.campaign][seq] = word;
        return uint96(word);
    }

    function _book(uint64 campaign, IRewardVault.Terms memory t, uint256 total) private {
        totals[campaign] += total;
        if (total == 0) return;
        if (vm.getBlockTimestamp() >= _windowEnds[campaign]) {
            _windowEnds[campaign] = vm.getBlockTimestamp() + t.window;
            _windowSpent[campaign] = 0;
        }
        _windowSpent[campaign] += total;
        if (t.window != 0 && _windowSpent[campaign] > t.windowLimit) _violation("a window's limit is kept");
    }

    function _violation(string memory what) private {
        violations.push(what);
    }

    function violationCount() external view returns (uint256) {
        return violations.length;
    }

    /*//////////////////////////////////////////////////////////////////////////
                                      CHOICES
    //////////////////////////////////////////////////////////////////////////*/

    function stateOf(uint64 campaign) public view returns (bytes32) {
        (IRewardVault.Terms memory t, uint96 spent, uint40 closesAt) = vault.campaign(campaign);
        uint256[3] memory bits = [vault.burned(campaign, 0), vault.burned(campaign, 1), vault.burned(campaign, 2)];
        return keccak256(abi.encode(t, spent, closesAt, bits));
    }

    function _campaign(uint64 choice) private pure returns (uint64) {
        return 1 + choice % CAMPAIGNS;
    }

    function _account(uint256 choice) private pure returns (address) {
        return address(uint160(0xacc0 + choice % 16));
    }

    /// @dev Mostly a grant, its amount made from its seq so that mix-ups show; some holes, some to the vault.
    function _word(uint256 seed, uint64 campaign, uint64 seq) private view returns (uint256) {
        uint256 random = uint256(keccak256(abi.encode(seed, campaign, seq)));
        if (random % 11 == 0) return 0;
        address to = random % 53 == 0 ? address(vault) : _account(random >> 8);
        return uint256(uint160(to)) << 96 | (uint256(campaign) * 1e18 + uint256(seq) * 1e14 + (random >> 200) % 1e12);
    }
}
