//! The kill test: the real processes on a real PostgreSQL and a real Anvil, killed with `kill -9` at random.
//!
//! ```text
//!   game servers ──► door ──► api ×2    campaign ×2   grant-saga ×2   chain-watcher ×2   views ×2 ──► PostgreSQL, fsync on
//!                    (takes      ▲          ▲             ▲                ▲               ▲             ▲       Anvil
//!                    the other)  └──────────┴─────────────┴── kill -9 ─────┴───────────────┴─────────────┘  SIGSTOP ▲
//! ```
//!
//! Chance comes from the seed; what the processes make of it does not, because they are real.

mod arguments;
mod binary;
mod check;
mod crew;
mod door;
mod load;
mod recovery;
mod rounds;
mod story;
mod summary;
mod troubles;
mod world;

pub(crate) use self::arguments::Arguments;

use std::{io::Write, process::ExitCode, time::Duration};

use anyhow::{Context, anyhow};
use laurel_events::{Clock, SystemClock};
use tokio::runtime::Runtime;

use self::{summary::Summary, world::World};

/// Runs what the command line says.
///
/// # Errors
/// If the test itself cannot be run: a part is missing, the binary cannot be built.
pub(crate) fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let laurel = binary::find(arguments.laurel.as_deref())?;
    let seed = arguments.seed.unwrap_or_else(|| SystemClock.now().timestamp().unsigned_abs());
    say(&format!("seed {seed}; {}", laurel.display()));
    Runtime::new()?.block_on(async {
        let mut world = World::start(&laurel, arguments.block_time()).await?;
        let mut summary = Summary::new(seed, world.clock.now(), world.block_time);
        let ran = run(&mut world, arguments, seed, &mut summary).await;
        summary.ended_by_themselves = world.crew.ended_by_themselves();
        summary.count_transactions(&world).await;
        summary.print(SystemClock.now(), &mut std::io::stdout())?;
        let failure = match ran {
            Ok(true) => {
                world.stop().await?;
                return Ok(ExitCode::SUCCESS);
            }
            Ok(false) => anyhow!("a number is not reached"),
            Err(failure) => failure,
        };
        say(&format!("FAILED: {failure:#}"));
        let (folder, database, rpc) = (world.keep()?, world.database_url(), world.rpc_url().to_owned());
        say(&format!("its logs: {}\ndatabase: {database}\nchain: {rpc}", folder.display()));
        if arguments.hold {
            say("database and chain stay up until Ctrl-C");
            tokio::signal::ctrl_c().await.context("waiting for Ctrl-C")?;
        }
        Ok(ExitCode::FAILURE)
    })
}

async fn run(
    world: &mut World,
    arguments: &Arguments,
    seed: u64,
    summary: &mut Summary,
) -> anyhow::Result<bool> {
    if arguments.load {
        return load::run(world, &arguments.load(), seed, summary).await;
    }
    let story = rounds::run(world, arguments.rounds, seed, summary).await?;
    recovery::measure(world, story, arguments.recoveries, summary).await?;
    Ok(summary.settles_soon())
}

/// Whoever closed the pipe does not want to know.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// How often a condition is looked at again.
const AGAIN: Duration = Duration::from_millis(50);
