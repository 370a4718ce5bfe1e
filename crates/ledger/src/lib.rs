//! Everything that must commit together.
//!
//! ```text
//!             one transaction
//!   ┌──────────────────────────────────────┐
//!   │ cursor    where the stage stands     │   the fence: claimed first, moved last
//!   │ accounts  campaign balances          │   ┐
//!   │ counters  caps per player            │   │ always locked in this order
//!   │ grants    the holds                  │   │
//!   │ journal   the events, gapless        │   ┘
//!   └──────────────────────────────────────┘
//! ```
//!
//! A function here takes `&mut PgConnection`; whoever opened the transaction commits it. Every statement is set-based:
//! a batch of n is one statement.

mod accounts;
mod alerts;
mod answer;
mod chains;
mod commit;
mod counters;
mod cursor;
mod declines;
mod error;
#[cfg(feature = "faults")]
pub mod faults;
mod fundings;
mod grants;
mod idempotency;
mod journal;
mod leases;
mod numeric;
mod organisations;
mod outcomes;
mod postings;
mod quarantine;
mod queues;
mod ranges;
mod reholds;
mod returns;
mod segments;
mod staff_log;
mod stops;
mod suspense;
mod transfers;
mod voids;

pub use self::{
    accounts::{Balances, Hold, Written, find_balances, hold, lock_accounts, open_account},
    alerts::{
        Alert, alerts_about, clear_alert, clear_alerts, has_alert, has_alert_of, is_acknowledged,
        list_alerts, lock_alert, raise_alert,
    },
    answer::answered,
    chains::{PinError, Vault, VaultIdentity, is_vault_or_lane, list_vaults, pin_vault, reserved_addresses},
    commit::commit,
    counters::{Counter, CounterKey, Period, load_counters, save_counters},
    cursor::{
        Claim, JournalHeads, Lag, claim_cursor, cursor_position, halted_partition, is_handled, journal_heads,
        lock_cursors, move_cursor, partitions_behind, stage_lag, stage_work,
    },
    declines::{Decline, insert_declines, list_declines},
    error::{LedgerError, is_infrastructure},
    fundings::{Funding, fund, unfund},
    grants::{GrantRow, find_grant, grants_of_outcome, players_of_grants},
    idempotency::{
        ANSWER_LIFETIME, IdempotencyScope, StoredAnswer, find_answer, forget_answers, lock_idempotency_key,
        store_answer,
    },
    journal::{Context, append, append_each, read, read_chunk, read_chunks, read_latest, read_one},
    leases::acquire_lease,
    numeric::{amount_from_sql, amount_to_sql},
    organisations::{add_organisation, find_organisation, organisation_name, orgs_of_subjects},
    outcomes::{Place, RecordedOutcome, find_outcome, find_outcomes, insert_outcomes},
    postings::{Posting, post, unpost},
    quarantine::{
        Quarantine, Recognised, begin_quarantine, end_quarantine, in_quarantine, lock_quarantine,
        quarantine_another, recognise,
    },
    queues::{forget_release, halt_queues, resume_queue},
    ranges::{ahead_positions, ensure_ranges},
    reholds::{begin_rehold, list_reholds, move_rehold, next_rehold},
    returns::{Return, give_back, note_release, take_back},
    segments::{Place as ChainPlace, find_given_places, find_places, find_segments},
    staff_log::{Deed, StaffEntry, StaffFilter, StaffRecord, list_staff_log, record_staff},
    stops::{Stop, Stopped, is_chain_stopped, list_stops, resume_payouts, stop_for_unknown, stop_payouts},
    suspense::{forget_unpaid, note_unpaid, record_suspense, undo_suspense},
    transfers::{
        NoTransferCursor, TRANSFER_KINDS, Transfer, TransferCursor, TransferFilter, TransferPage,
        list_transfers,
    },
    voids::{unvoid, void},
};

/// Whether a simulation has planted this bug. Without the feature `faults` it is `false`, and the compiler leaves out what
/// depends on it.
#[cfg(feature = "faults")]
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        $crate::faults::is_planted($crate::faults::Bug::$bug)
    };
}
#[cfg(not(feature = "faults"))]
#[macro_export]
#[doc(hidden)]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

/// Whether bugs can be planted in this build.
pub const HAS_FAULTS: bool = cfg!(feature = "faults");

// Known when the program is built, so that no release asks.
#[cfg(not(feature = "faults"))]
const _: () = assert!(!planted!(BroadcastBeforeCommit));

/// The schema, as reversible steps.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");
