//! The stage runner: every event reaches every stage that wants it, in order per subject, with exactly one effect.
//!
//! ```text
//!            ┌───────────────── one transaction ─────────────────┐
//!  journal ─►│ claim cursor ─► Stage::handle ─► move ─► append   │─► commit ─► wake
//!            └──────────────────────┬────────────────────────────┘
//!                                   │ poison: again in halves, down to the one event
//!                                   ▼
//!                 dead_letters: retrying ─► … ─► dead     the subject is parked, the partition goes on
//! ```
//!
//! A stage sees batches of events and a connection; it has no timer, spawns nothing and reads no clock but the one it
//! is given. Any number of replicas may run the same stage: whoever locks a partition's cursor handles it, and a replica
//! that should be dead finds the cursor moved and changes nothing.

mod deliver;
mod halt;
mod letters;
mod metrics;
mod redeliver;
mod runner;
mod stage;
mod timers;
mod wakes;

pub use laurel_events::Backoff;

pub use self::{
    letters::{
        Letter, LetterState, RedriveError, drop_letter, find_letter, list_letters, redrive_letter,
        redrive_letters,
    },
    metrics::BusMetrics,
    runner::{Runner, RunnerSettings},
    stage::{OnPoison, Stage, StageError},
    timers::{cancel_timers, fire_timers, schedule_timers},
    wakes::{Wakes, announce_wakes, hear_wakes},
};
