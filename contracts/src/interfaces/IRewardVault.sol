// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title IRewardVault
/// @notice Holds the tokens of reward campaigns and pays their grants, each exactly once.
/// @dev A grant is a (campaign, seq). It has one bit, burned once: paid or cancelled, never both. A set bit is skipped, so
/// sending a batch again is always safe. Three roles: the owner opens and funds, operators pay, the guardian stops.
interface IRewardVault {
    /*//////////////////////////////////////////////////////////////////////////
                                       TYPES
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice Consecutive grants of one campaign.
    /// @param campaign The campaign that pays.
    /// @param firstSeq Grant i has the seq `firstSeq + i`.
    /// @param grants One word per grant: `recipient << 96 | amount`. A zero word is a hole and changes nothing.
    struct Segment {
        uint64 campaign;
        uint64 firstSeq;
        uint256[] grants;
    }

    /// @notice What a campaign may pay, and how.
    /// @param token The ERC-20 paid. No fee on transfer, no rebasing, no hooks into the recipient.
    /// @param batch Whether `token` is an {IBatchTransfer}; then a segment is one call and `grantGas` is not used.
    /// @param grantGas Gas that each single transfer gets, exactly. Below it nothing is tried.
    /// @param cap The most the campaign may ever pay; that much of the vault's balance is committed to it.
    /// @param windowLimit The most the campaign may pay in one window.
    /// @param window Length of a window in seconds; zero: no rate limit.
    struct Terms {
        address token;
        bool batch;
        uint32 grantGas;
        uint96 cap;
        uint96 windowLimit;
        uint32 window;
    }

    /*//////////////////////////////////////////////////////////////////////////
                                       EVENTS
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice A segment was settled; one such log per segment, in the order of the call.
    /// @dev The k-th set bit of `paid` is the k-th `Transfer` that the campaign's token logged with the vault as sender
    /// since the previous `BatchSettled` of the transaction. {GrantFailed} logs may lie between and count for nothing.
    /// @param campaign The segment's campaign.
    /// @param firstSeq The segment's first seq.
    /// @param seal The journal seal that came with the call.
    /// @param count Number of words in the segment, with holes.
    /// @param total Sum of the amounts paid now; the vault's balance fell by exactly this.
    /// @param grantsHash keccak256 of the segment's words, as given.
    /// @param paid Bits this segment set, aligned to bitmap words from `firstSeq >> 8`.
    event BatchSettled(
        uint64 indexed campaign,
        uint64 indexed firstSeq,
        bytes32 indexed seal,
        uint256 count,
        uint256 total,
        bytes32 grantsHash,
        uint256[] paid
    );

    /// @notice A grant could not be paid. A report, never a verdict: the seq stays open.
    /// @param campaign The grant's campaign.
    /// @param seq The grant's seq.
    /// @param grant The word that was tried.
    /// @param reason First 32 bytes of what the token returned, zero-padded; {IRewardVault-RECIPIENT_REFUSED} where the
    /// vault itself refused to try.
    event GrantFailed(uint64 indexed campaign, uint64 indexed seq, uint256 grant, bytes32 reason);

    /// @notice Seqs were burned without payment: the proof that their holds may be voided.
    /// @param campaign The campaign.
    /// @param word Number of the bitmap word: seqs `256 * word` to `256 * word + 255`.
    /// @param mask Only the bits newly burned by this call, never zero.
    event GrantsCancelled(uint64 indexed campaign, uint64 indexed word, uint256 mask);

    /// @notice A journal seal was anchored on chain.
    event SealAnchored(bytes32 indexed seal);

    /// @notice A campaign was opened.
    event CampaignOpened(uint64 indexed campaign, Terms terms);

    /// @notice A campaign's cap or limits changed.
    event CampaignChanged(uint64 indexed campaign, Terms terms);

    /// @notice A campaign pays until `closesAt` (exclusive) and never after.
    event CampaignClosing(uint64 indexed campaign, uint40 closesAt);

