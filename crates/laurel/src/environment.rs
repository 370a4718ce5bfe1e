//! Environment variables, read in one place.

use std::{collections::BTreeMap, fmt};

/// The variables that keys and settings may name.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    /// Put in place of, or beside, the process's own.
    overrides: BTreeMap<String, String>,
}

impl Environment {
    /// The process's environment.
    pub(crate) fn process() -> Self {
        Self::default()
    }

    /// The process's environment with one more variable: for parts that were made a moment ago.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.overrides.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A variable's value.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.overrides.get(name).cloned().or_else(|| std::env::var(name).ok())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment(…)")
    }
}
