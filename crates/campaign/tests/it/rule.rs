//! The rule language.

mod accepted;
mod conformance;
mod explained;
mod faults;
mod grammar;
mod hostile;
mod refused;