    /// @notice A campaign ended; nothing about it changes any more.
    /// @param campaign The campaign.
    /// @param spent What it paid in all its life.
    /// @param released What is no longer committed to it.
    event CampaignReleased(uint64 indexed campaign, uint96 spent, uint96 released);

    /// @notice An operator was allowed or disallowed.
    event OperatorSet(address indexed operator, bool allowed);

    /// @notice The guardian changed; zero: there is none.
    event GuardianSet(address indexed guardian);

    /// @notice Settling and anchoring stopped.
    event Paused(address indexed by);

    /// @notice Settling and anchoring go on.
    event Unpaused(address indexed by);

    /// @notice Uncommitted tokens left the vault.
    event Withdrawn(address indexed token, address indexed to, uint256 amount);

    /*//////////////////////////////////////////////////////////////////////////
                                       ERRORS
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice The caller's role does not include this.
    error NotAllowed(address caller);
    /// @notice The vault is paused.
    error VaultPaused();
    /// @notice The settlement came too late.
    error Expired(uint64 deadline);
    /// @notice The deadline is more than MAX_LIFETIME ahead.
    error DeadlineTooFar(uint64 deadline, uint256 latest);
    /// @notice An operator must be the transaction's sender and have neither code nor an EIP-7702 delegation, so that
    /// calldata is top-level and nothing can call back as an operator.
    error OperatorHasCode(address operator);
    /// @notice The campaign was never opened, or no longer allows this.
    error CampaignNotOpen(uint64 campaign);
    /// @notice An id is opened once, for ever.
    error CampaignExists(uint64 campaign);
    /// @notice The terms can never pay a grant: a token without code, a useless grantGas, or half a rate limit.
    error BadTerms(uint64 campaign);
    /// @notice A cap only rises.
    error CapNotRaised(uint64 campaign, uint96 cap, uint96 current);
    /// @notice The campaign cannot be released yet.
    error NotReleasable(uint64 campaign, uint40 closesAt);
    /// @notice The segment is empty or leaves the range of seqs.
    error BadSegment(uint64 campaign, uint64 firstSeq);
    /// @notice No seq lies in this bitmap word.
    error BadWord(uint64 campaign, uint64 word);
    /// @notice A word with an amount but no recipient: it was put together wrongly.
    error ZeroRecipient(uint64 campaign, uint64 seq);
    /// @notice Not enough gas is left to give this grant its full stipend.
    error GasTooLow(uint64 campaign, uint64 seq);
    /// @notice Every open grant of the segment failed: a token or a vault in trouble, not bad recipients.
    error NothingPaid(uint64 campaign, uint64 firstSeq);
    /// @notice The segment would take the campaign over its cap.
    error CapExceeded(uint64 campaign, uint256 total, uint256 left);
    /// @notice The segment would take the campaign over its window's limit.
    error WindowExceeded(uint64 campaign, uint256 total, uint256 left);
    /// @notice The vault's balance did not fall by exactly the total.
    error BalanceMismatch(address token, uint256 before, uint256 afterwards, uint256 total);
    /// @notice The vault holds too little that is not committed.
    error NotBacked(address token, uint256 wanted, uint256 uncommitted);
    /// @notice The token did not answer, or refused a withdrawal.
    error TokenFailed(address token);

    /*//////////////////////////////////////////////////////////////////////////
                                     OPERATORS
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice Pays the open grants of each segment and burns their bits. Not while paused.
    /// @dev Skips holes and burned bits. A refused recipient is reported by {GrantFailed} and stays open. Reverts as a
    /// whole on everything else; the gas limit decides only between a revert and the full result, never the masks.
    /// @param deadline Last block timestamp at which this may run; at most MAX_LIFETIME ahead of the block's.
    /// @param segments Grants by campaign; segments may overlap.
    /// @param seal The newest journal seal, or zero.
    /// @return paid Per segment what {BatchSettled} logs as `paid`, so that a call before signing shows what would be
    /// refused.
    function settle(uint64 deadline, Segment[] calldata segments, bytes32 seal)
        external
        returns (uint256[][] memory paid);

