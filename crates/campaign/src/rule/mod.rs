//! Which outcomes a campaign rewards: a yes or no in CEL, the [Common Expression Language](https://cel.dev).
//!
//! ```text
//! outcome.game == 'quiz' && outcome.score >= 1000
//! has(outcome.rank) && outcome.rank <= 3 && player.grants == 0
//! outcome.attributes.tier in ['gold', 'silver'] || outcome.score > 5000
//! outcome.score >= {'easy': 100, 'hard': 40}[outcome.attributes.mode]
//! player.amount < amount('5000000000000000000')
//! outcome.occurred_at.getDayOfWeek() in [0, 6]
//! outcome.attributes.exists(name, name.startsWith('bonus_'))
//! ```
//!
//! # What a rule reads
//!
//! | name | type | meaning |
//! |---|---|---|
//! | `outcome.score` | int | points |
//! | `outcome.rank` | int | the place, 1 being the first; not every outcome has one: ask `has(outcome.rank)` |
//! | `outcome.game` | string | the game |
//! | `outcome.attributes` | string, bool or int by name | what else the game says: `outcome.attributes.tier` or `outcome.attributes['tier']`; ask `has(outcome.attributes.tier)` or `'tier' in outcome.attributes` |
//! | `outcome.occurred_at` | timestamp | when the game ended |
//! | `player.grants` | int | how many grants the player has from this campaign |
//! | `player.amount` | amount | their sum in base units, exactly |
//!
//! # What a rule says
//!
//! - `&&`, `||`, `!` and `condition ? a : b`.
//! - `==`, `!=` for everything but lists; `<`, `<=`, `>`, `>=` for everything but lists and bools. Both sides are of one type.
//! - `+`, `-`, `*`, `/`, `%` for ints of 64 bits; division drops the fraction. Timestamps and durations add and subtract.
//! - Lists, `[1, 2, 3]`, all items of one type: `x in list`, `list[0]`, `size(list)`.
//! - Maps of constants, `{'easy': 100, 'hard': 40}`: `x in map`, `map[x]`.
//! - `list.all(x, …)`, `list.exists(x, …)`, `list.exists_one(x, …)`, `list.filter(x, …)`, `list.map(x, …)`, and the same over
//!   `outcome.attributes`, where `x` is each name; never one inside another.
//! - `contains`, `startsWith`, `endsWith`, `size` for strings, and `text.matches('pattern')` with a
//!   [pattern](https://docs.rs/regex/latest/regex/#syntax) that is written out. A word boundary is `(?-u:\b)`.
//! - `timestamp('2026-01-31T00:00:00Z')`, `duration('36h')`, `duration('1h30m')`, `amount('5000')`, written out.
//! - `getFullYear`, `getMonth` (January is 0), `getDate` (from 1), `getDayOfMonth` (from 0), `getDayOfWeek` (Sunday is 0),
//!   `getDayOfYear` (from 0), `getHours`, `getMinutes`, `getSeconds`, `getMilliseconds` of a timestamp, all in UTC.
//!
//! There are no fractions, so that money and points stay exact: write `outcome.score * 2 >= 7` for `outcome.score >= 3.5`.
//! Amounts are only compared, with each other.
//!
//! # When a rule has no answer
//!
//! A rule that reads a rank or an attribute which the outcome lacks, compares an attribute with another type, leaves the range of
//! an int or divides by zero has no answer, and the outcome is declined with the code of a [`RuleFault`]. As CEL has it,
//! `false && x` is false and `true || x` is true in either order even where `x` has no answer, and `all` and `exists` likewise;
//! so a rank that is missing does no harm in `outcome.score > 5000 || outcome.rank == 1` when the score suffices.
//! Where CEL calls values of different types unequal, a rule has no answer: `outcome.attributes.level != 'x'` grants nothing
//! to an outcome whose level is an int.
//!
//! The answer depends on the outcome and the player alone, never on a clock or on chance.
//!
//! # Limits
//!
//! [`limits`] has them all: 4,096 bytes, 512 operators, dots and brackets, 24 levels of brackets, 256 items in a list or map,
//! patterns of 128 bytes, and 10,000 steps in the worst case, which [`Rule::compile`] computes before a rule is saved.
//!
//! # Example
//!
//! ```
//! use laurel_campaign::rule::{OutcomeFacts, PlayerFacts, Rule, RuleInput};
//!
//! let rule = Rule::compile("outcome.score >= 1000 && player.grants < 3")?;
//! let input = RuleInput {
//!     outcome: OutcomeFacts {
//!         score: 1_200,
//!         rank: None,
//!         game: "quiz",
//!         attributes: &Default::default(),
//!         occurred_at: Default::default(),
//!     },
//!     player: PlayerFacts { grants: 2, amount: 5_000_u64.into() },
//! };
//! assert_eq!(rule.eval(&input), Ok(true));
//!
//! let error = Rule::compile("outcome.scores >= 1000").unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "line 1, column 9: the outcome has no field `scores`; it has score, rank, game, attributes and occurred_at"
//! );
//! # Ok::<(), laurel_campaign::rule::RuleError>(())
//! ```
//!
//! # Inside
//!
//! ```text
//!   source --parse--> syntax tree --check--> program --cost--> Rule --run--> yes, no or fault
//!            (cel)                 names, types, limits               input
//! ```
//!
//! The `cel` crate parses; its interpreter has no types, no bound of its cost and no exact amounts, so a checked program of our
//! own runs instead. Tests hold it against that interpreter.

mod check;
mod cost;
mod error;
mod explain;
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
mod text;

use std::{fmt, sync::Arc};

pub use error::RuleError;
pub use explain::Explained;
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

    /// Whether the answer may depend on what the player got so far.
    pub fn reads_player(&self) -> bool {
        // Every name that a rule uses stands in its source; a mention in a string only costs a look-up.
        self.0.source.contains("player")
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
