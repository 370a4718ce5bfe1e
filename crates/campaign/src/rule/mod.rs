//! Rules.

mod check;
mod cost;
mod error;
mod fault;
mod input;
mod kind;
pub mod limits;
mod parse;
mod pattern;
mod position;
mod program;
mod run;
mod span;

use std::{fmt, sync::Arc};

pub use error::RuleError;
pub use fault::{FaultKind, RuleFault};
pub use input::{OutcomeFacts, PlayerFacts, RuleInput};
pub use kind::Kind;
pub use position::Position;

/// A checked rule. Cloning shares it.
#[derive(Clone)]
pub struct Rule(Arc<Compiled>);

struct Compiled {
    source: Box<str>,
    root: program::Node,
    cost: u32,
}

impl Rule {
    /// Parses and checks `source`.
    ///
    /// # Errors
    /// [`RuleError`] says where the source is wrong and what to write instead.
    pub fn compile(source: &str) -> Result<Self, RuleError> {
        let (tree, places) = parse::parse(source)?;
        let root = check::check(source, &tree, &places)?;
        let cost = cost::of(&root);
        if cost > limits::COST_MAX {
            return Err(RuleError::TooExpensive { cost });
        }
        Ok(Self(Arc::new(Compiled { source: source.into(), root, cost })))
    }

    /// Whether the outcome earns the reward.
    ///
    /// # Errors
    /// [`RuleFault`] if the rule has no answer for this outcome.
    pub fn eval(&self, input: &RuleInput<'_>) -> Result<bool, RuleFault> {
        run::run(&self.0.root, input)
    }

    /// The text that it was compiled from.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The most steps that one evaluation takes.
    pub fn cost(&self) -> u32 {
        self.0.cost
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("source", &self.source()).field("cost", &self.cost()).finish()
    }
}
