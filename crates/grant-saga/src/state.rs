//! A grant's state machine, as a pure function.
//!
//! ```text
//!   Requested ──► AwaitingWallet ──► Requested        any that was never queued ──► Failed ──► Compensated
//!       │   ╲───► Held ──► back                       Held or queued, with proof ──► Failed
//!       ▼
//!     Queued ──► Submitted ──► Confirmed ──► Completed      where the chain takes back what was final, a grant goes back
//!       ▲            │                                    to Submitted, or from Compensated to Queued
//!       └── revert ──┘
//! ```

use alloy::primitives::B256;
use chrono::{DateTime, Utc};
use laurel_events::{BatchId, VoidProof};

/// A place on the chain: given once, kept for life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The sequence number in the campaign.
    pub seq: u64,
    /// Recipient and amount.
    pub word: B256,
}

/// Where a grant is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantState {
    /// Its budget is held.
    Requested,
    /// Its player has no wallet on the chain.
    AwaitingWallet {
        /// Until when one can be linked.
        until: DateTime<Utc>,
    },
    /// Something else has to be settled first.
    Held {
        /// A stable code.
        reason: String,
        /// Its place, if it was given one before.
        seat: Option<Seat>,
    },
    /// It has its place and waits for a batch.
    Queued(Seat),
    /// It is in a signed transaction.
    Submitted {
        /// Its place.
        seat: Seat,
        /// The batch.
        batch: BatchId,
    },
    /// A final block paid it.
    Confirmed {
        /// Its place.
        seat: Seat,
        /// The batch.
        batch: BatchId,
    },
    /// The books have it too.
    Completed {
        /// The batch.
        batch: BatchId,
    },
    /// It will never be paid; its hold is about to be voided.
    Failed {
        /// A stable code.
        reason: String,
    },
    /// Its hold was voided.
    Compensated {
        /// Why it failed.
        reason: String,
    },
}

/// What moves a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SagaEvent {
    /// TokenGrantAwaitingWallet
    AwaitingWallet {
        /// Until when.
        until: DateTime<Utc>,
    },
    /// WalletLinked
    WalletLinked,
    /// TokenGrantHeld
    Held {
        /// A stable code.
        reason: String,
    },
    /// TokenGrantStarted
    Started(Seat),
    /// BlockchainTxSubmitted
    Submitted(BatchId),
    /// BlockchainTxReverted: final, so the same place goes into another batch.
    Reverted(BatchId),
    /// BlockchainTxConfirmed with the grant's bit set by its own word.
    Paid(BatchId),
    /// BlockchainTxConfirmed without the grant's bit.
    Refused(BatchId),
    /// BudgetPosted; follows from a final payment, so it tells of that as well.
    Posted(BatchId),
    /// TokenGrantFailed
    Failed {
        /// A stable code.
        reason: String,
        /// Why the hold may be voided.
        proof: VoidProof,
    },
    /// BudgetReleased
    Released,
    /// BlockchainTxUndone: the chain took back a final block, so the grant's batch is under way again.
    Undone {
        /// The batch.
        batch: BatchId,
        /// The grant's place.
        seat: Seat,
    },
    /// BudgetReheld: the chain took back the proof that the grant is never paid.
    Reheld(Seat),
}

/// What an event makes of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The next state.
    Moved(GrantState),
    /// The event lost a race or came again; the state stays.
    Ignored,
}

/// An event that cannot happen in a state: something is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen to a grant that is {state:?}")]
pub struct IllegalTransition {
    /// The state.
    pub state: Box<GrantState>,
    /// The event.
    pub event: Box<SagaEvent>,
}

