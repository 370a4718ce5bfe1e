//! How much a caller may ask for, and how much all of them together.
//!
//! ```text
//!   address ─► bucket of failures ─► token ─► caller's bucket ──► turn ──► principal ──► room ──► body ──► turn ──► route
//!                   │ 429                        │ 429   ▲         │ 503             │ 503              │ 503    │
//!                   ▼                            ▼       │         ▼                 ▼                  ▼        ▼
//!                                    lease of a portion ─┴─ rate_buckets, shared by all replicas       more, by the body
//! ```
//!
//! A bucket is a row with one number, the theoretical arrival time of the generic cell rate algorithm (ITU-T I.371). A
//! replica does not ask it for every request: it leases a portion, spends it in memory, and brings back with its next lease
//! what was left. What is leased is charged, so that all replicas together never admit more than the quota and what time has
//! added to it.

mod address;
mod body;
mod bucket;
mod charge;
mod class;
mod gate;
mod headers;
mod intake;
mod limiter;
mod metrics;
mod rate;
mod store;

pub(crate) use self::{
    address::{Address, client_ip},
    body::{expected_bytes, read_body},
    bucket::Bucket,
    charge::Charge,
    class::asked,
    gate::{GateSettings, Gates},
    headers::with_standing,
    limiter::Limiter,
};
pub use self::{
    class::{Class, class_of},
    intake::{Intake, follow_intake},
    limiter::sweep_buckets,
    metrics::LimitMetrics,
    rate::{Rate, Rates},
};
