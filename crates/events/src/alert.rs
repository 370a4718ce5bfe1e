//! The codes of alerts, which stay: the runbook has an entry for each, and a test compares them with it.

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: &str = $code;)+

        /// All of them.
        pub const ALL: &[&str] = &[$($name),+];
    };
}

/// Those of a state that lasts until something is done about it: nobody would be told of it again, so they cannot be acknowledged.
pub const STATES: &[&str] = &[
    CHAIN_HALTED,
    CHAIN_NOT_FOLLOWED,
    BUDGET_SHORT,
    NONCE_USED_ELSEWHERE,
    LANE_REJECTED,
    PAYOUTS_STOPPED,
    QUARANTINE,
    STAGE_HALTED,
    DEAD_LETTERS,
    RULE_DOES_NOT_COMPILE,
];

codes! {
    /// A block has a settlement that this ledger did not sign.
    UNKNOWN_SETTLEMENT = "unknown_settlement";
    /// A block has places burned, and this ledger has not signed that.
    UNKNOWN_CANCELLATION = "unknown_cancellation";
    /// A final block paid what no hold stands for.
    PAYMENT_WITHOUT_HOLD = "payment_without_hold";
    /// A payment that a recovery could not explain.
    PAYMENT_NOT_RECOVERED = "payment_not_recovered";
    /// The chain gave a lane's nonce to a transaction that is not ours.
    NONCE_USED_ELSEWHERE = "nonce_used_elsewhere";
    /// A lane's nonce was used long ago, and no endpoint can tell by what.
    NONCE_USER_UNKNOWN = "nonce_user_unknown";
    /// Two final blocks contradict each other.
    CHAIN_HALTED = "chain_halted";
    /// Nobody answers for a chain, or not so that it could be followed.
    CHAIN_NOT_FOLLOWED = "chain_not_followed";
    /// Grants stand on more than the vault has a cap for.
    BUDGET_SHORT = "budget_short";
    /// No node takes what a lane signs.
    LANE_REJECTED = "lane_rejected";
    /// Nobody drives a lane that has batches in no block.
    LANE_ABANDONED = "lane_abandoned";
    /// Whatever a lane is to do fails.
    LANE_FAILING = "lane_failing";
    /// Nothing is signed.
    PAYOUTS_STOPPED = "payouts_stopped";
    /// A vault that should be paused is not, because its guardian cannot.
    VAULT_NOT_PAUSED = "vault_not_paused";
    /// The database is not the one that it was.
    QUARANTINE = "quarantine";
    /// Gas costs more than a lane may spend.
    FEE_ABOVE_CAP = "fee_above_cap";
    /// A lane cannot pay for its gas.
    OUT_OF_GAS_MONEY = "out_of_gas_money";
    /// A campaign's settlements would fail as a whole.
    SETTLEMENT_WOULD_REVERT = "settlement_would_revert";
    /// Places cannot be paid for a while.
    PLACES_SET_BACK = "places_set_back";
    /// With the refusal's name behind it: a node does not take a transaction, and never will.
    SEND = "send_";
    /// A stage stands still at an event that must not be passed over.
    STAGE_HALTED = "stage_halted";
    /// A stage has set events aside that it could not handle.
    DEAD_LETTERS = "dead_letters";
    /// A cap cannot be brought onto the chain.
    FUNDING_FAILED = "funding_failed";
    /// A campaign cannot be closed on the chain, or what is left of it not be withdrawn.
    CLOSING_FAILED = "closing_failed";
    /// A vault has a campaign that is not as this ledger knows it.
    FUNDING_MISMATCH = "funding_mismatch";
    /// A campaign's rule cannot be read.
    RULE_DOES_NOT_COMPILE = "rule_does_not_compile";
}
