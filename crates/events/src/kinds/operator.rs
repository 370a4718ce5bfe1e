//! What operators have to know.

use serde::{Deserialize, Serialize};

use crate::{Payload, Subject};

/// Something needs an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorAlertRaised {
    /// A stable code; the runbook has an entry for it.
    pub code: String,
    /// What it is about, such as `campaign:7` or `lane:1`.
    pub about: String,
    /// What was seen.
    pub detail: String,
}

impl Payload for OperatorAlertRaised {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("alert", format_args!("{}/{}", self.code, self.about))
    }

    fn key(&self) -> String {
        format!("{}/{}", self.code, self.about)
    }
}

/// An alert's cause is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorAlertCleared {
    /// The alert's code.
    pub code: String,
    /// What it was about.
    pub about: String,
}

impl Payload for OperatorAlertCleared {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("alert", format_args!("{}/{}", self.code, self.about))
    }

    fn key(&self) -> String {
        format!("{}/{}", self.code, self.about)
    }
}
