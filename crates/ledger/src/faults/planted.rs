//! Bugs that a simulation plants, to see that it would see them.
//!
//! Each is one place in the program that asks [`planted!`](crate::planted). The macro is `false`, and this module is not
//! there, without the feature `faults`; with it a bug is planted on one thread, for as long as its guard is kept.

use std::cell::Cell;

use serde::{Deserialize, Serialize};

macro_rules! bugs {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Bug { $($(#[doc = $doc])+ $name,)+ }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// What goes wrong.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

bugs! {
    /// A settlement is sent before it is committed.
    BroadcastBeforeCommit,
    /// The last sequence number of a campaign is given again.
    SeqGivenAgain,
    /// A settlement that was outbid because it took too long has its grants' holds voided.
    VoidOnTimeout,
    /// A hold is voided when its cancel is in a block, which need not be final.
    VoidWithoutFinalCancel,
    /// A stage's cursor is read, and not locked.
    CursorWithoutLock,
    /// What a stage did is committed before its cursor moves and its events are written.
    CursorOutsideTransaction,
    /// Every grant of a settlement is completed, whatever its bitmap says.
    BitmapIgnored,
    /// A grant is completed by its neighbour's bit.
    WrongBit,
    /// The receipts of a block that was replaced are kept, and told when its number is final.
    ReceiptWithoutBlockHash,
    /// The block after the last final one is taken for final.
    ConfirmedEarly,
    /// A transaction that outbids another pays another amount.
    BumpChangesPayload,
    /// Outcomes are known by the events that told them, so that one under another event's id is new.
    ReplayUnderAnotherId,
    /// A posting that is there moves money again.
    HoldPostedTwice,
    /// Caps are checked by balances that are not locked.
    CapOutsideTransaction,
    /// Whoever takes over a lane goes on with the nonce that the chain has, not with the ledger's.
    NonceReusedAfterCrash,
    /// An event that is redriven is handled, and only then marked as handled.
    RedriveSkipsKey,
    /// A payment is taken for that of the next grant, whatever its word says.
    BitWithoutWord,
    /// Lanes go on signing in quarantine.
    QuarantineSkipped,
    /// A voided grant stays in its player's counters.
    CounterNotGivenBack,
    /// A final settlement that the books cannot handle becomes a dead letter, and the books go on.
    FinalFactDeadLettered,
    /// A lane is halted by whoever had it, also when it has another holder by now.
    LaneFenceDropped,
    /// A transaction that outbids another is sent, and not stored.
    AttemptNotKept,
    /// The grants of a settlement that was reorganised away are queued again while its transaction waits.
    ReorgTakenForRevert,
    /// A grant waits for a wallet without a deadline.
    DeadlineForgotten,
    /// The cap of a day counts by when outcomes occurred, not by when they were recorded.
    DayByOccurrence,
    /// What the chain took back stays posted.
    UndoneStaysPosted,
    /// A chain that took back what was final is followed on before every stage has read that.
    RebaseEndsUnread,
    /// A cap that the chain took back stays in the books.
    CapStaysBooked,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug on this thread until the guard is dropped.
#[must_use]
pub fn plant(bug: Bug) -> Planted {
    PLANTED.set(Some(bug));
    Planted(())
}

/// Digs a bug out again.
#[derive(Debug)]
pub struct Planted(());

impl Drop for Planted {
    fn drop(&mut self) {
        PLANTED.set(None);
    }
}

/// Whether a bug is planted on this thread.
pub fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bug_is_there_while_its_guard_is() {
        assert!(!crate::planted!(WrongBit));
        let planted = plant(Bug::WrongBit);
        assert!(crate::planted!(WrongBit) && !crate::planted!(BitmapIgnored));
        assert!(std::thread::spawn(|| !crate::planted!(WrongBit)).join().unwrap());
        drop(planted);
        assert!(!crate::planted!(WrongBit));
    }
}
