//! How large a rule and what it reads may be.

/// The longest source. A rule that a person can review fits a page, and parsing stays below 20 ms.
pub const SOURCE_BYTES_MAX: usize = 4_096;

/// The most operator, selection and opening bracket characters in a source, also inside its texts. The parser
/// recurses once for each link of a chain such as `1 + 1 + …`: 512 links stay below 1 MiB of stack with the
/// least optimisation, which the workspace's profiles give to the parser.
pub const OPERATORS_MAX: usize = 512;

/// The deepest nesting of brackets, calls and conditionals that the parser follows: 24 levels stay below
/// 400 KiB of stack.
pub const NESTING_MAX: u16 = 24;

/// The deepest syntax tree, where each `+` of a sum is a level of its own.
pub const DEPTH_MAX: usize = 64;

/// The most nodes of a syntax tree: two of the longest lists and what is tested on them.
pub const NODES_MAX: usize = 1_024;

/// The most items of one list or lookup table.
pub const ITEMS_MAX: usize = 256;

/// The longest regular expression.
pub const PATTERN_BYTES_MAX: usize = 128;

/// The largest automaton of one regular expression, and the most memory for making it. It keeps bombs such as
/// `(a|b)*a(a|b){30}` out and lets `^\w+$` in, whose Unicode letters take 165 KB.
pub const PATTERN_AUTOMATON_BYTES_MAX: usize = 512 * 1_024;

/// The largest program that the automaton is made from; it bounds the time that takes to some 20 ms.
pub const PATTERN_PROGRAM_BYTES_MAX: usize = 64 * 1_024;

/// The deepest nesting of groups and repetitions in a regular expression.
pub const PATTERN_NESTING_MAX: u32 = 16;

/// The most attributes of an outcome that a rule looks at. Intake accepts no more.
pub const ATTRIBUTES_MAX: usize = 64;

/// The longest text of an outcome that a rule looks at. Intake accepts no more.
pub const TEXT_BYTES_MAX: usize = 1_024;

/// The most steps that one evaluation may take, in the worst case of the inputs.
pub const COST_MAX: u32 = 10_000;
