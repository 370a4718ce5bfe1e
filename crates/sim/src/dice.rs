//! Chance, all of it from the seed, and a count of what it did.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fault {
    /// A node does not answer in time.
    NodeTimesOut,
    /// A node says that it does not have what it has.
    NodeForgets,
    /// A node tells of an older head for a while, or of one that is canonical no more.
    NodeLags,
    /// One node of several says what is not so.
    NodeLies,
    /// A transaction arrives, and the answer does not.
    SendAnswerLost,
    /// Neither the transaction nor the answer arrives.
    SendLost,
    /// A node takes a transaction and throws it away.
    SendSwallowed,
    /// The network forgets a waiting transaction.
    TxDropped,
    /// A waiting transaction is replaced by one that pays more.
    TxReplaced,
    /// Blocks are replaced by others.
    Reorganised,
    /// A reorganisation loses transactions for good.
    ReorganisedAway,
    /// Gas costs many times what it did.
    FeesSpike,
    /// The vault is paused for a while.
    VaultPaused,
    /// The token refuses everybody for a while.
    TokenPaused,
    /// The token refuses a recipient.
    RecipientRefused,
    /// A contract wallet takes its word back.
    WalletRefuses,
    /// A replica's clock jumps.
    ClockJumps,
    /// Everybody waits for hours.
    HoursPass,
    /// A replica dies at a fault point.
    Crash,
    /// A transaction is committed, and the answer does not arrive.
    CommitAnswerLost,
    /// The connection breaks before the commit.
    CommitLost,
    /// A client sends again what it sent before.
    Resent,
    /// A client sends other content under an id that it used.
    Conflicting,
    /// A campaign is paused for a while.
    CampaignPaused,
    /// A stage cannot handle an event.
    Poison,
    /// The watcher tells again that a settlement is final.
    Retold,
    /// The database is set back to an older moment.
    Restored,
    /// The chain takes back blocks that were final.
    TakenBack,
    /// The vault releases a campaign with grants under way.
    CampaignReleased,
    /// The vault's owner burns a place.
    OwnerBurned,
    /// The vault's owner raises a campaign's cap.
    CapRaised,
    /// Somebody who still has the database of before sends what is signed in it.
    Zombie,
    /// A task has to wait for another's locks.
    LockAwaited,
}

impl Fault {
    pub(crate) const ALL: [Self; 33] = [
        Self::NodeTimesOut,
        Self::NodeForgets,
        Self::NodeLags,
        Self::NodeLies,
        Self::SendAnswerLost,
        Self::SendLost,
        Self::SendSwallowed,
        Self::TxDropped,
        Self::TxReplaced,
        Self::Reorganised,
        Self::ReorganisedAway,
        Self::FeesSpike,
        Self::VaultPaused,
        Self::TokenPaused,
        Self::RecipientRefused,
        Self::WalletRefuses,
        Self::ClockJumps,
        Self::HoursPass,
        Self::Crash,
        Self::CommitAnswerLost,
        Self::CommitLost,
        Self::Resent,
        Self::Conflicting,
        Self::CampaignPaused,
        Self::Poison,
        Self::Retold,
        Self::Restored,
        Self::TakenBack,
        Self::CampaignReleased,
        Self::OwnerBurned,
        Self::CapRaised,
        Self::Zombie,
        Self::LockAwaited,
    ];
}

impl Fault {
    /// Those that any run of many seeds has to meet. That somebody waits for a lock is no fault.
    pub(crate) const EXPECTED: [Self; 32] = [
        Self::TxReplaced,
        Self::NodeTimesOut,
        Self::NodeForgets,
        Self::NodeLags,
        Self::NodeLies,
        Self::SendAnswerLost,
        Self::SendLost,
        Self::SendSwallowed,
        Self::TxDropped,
        Self::Reorganised,
        Self::ReorganisedAway,
        Self::FeesSpike,
        Self::VaultPaused,
        Self::TokenPaused,
        Self::RecipientRefused,
        Self::WalletRefuses,
        Self::ClockJumps,
        Self::HoursPass,
        Self::Crash,
        Self::CommitAnswerLost,
        Self::CommitLost,
        Self::Resent,
        Self::Conflicting,
        Self::CampaignPaused,
        Self::Poison,
        Self::Retold,
        Self::Restored,
        Self::TakenBack,
        Self::CampaignReleased,
        Self::OwnerBurned,
        Self::CapRaised,
        Self::Zombie,
    ];
}

/// The dice of a world.
#[derive(Debug)]
pub(crate) struct Dice {
    pub(crate) rng: ChaCha8Rng,
    /// Whether anything goes wrong at all.
    pub(crate) on: bool,
    /// How much of the usual goes wrong in this world: some are calm, some are not.
    pub(crate) temper: f64,
    struck: BTreeMap<Fault, u64>,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let temper = [0.3, 1.0, 1.0, 2.0][rng.random_range(0..4)];
        Self { rng, on: true, temper, struck: BTreeMap::new() }
    }

    /// Whether a fault strikes that usually does so with this chance.
    pub(crate) fn strikes(&mut self, fault: Fault, chance: f64) -> bool {
        let struck = self.on && self.rng.random_bool((chance * self.temper).min(1.0));
        if struck {
            self.count(fault);
        }
        struck
    }

    /// Counts a fault.
    pub(crate) fn count(&mut self, fault: Fault) {
        *self.struck.entry(fault).or_default() += 1;
    }

    /// How often each kind struck.
    pub(crate) fn struck(&self) -> &BTreeMap<Fault, u64> {
        &self.struck
    }
}
