//! What a node means when it does not take a transaction.
//!
//! Nodes say the same in different words, and different things under the same number. Numbers that mean one thing
//! everywhere come first, then words, from the most specific to the vaguest; what fits nothing is not known. The texts
//! and where each was read are the table in `tests/it/refusals.rs`.

use std::sync::LazyLock;

use regex::RegexSet;

/// Why a node does not take a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It has it already; or, with some clients, has thrown it away a moment ago.
    AlreadyKnown,
    /// The account has used the nonce. Says nothing about which transaction used it.
    NonceTooLow,
    /// A nonce before it is missing.
    NonceGap,
    /// The fees are below what the node takes.
    Underpriced,
    /// The node has another transaction of the nonce, whose fees would have to be outbid by more.
    ReplacementUnderpriced,
    /// The fee cap is below the base fee.
    BelowBaseFee,
    /// The account cannot pay for the gas.
    InsufficientFunds,
    /// The gas limit is too low for what is asked, or higher than a block or a transaction may have.
    GasLimit,
    /// The node tried it, and it reverted.
    WouldRevert,
    /// The node was asked too often.
    RateLimited,
    /// The node has no room for it at the moment.
    PoolFull,
    /// This endpoint takes no transactions, or none from us; another one may.
    Endpoint,
    /// These bytes are wrong, for every node.
    Malformed,
}

/// What to do after a refusal. Nothing of it gives a nonce to other work: only a receipt in a final block does that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Look for the transaction; go on sending it until it is in a block.
    Confirm,
    /// Look for the receipts of everything that was signed for the nonce.
    FindReceipt,
    /// Send the nonces before it again, then this one.
    FillGap,
    /// Sign the same again with higher fees.
    RaiseFees,
    /// Send the same bytes again later.
    Later,
    /// Send the same bytes to another endpoint, and tell an operator.
    OtherEndpoint,
    /// Stop the lane until somebody has put money into its account.
    Park,
    /// Fill its nonce with an empty transaction, and tell an operator: no node will ever take what was signed. A lane of which not even
    /// that is taken stops.
    Abandon,
}

impl Refusal {
    /// Every refusal.
    pub const ALL: [Self; 13] = [
        Self::AlreadyKnown,
        Self::NonceTooLow,
        Self::NonceGap,
        Self::Underpriced,
        Self::ReplacementUnderpriced,
        Self::BelowBaseFee,
        Self::InsufficientFunds,
        Self::GasLimit,
        Self::WouldRevert,
        Self::RateLimited,
        Self::PoolFull,
        Self::Endpoint,
        Self::Malformed,
    ];

    /// Its name in metrics and alerts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyKnown => "already_known",
            Self::NonceTooLow => "nonce_too_low",
            Self::NonceGap => "nonce_gap",
            Self::Underpriced => "underpriced",
            Self::ReplacementUnderpriced => "replacement_underpriced",
            Self::BelowBaseFee => "below_base_fee",
            Self::InsufficientFunds => "insufficient_funds",
            Self::GasLimit => "gas_limit",
            Self::WouldRevert => "would_revert",
            Self::RateLimited => "rate_limited",
            Self::PoolFull => "pool_full",
            Self::Endpoint => "endpoint",
            Self::Malformed => "malformed",
        }
    }

    /// What to do next.
    pub const fn next(self) -> NextStep {
        match self {
            Self::AlreadyKnown => NextStep::Confirm,
            Self::NonceTooLow => NextStep::FindReceipt,
            Self::NonceGap => NextStep::FillGap,
            Self::Underpriced | Self::ReplacementUnderpriced | Self::BelowBaseFee => NextStep::RaiseFees,
            Self::RateLimited | Self::PoolFull => NextStep::Later,
            Self::Endpoint => NextStep::OtherEndpoint,
            Self::InsufficientFunds => NextStep::Park,
            Self::GasLimit | Self::WouldRevert | Self::Malformed => NextStep::Abandon,
        }
    }

    /// Whether it stays so until somebody does something about it.
    pub const fn lasts(self) -> bool {
        matches!(self.next(), NextStep::Park | NextStep::Abandon | NextStep::OtherEndpoint)
    }

    /// What an error of `eth_sendRawTransaction` means; `None` if nobody can tell, so that the transaction may have been
    /// sent.
    pub fn classify(code: i64, message: &str) -> Option<Self> {
        let text = message.to_lowercase();
        if let Some(refusal) = by_code(code) {
            return Some(refusal);
        }
        let first = PATTERNS.matches(&text).iter().next().and_then(|index| RULES.get(index));
        match first {
            Some((refusal, _)) => Some(*refusal),
            // "limit exceeded" alone is a rate under this code, and gas under others.
            None if code == -32_005 && text.contains("limit exceeded") => Some(Self::RateLimited),
            None if code == INVALID_PARAMS => Some(Self::Malformed),
            None => None,
        }
    }
}

