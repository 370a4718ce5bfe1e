//! What an audit finds: a stable code, what it is about, and a sentence that tells both sides.

use std::collections::{BTreeMap, BTreeSet};

use laurel_events::CampaignId;
use serde::{Serialize, Serializer};

/// How many findings of one code are told in full; the others are counted. A ledger that differs everywhere needs no
/// list, and a report has to stay small enough to be read, stored and sent.
pub const TOLD_MAX: usize = 200;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Money was paid that should not have been, could be paid twice, or what would prove it cannot be relied on.
    Critical,
    /// The ledger does not tell what happened.
    Error,
    /// Something is late or was not looked at.
    Warning,
}

impl Severity {
    /// All of them, the worst first.
    pub const ALL: [Self; 3] = [Self::Critical, Self::Error, Self::Warning];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $severity:ident;)+) => {
        /// What kind of difference it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its name, which stays: alerts, metrics and the runbook go by it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// How bad it is.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity),+ }
            }
        }
    };
}

codes! {
    /// The node or the pinned chain is another one.
    ChainDiffers = "chain_differs", Critical;
    /// The ledger's own final block is not in the chain.
    FinalBlockDiffers = "final_block_differs", Critical;
    /// A vault that is not the configured one, or a campaign that stands on such a vault.
    ForeignVault = "foreign_vault", Critical;
    /// A vault runs other code than was pinned.
    VaultCodeDiffers = "vault_code_differs", Critical;
    /// A settlement that this ledger did not sign.
    SettlementFromOutside = "settlement_from_outside", Critical;
    /// A settlement from outside that the books do not have in suspense, or not as it was.
    SuspenseDiffers = "suspense_differs", Critical;
    /// The chain was given another word for a place than the ledger has.
    WordDiffers = "word_differs", Critical;
    /// Two grants have one place, or a place is named twice.
    SeqGivenTwice = "seq_given_twice", Critical;
    /// One grant has two places.
    GrantQueuedTwice = "grant_queued_twice", Critical;
    /// A campaign has granted one outcome twice.
    OutcomeGrantedTwice = "outcome_granted_twice", Critical;
    /// An outcome that was accepted has no row: sent again, it would be granted again.
    OutcomeMissing = "outcome_missing", Critical;
    /// A player's wallet is not the one that the player proved last: what has no place yet would be paid there.
    WalletDiffers = "wallet_differs", Critical;
    /// A grant that the chain paid counts as failed or as waiting.
    PaidGrantFailed = "paid_grant_failed", Critical;
    /// A grant counts as completed and the chain did not pay it.
    CompletedNotPaid = "completed_not_paid", Critical;
    /// A hold was voided without proof.
    VoidUnproven = "void_unproven", Critical;
    /// A batch counts as confirmed and the chain does not have it.
    BatchNotOnChain = "batch_not_on_chain", Critical;
    /// A posting that no settlement explains.
    PostingUnfounded = "posting_unfounded", Critical;
    /// A funding that no cap in the vault explains.
    FundingUnfounded = "funding_unfounded", Critical;
    /// A chunk of the journal does not hash to its digest.
    JournalDigestDiffers = "journal_digest_differs", Critical;
    /// A chunk of the journal is not there.
    JournalGap = "journal_gap", Critical;
    /// A stage stands beyond the journal's end: it will pass over what is appended next.
    CursorBeyondJournal = "cursor_beyond_journal", Critical;
    /// A batch that was signed has no row.
    BatchMissing = "batch_missing", Error;
    /// A batch is in another state or block than the chain says.
    BatchDiffers = "batch_differs", Error;
    /// A transaction that was signed has no row.
    AttemptMissing = "attempt_missing", Error;
    /// A stored transaction is not what its row or its batch says.
    AttemptDiffers = "attempt_differs", Error;
    /// A batch's segment is not what was settled or signed.
    SegmentDiffers = "segment_differs", Error;
    /// What somebody who works here did, or read of players, has no record.
    RecordMissing = "record_missing", Error;
    /// What a settlement paid was not posted.
    PostingMissing = "posting_missing", Error;
    /// A posting says another amount or number than the settlement.
    PostingDiffers = "posting_differs", Error;
    /// A cap in the vault was not booked.
    FundingMissing = "funding_missing", Error;
    /// A funding says another amount than the vault.
    FundingDiffers = "funding_differs", Error;
    /// A hold has no row.
    GrantMissing = "grant_missing", Error;
    /// Two holds have one number.
    GrantNumberTwice = "grant_number_twice", Error;
    /// A hold is over another amount than the grant's word.
    GrantAmountDiffers = "grant_amount_differs", Error;
    /// A compensated grant has no void.
    VoidMissing = "void_missing", Error;
    /// A void is over another amount than the hold.
    VoidDiffers = "void_differs", Error;
    /// What was left of a released campaign was not given back, though nothing of it is held any more.
    ReturnMissing = "return_missing", Error;
    /// Something else was given back of a campaign than the vault released.
    ReturnDiffers = "return_differs", Error;
    /// A balance is not what its transfers sum up to.
    BalanceDiffers = "balance_differs", Error;
    /// A player's counter is not what the grants sum up to.
    CounterDiffers = "counter_differs", Error;
    /// Places that were given are in no run.
    SeqMissing = "seq_missing", Error;
    /// A hold that has no place, waits for no wallet, and was not given back.
    GrantStranded = "grant_stranded", Error;
    /// A place that is neither paid nor on its way, and that nobody will send.
    PlaceStranded = "place_stranded", Error;
    /// A lane's nonces have a gap.
    LaneNonceGap = "lane_nonce_gap", Error;
    /// The chain has counted another nonce of a lane than the ledger.
    LaneNonceDiffers = "lane_nonce_differs", Error;
    /// Nothing of a chain could be compared.
    ChainNotCompared = "chain_not_compared", Error;
    /// The chain paid a grant that a restored database has lost; the payment is in suspense and waits for its outcome.
    PaymentOrphaned = "payment_orphaned", Warning;
    /// A settlement that this ledger did not sign, and that operators have acknowledged: what it paid stays in suspense.
    SettlementAcknowledged = "settlement_acknowledged", Warning;
    /// Grants stand on more than the vault has a cap for: the chain took back what was final.
    BudgetShort = "budget_short", Warning;
    /// The chain paid, the books have it, and the grants do not know it.
    SegmentNotPosted = "segment_not_posted", Warning;
    /// The node did not say how many transactions a lane has sent.
    LaneNotCompared = "lane_not_compared", Warning;
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A difference between what the ledger says and what the chain or the rest of the ledger says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind it is.
    pub code: Code,
    /// What it is about: `campaign:7`, `grant:7-12`, `batch:…`, `lane:1`, `chain:31337` …
    pub about: String,
    /// Both sides, with block and transaction where the chain is one.
    pub detail: String,
    /// Whose it is; nothing where it concerns the whole system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<CampaignId>,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    told: Vec<Finding>,
    named: BTreeSet<(Code, String)>,
    counts: BTreeMap<Code, u64>,
}

