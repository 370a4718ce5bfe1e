//! A dead letter as the interface shows it.

use chrono::{DateTime, Utc};
use laurel_bus::{Letter, LetterState};
use serde::Serialize;
use utoipa::ToSchema;

/// The states of a letter.
pub(crate) const STATES: [&str; 5] = ["retrying", "dead", "blocked", "redriven", "dropped"];

/// The state of that name.
pub(crate) fn state_of(name: &str) -> Option<LetterState> {
    Some(match name {
        "retrying" => LetterState::Retrying,
        "dead" => LetterState::Dead,
        "blocked" => LetterState::Blocked,
        "redriven" => LetterState::Redriven,
        "dropped" => LetterState::Dropped,
        _ => return None,
    })
}

const fn name_of(state: LetterState) -> &'static str {
    match state {
        LetterState::Retrying => "retrying",
        LetterState::Dead => "dead",
        LetterState::Blocked => "blocked",
        LetterState::Redriven => "redriven",
        LetterState::Dropped => "dropped",
    }
}

/// An event that a stage could not handle.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LetterOut {
    /// Its number.
    pub(crate) id: i64,
    /// retrying, dead, blocked (behind an earlier letter of its subject), redriven or dropped.
    state: &'static str,
    /// The stage that could not handle it.
    stage: String,
    /// The event's place in the journal.
    event_id: String,
    /// The event's kind.
    kind: String,
    /// What the event is about; later events of it wait.
    subject: String,
    /// How often it was tried.
    attempts: i32,
    /// The last error and its sources.
    error: Option<String>,
    /// When it is tried again.
    due_at: Option<DateTime<Utc>>,
    /// When it became a letter.
    created_at: DateTime<Utc>,
    /// The event itself; only where one letter is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<serde_json::Value>,
}

impl From<Letter> for LetterOut {
    fn from(letter: Letter) -> Self {
        Self {
            id: letter.id,
            state: name_of(letter.state),
            stage: letter.stage,
            event_id: letter.event.to_string(),
            kind: letter.kind,
            subject: letter.subject,
            attempts: letter.attempts,
            error: letter.error,
            due_at: letter.due_at,
            created_at: letter.created_at,
            event: None,
        }
    }
}