/// JSON-RPC 2.0: the parameters, here the bytes, are not what the method takes.
const INVALID_PARAMS: i64 = -32_602;

/// Numbers that mean the same with every client and provider that uses them.
const fn by_code(code: i64) -> Option<Refusal> {
    Some(match code {
        3 => Refusal::WouldRevert,
        429 | 402 | -32_090 => Refusal::RateLimited,
        -32_601 | -32_604 | -40_100 | -32_612 => Refusal::Endpoint,
        -32_700 => Refusal::Malformed,
        // execution-apis: the codes of eth_simulateV1.
        -38_010 => Refusal::NonceTooLow,
        -38_011 => Refusal::NonceGap,
        -38_012 => Refusal::BelowBaseFee,
        -38_013 | -38_015 => Refusal::GasLimit,
        -38_014 => Refusal::InsufficientFunds,
        -38_024 | -38_025 => Refusal::Malformed,
        _ => return None,
    })
}

static PATTERNS: LazyLock<RegexSet> = LazyLock::new(|| {
    let patterns = RULES.iter().map(|(_, pattern)| format!("(?x){pattern}"));
    RegexSet::new(patterns).expect("the rules are regular expressions; a test compiles them")
});

/// Lower-case texts, the first that fits decides. The order matters: a revert's reason may hold any words, a nonce that is
/// too high may be called too low, a replacement that is underpriced is underpriced, too.
const RULES: &[(Refusal, &str)] = &[
    (
        Refusal::WouldRevert,
        r"^(err:\ )?execution\ reverted | vm\ execution\ error | transaction\ simulation\ failed",
    ),
    (
        Refusal::RateLimited,
        r"too\ many\ requests | rate\ limit | rate\ exceeded | request\ limit\ reached | credits\ limited
        | compute\ units\ per\ second | concurrent\ requests\ capacity | capacity\ limit\ exceeded
        | daily\ request\ count\ exceeded | over\ capacity | server\ is\ busy | requests\ per\ second
        | payment\ required",
    ),
    (
        Refusal::AlreadyKnown,
        r"\balready\ ?known\b | \bknown\ transaction\b | already\ imported | existing\ txn?\ with\ same\ hash
        | ^internal_error:\ mined$ | already\ in\ (the\ )?mempool | transaction\ already\ finalized",
    ),
    (Refusal::Malformed, r"nonce\ exceeds\ max | nonce\ has\ max\ value"),
    (
        Refusal::NonceGap,
        r"nonce\ too\ high | noncegap | nonce\ too\ far\ in\ future | noncetoofarinfuture
        | too\ distant\ from\ current\ sender\ nonce | lower\ nonce\ exists | gapped-nonce
        | delegation\ nonce\ gap | notcurrentnoncefordelegation | future\ nonce",
    ),
    (Refusal::NonceTooLow, r"nonce\ (is\ )?too\ low | \boldnonce\b | invalid\ transaction\ nonce"),
    (
        Refusal::ReplacementUnderpriced,
        r"replacement\ transaction\ underpriced | replacementnotallowed | could\ not\ replace\ existing
        | replaced\ by\ transaction\ with\ higher\ tip | another\ transaction\ with\ same\ nonce
        | insufficient\ gas\ price\ to\ replace | ownnoncealreadyused",
    ),
    (
        Refusal::Endpoint,
        r"exceeds\ the\ configured\ cap | fee\ cap\ exceeded | unauthorized | must\ be\ authenticated | api\ key
        | project\ id\ settings | invalid\ project\ id | not\ whitelisted | on\ the\ whitelist
        | does\ not\ exist/is\ not\ available | method\ not\ (found|enabled|supported) | pool\ not\ enabled
        | txpool\ disabled | ^syncing$ | is\ syncing | sync\ is\ still\ in\ progress | authentication\ needed
        | not\ authorized\ to\ send | publishing\ transactions\ not\ supported",
    ),
    (
        Refusal::Malformed,
        r"invalid\ chain\ ?id | invalidtxchainid | wrong\ chainid | chainid\ (is\ required|not\ supported)
        | signed\ for\ another\ chain | invalid\ sender | invalid\ (transaction\ )?signature | v,\ r,\ s\ values
        | failed\ to\ (recover|resolve)\ ?sender | failedtoresolvesender | sender\ (is\ )?not\ an\ eoa
        | senderiscontract | transaction\ type\ (is\ )?not\ supported | unsupported\ transaction\ type
        | unknown\ transaction\ type | notsupportedtxtype | invalid\ transaction\ type | is\ not\ activated\ yet
        | not\ supported\ by\ the\ current\ hardfork | oversized\ data | rlptoolong | transaction\ too\ large
        | maxtxsizeexceeded | initcode | l2message\ too\ long | failed\ to\ decode | empty\ transaction\ data
        | typed\ transaction\ too\ short | ^rlp: | invalid\ rlp | invalid\ block\ param
        | priority\ fee\ .*(higher|exceeds|greater).*max\ fee | only\ replay-protected | negative\ value
        | overflow | cannot\ unmarshal | cyclic\ transaction | forbidden\ sender | ^invalid$
        | ^transaction\ invalid$",
    ),
    (
        Refusal::BelowBaseFee,
        r"less\ than\ block\ base\ fee | below\ current\ base\ fee | lower\ than\ the\ base\ fee
        | maxfeepergas\ too\ low",
    ),
    (
        Refusal::GasLimit,
        r"exceeds\ block\ gas\ limit | exceeds\ max\ transaction\ gas\ limit | gas\ limit\ (is\ )?too\ high
        | gas\ limit\ cap\ exceeded | gaslimitcapexceeded | gaslimitexceeded | gas\ limit\ reached
        | greater\ than\ the\ block\ gas\ limit | intrinsic\ gas\ (too\ low|too\ high|exceeds) | intrinsicgas
        | floor\ data | gaslimit\ too\ low | transaction\ cost\ exceeds\ current\ gas\ limit",
    ),
    (
        Refusal::InsufficientFunds,
        r"insufficient\ ?funds | insufficient\ balance | upfront\ cost\ exceeds\ account\ balance
        | not\ enough\ funds",
    ),
    (
        Refusal::Underpriced,
        r"underpriced | gas\ price\ below\ minimum | below\ configured\ minimum\ gas\ price
        | below\ minimum\ required\ priority\ fee | fee\ too\ low | fee_too_low | feetoolow
        | gas\ price\ .*(is\ )?too\ low | below\ the\ chain\ minimum",
    ),
    (
        Refusal::PoolFull,
        r"(txpool|sub-pool)\ is\ full | queue\ full | pool\ full | too\ many\ transactions\ in\ the\ queue
        | account\ limit\ exceeded | already\ reserved | in-flight\ transaction\ limit | \bspammer\b
        | future\ transaction\ tries\ to\ replace\ pending | pending\ transaction\ type\ conflict
        | pendingtxsofconflictingtype | has\ pending\ transaction | delegatorhaspendingtx
        | sequencer\ temporarily\ not\ available | currently\ not\ accepting\ transactions",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_compile_and_every_refusal_can_be_reached() {
        assert_eq!(PATTERNS.len(), RULES.len());
        for refusal in Refusal::ALL {
            assert!(RULES.iter().any(|(of_rule, _)| *of_rule == refusal), "{refusal:?}");
        }
    }

    #[test]
    fn words_are_not_found_inside_of_others() {
        assert_eq!(Refusal::classify(-32_000, "unknown transaction"), None);
        assert_eq!(Refusal::classify(-32_000, "nonce 429 too odd"), None);
    }

    #[test]
    fn a_reverts_reason_may_say_anything() {
        for code in [3, -32_000] {
            let refusal = Refusal::classify(code, "execution reverted: nonce too low");
            assert_eq!(refusal, Some(Refusal::WouldRevert));
        }
    }
}