    /// @notice Burns open bits without payment. The owner too; also while paused; not once released.
    /// @param campaign The campaign.
    /// @param word Number of the bitmap word.
    /// @param mask Bits to burn; those burned before are skipped.
    function cancel(uint64 campaign, uint64 word, uint256 mask) external;

    /// @notice Logs a journal seal. Not while paused.
    function anchor(bytes32 seal) external;

    /*//////////////////////////////////////////////////////////////////////////
                                       OWNER
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice Opens a campaign and commits its cap from the uncommitted balance.
    function open(uint64 campaign, Terms calldata terms) external;

    /// @notice Raises a campaign's cap and commits the difference. Not once closing.
    /// @param campaign The campaign.
    /// @param cap The new cap, absolute.
    function raiseCap(uint64 campaign, uint96 cap) external;

    /// @notice Changes how fast and with how much gas a campaign pays. What its window spent so far keeps counting; a
    /// window of length 1 with the limit 0 stops the campaign. Not once released.
    function setLimits(uint64 campaign, uint32 grantGas, uint96 windowLimit, uint32 window) external;

    /// @notice Allows or disallows an operator. The guardian may disallow.
    function setOperator(address operator, bool allowed) external;

    /// @notice Names the guardian; zero: none.
    function setGuardian(address guardian) external;

    /// @notice Ends a pause.
    function unpause() external;

    /// @notice Sends uncommitted tokens away.
    function withdraw(address token, address to, uint256 amount) external;

    /*//////////////////////////////////////////////////////////////////////////
                                 GUARDIAN OR OWNER
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice Stops settling and anchoring at once. Doing it twice changes nothing.
    function pause() external;

    /// @notice Starts the end of a campaign, once: it pays for CLOSE_DELAY more, longer than any honest deadline lives.
    function close(uint64 campaign) external;

    /*//////////////////////////////////////////////////////////////////////////
                                       ANYONE
    //////////////////////////////////////////////////////////////////////////*/

    /// @notice Ends a closed campaign once its time has come: its cap becomes what it spent, the rest is uncommitted.
    function release(uint64 campaign) external;

    /// @notice How far ahead a deadline may lie, in seconds.
    function MAX_LIFETIME() external view returns (uint64);

    /// @notice Seconds from {close} to {release}.
    function CLOSE_DELAY() external view returns (uint40);

    /// @notice The `reason` of a grant to the vault or to the token itself.
    function RECIPIENT_REFUSED() external view returns (bytes32);

    /// @notice Whether the vault is paused.
    function paused() external view returns (bool);

    /// @notice Who may pause and close besides the owner.
    function guardian() external view returns (address);

    /// @notice Whether an address may settle.
    function isOperator(address operator) external view returns (bool);

    /// @notice What campaigns may still pay in a token: the sum of their unspent caps.
    function committed(address token) external view returns (uint256);

    /// @notice The vault's balance of a token less what is committed, at least zero.
    function uncommitted(address token) external view returns (uint256);

    /// @notice 256 bits of a campaign, paid or cancelled: bit i is the seq `256 * word + i`.
    function burned(uint64 campaign, uint64 word) external view returns (uint256);

    /// @notice A campaign's terms and state; a zero token: never opened.
    /// @param id The campaign.
    /// @return terms As opened, raised and changed since; the cap equals `spent` once released.
    /// @return spent What it paid so far.
    /// @return closesAt When it stops paying; zero while open.
    function campaign(uint64 id) external view returns (Terms memory terms, uint96 spent, uint40 closesAt);

    /// @notice Whether a campaign ended for ever.
    function released(uint64 campaign) external view returns (bool);

    /// @notice What a campaign may still pay in the window that the current block falls in, cap included.
    function spendable(uint64 campaign) external view returns (uint256);
}