impl GrantState {
    /// Its name at the REST interface.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::AwaitingWallet { .. } => "awaiting_wallet",
            Self::Held { .. } => "held",
            Self::Queued(_) => "queued",
            Self::Submitted { .. } => "submitted",
            Self::Confirmed { .. } => "confirmed",
            Self::Completed { .. } => "completed",
            Self::Failed { .. } => "failed",
            Self::Compensated { .. } => "compensated",
        }
    }

    /// What `event` makes of this state.
    ///
    /// # Errors
    /// [`IllegalTransition`] if it cannot happen in this state.
    pub fn apply(self, event: SagaEvent) -> Result<Applied, IllegalTransition> {
        use Applied::{Ignored, Moved};
        use SagaEvent as E;
        let next = match (self, event) {
            (
                Self::Completed { batch } | Self::Confirmed { batch, .. },
                E::Undone { batch: undone, seat },
            ) if batch == undone => Self::Submitted { seat, batch },
            (Self::Queued(_), E::Undone { batch, seat }) => Self::Submitted { seat, batch },
            // It is in another batch by now, or nothing was to come of that one.
            (_, E::Undone { .. }) => return Ok(Ignored),
            (Self::Failed { .. } | Self::Compensated { .. }, E::Reheld(seat)) => Self::Queued(seat),
            // Terminal states stay, whatever comes late, as long as the chain stays.
            (Self::Completed { .. } | Self::Compensated { .. }, _) => return Ok(Ignored),
            (Self::Failed { reason }, E::Released) => Self::Compensated { reason },
            (Self::Failed { .. }, E::WalletLinked | E::AwaitingWallet { .. } | E::Failed { .. }) => {
                return Ok(Ignored);
            }

            (Self::Requested, E::AwaitingWallet { until }) => Self::AwaitingWallet { until },
            (Self::AwaitingWallet { .. }, E::WalletLinked) => Self::Requested,
            (Self::AwaitingWallet { .. }, E::AwaitingWallet { .. }) => return Ok(Ignored),
            (_, E::WalletLinked) => return Ok(Ignored),

            (Self::Requested, E::Held { reason }) => Self::Held { reason, seat: None },
            (Self::Queued(seat), E::Held { reason }) => Self::Held { reason, seat: Some(seat) },
            // A wallet that was asked again may give another reason.
            (Self::Held { reason: before, seat: None }, E::Held { reason }) if before != reason => {
                Self::Held { reason, seat: None }
            }
            (Self::Held { .. }, E::Held { .. }) => return Ok(Ignored),

            (Self::Requested | Self::Held { seat: None, .. }, E::Started(seat)) => Self::Queued(seat),
            (Self::Held { seat: Some(given), .. } | Self::Queued(given), E::Started(seat))
                if given == seat =>
            {
                Self::Queued(given)
            }

            (Self::Queued(seat) | Self::Held { seat: Some(seat), .. }, E::Submitted(batch)) => {
                Self::Submitted { seat, batch }
            }
            (Self::Submitted { seat, batch }, E::Reverted(reverted)) if batch == reverted => {
                Self::Queued(seat)
            }
            (Self::Submitted { seat, batch }, E::Refused(refused)) if batch == refused => {
                Self::Held { reason: "refused".to_owned(), seat: Some(seat) }
            }
            (Self::Submitted { seat, batch }, E::Paid(paid)) if batch == paid => {
                Self::Confirmed { seat, batch }
            }
            (Self::Confirmed { batch, .. }, E::Paid(paid)) if batch == paid => return Ok(Ignored),
            (Self::Submitted { batch, .. } | Self::Confirmed { batch, .. }, E::Posted(posted))
                if batch == posted =>
            {
                Self::Completed { batch }
            }

            // A hold goes only with a proof that fits: without a place nothing signed names the grant.
            (
                Self::Requested | Self::AwaitingWallet { .. } | Self::Held { seat: None, .. },
                E::Failed { reason, proof: VoidProof::NeverQueued },
            ) => Self::Failed { reason },
            (
                Self::Queued(seat) | Self::Held { seat: Some(seat), .. } | Self::Submitted { seat, .. },
                E::Failed {
                    reason,
                    proof: VoidProof::Cancelled { seq, .. } | VoidProof::Released { seq, .. },
                },
            ) if seat.seq == seq => Self::Failed { reason },

            (state, event) => {
                return Err(IllegalTransition { state: Box::new(state), event: Box::new(event) });
            }
        };
        Ok(Moved(next))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn seat() -> Seat {
        Seat { seq: 4, word: B256::repeat_byte(1) }
    }

    fn states() -> Vec<(&'static str, GrantState)> {
        let batch = uuid::Uuid::nil().into();
        let until = DateTime::UNIX_EPOCH;
        vec![
            ("requested", GrantState::Requested),
            ("awaiting_wallet", GrantState::AwaitingWallet { until }),
            ("held", GrantState::Held { reason: "r".into(), seat: None }),
            ("held, with place", GrantState::Held { reason: "refused".into(), seat: Some(seat()) }),
            ("queued", GrantState::Queued(seat())),
            ("submitted", GrantState::Submitted { seat: seat(), batch }),
            ("confirmed", GrantState::Confirmed { seat: seat(), batch }),
            ("completed", GrantState::Completed { batch }),
            ("failed", GrantState::Failed { reason: "r".into() }),
            ("compensated", GrantState::Compensated { reason: "r".into() }),
        ]
    }

    fn events() -> Vec<(&'static str, SagaEvent)> {
        let (batch, other) = (uuid::Uuid::nil().into(), uuid::Uuid::max().into());
        let failed = |proof| SagaEvent::Failed { reason: "r".into(), proof };
        vec![
            ("awaiting wallet", SagaEvent::AwaitingWallet { until: DateTime::UNIX_EPOCH }),
            ("wallet linked", SagaEvent::WalletLinked),
            ("held", SagaEvent::Held { reason: "r".into() }),
            ("started", SagaEvent::Started(seat())),
            ("started, other place", SagaEvent::Started(Seat { seq: 5, word: B256::ZERO })),
            ("submitted", SagaEvent::Submitted(batch)),
            ("reverted", SagaEvent::Reverted(batch)),
            ("reverted, other batch", SagaEvent::Reverted(other)),
            ("paid", SagaEvent::Paid(batch)),
            ("paid, other batch", SagaEvent::Paid(other)),
            ("refused", SagaEvent::Refused(batch)),
            ("posted", SagaEvent::Posted(batch)),
            ("failed, never queued", failed(VoidProof::NeverQueued)),
            ("failed, cancelled", failed(VoidProof::Cancelled { seq: 4, tx: B256::ZERO })),
            ("failed, other cancelled", failed(VoidProof::Cancelled { seq: 5, tx: B256::ZERO })),
            ("released", SagaEvent::Released),
            ("undone", SagaEvent::Undone { batch, seat: seat() }),
            ("undone, other batch", SagaEvent::Undone { batch: other, seat: seat() }),
            ("held again", SagaEvent::Reheld(seat())),
        ]
    }

    /// Every state with every event: a change of any cell shows. A dot is an event that is ignored, a cross one that
    /// cannot happen.
    #[test]
    fn the_matrix() {
        let mut matrix = String::new();
        for (about, event) in events() {
            write!(matrix, "{about:<24}").unwrap();
            for (_, state) in states() {
                let cell = match state.apply(event.clone()) {
                    Ok(Applied::Moved(next)) => next.as_str(),
                    Ok(Applied::Ignored) => ".",
                    Err(_) => "x",
                };
                write!(matrix, "{cell:<17}").unwrap();
            }
            matrix.push('\n');
        }
        let heads: String = states().iter().map(|(name, _)| format!("{name:<17}")).collect();
        let lines: Vec<&str> = matrix.lines().map(str::trim_end).collect();
        let grid = format!("{:<24}{}\n{}", "", heads.trim_end(), lines.join("\n"));
        insta::assert_snapshot!(grid);
    }

    #[test]
    fn a_hold_with_a_place_needs_a_proof_from_the_chain() {
        let failed = |proof| SagaEvent::Failed { reason: "r".into(), proof };
        for state in [GrantState::Queued(seat()), GrantState::Held { reason: "r".into(), seat: Some(seat()) }]
        {
            assert!(state.clone().apply(failed(VoidProof::NeverQueued)).is_err());
            assert!(state.clone().apply(failed(VoidProof::Cancelled { seq: 5, tx: B256::ZERO })).is_err());
            assert!(state.apply(failed(VoidProof::Released { seq: 4, tx: B256::ZERO })).is_ok());
        }
    }
}