impl Findings {
    /// Notes a finding; what was found before about the same thing is the same.
    pub(crate) fn add(&mut self, code: Code, about: String, campaign: Option<CampaignId>, detail: String) {
        let count = self.counts.entry(code).or_default();
        if *count < TOLD_MAX as u64 {
            if !self.named.insert((code, about.clone())) {
                return;
            }
            self.told.push(Finding { severity: code.severity(), code, about, detail, campaign });
        }
        *count += 1;
    }

    /// Whether that was found about that; no more than what is told is known.
    pub(crate) fn has(&self, code: Code, about: &str) -> bool {
        self.named.contains(&(code, about.to_owned()))
    }

    /// How many there are of each severity.
    pub(crate) fn counts(&self) -> BTreeMap<Severity, u64> {
        let mut counts: BTreeMap<Severity, u64> = Severity::ALL.map(|severity| (severity, 0)).into();
        for (code, count) in &self.counts {
            *counts.entry(code.severity()).or_default() += count;
        }
        counts
    }

    /// The findings, the worst first; a last one of a code says how many more there are.
    pub(crate) fn into_told(mut self) -> Vec<Finding> {
        for (code, count) in &self.counts {
            let more = count.saturating_sub(TOLD_MAX as u64);
            if more > 0 {
                let detail = format!("there are {more} more of these");
                let about = "more".to_owned();
                self.told.push(Finding {
                    severity: code.severity(),
                    code: *code,
                    about,
                    detail,
                    campaign: None,
                });
            }
        }
        self.told.sort_by_key(|finding| (finding.severity, finding.code));
        self.told
    }
}
