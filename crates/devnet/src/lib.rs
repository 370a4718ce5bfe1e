//! Throw-away PostgreSQL and Anvil for the demo and the tests: started by us, gone with us.
//!
//! ```text
//!      this process                      one keeper per part (/bin/sh, a process group of its own)
//!   +----------------+   lifeline   +---------------------------------------------+
//!   | Postgres ------|---- pipe --->| keeper --starts--> postgres  (INT QUIT KILL)|--- /dev/shm/laurel-postgres-XXXXXX/
//!   |         <------|---- news ----|   runs as postgres or nobody when we are    |       data/  log  .s.PGSQL.5432
//!   |                |              |   root                                      |
//!   |                |              +---------------------------------------------+
//!   |                |   lifeline   +---------------------------------------------+
//!   | Anvil ---------|---- pipe --->| keeper --starts--> anvil          (TERM KILL)|--- /dev/shm/laurel-anvil-XXXXXX/
//!   |         <------|---- news ----|                                             |       log  .foundry/
//!   +----------------+              +---------------------------------------------+
//! ```
//!
//! We hold the only write end of each lifeline. When it closes, the keeper ends its part, waits for it (harder signals
//! follow if it lingers), removes the folder, and ends. The pipe closes when a handle is stopped or dropped, and the
//! system closes it when we die of a panic, Ctrl-C or `kill -9`: there is one way to clear up, and it is always taken. The
//! keeper makes the folder and starts the part itself, so there is no moment at which something exists that nobody would
//! clear away. Ctrl-C and a closed terminal do not reach the keeper, because they go to the terminal's foreground group.
//! The pipes close on exec, so parts of other devnets do not hold each other's.
//!
//! Where the parts come from, in this order:
//!
//! - **PostgreSQL**: the server that `DATABASE_URL` names, in which we use databases with a prefix of our own and drop them
//!   (those of a killed process: at the next start); installed programs, from the PATH or the distribution's folders; the
//!   npm package that `postgres-npm/` pins.
//! - **Anvil**: a program on the PATH; the npm package that `anvil/` at the top of the workspace pins.
//!
//! What cannot be had is an error that names the one command that installs it. Everything that the environment decides
//! is read in [`Surroundings::from_env`] and can be made up instead.
//!
//! Two things can outlive us: a part whose keeper itself is killed with `kill -9`; and, in a server that we were given,
//! databases of a process that was killed, with the templates of a test run, until the next start.

pub mod surroundings;

pub mod postgres;

pub mod anvil;
pub mod chain_control;
pub mod dev_keys;

pub mod testing;

mod account;
mod detached;
mod error;
mod keeper;
mod npm;
mod rpc;

pub use anvil::{Anvil, AnvilOptions, Mining};
pub use error::DevnetError;
pub use postgres::{Postgres, PostgresOptions};
pub use surroundings::Surroundings;
