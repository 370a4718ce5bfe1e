//! The stages, driven round by round.

mod budget;
mod caps;
mod closing;
mod decisions;
mod funding;
mod postings;
mod rewards;
mod schedule;
mod undoing;
mod versions;
mod voids;
mod walk;
