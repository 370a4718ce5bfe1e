//! The rule language.

mod accepted;
mod conformance;
mod faults;
mod grammar;
mod hostile;
mod refused;
