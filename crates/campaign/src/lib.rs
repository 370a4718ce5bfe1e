//! Which outcomes a campaign rewards, and with how much.
//!
//! ```text
//!   outcome + player --> rule (CEL: yes or no) --yes--> reward (exact integers) --> amount
//!                          |                              |
//!                          no, or a fault                 nothing to pay
//!                          v                              v
//!                        declined, with a stable code
//! ```

pub mod reward;
pub mod rule;
