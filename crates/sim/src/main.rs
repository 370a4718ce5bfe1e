//! The simulator's command line.

use clap::Parser;
use laurel_sim::{Wanted, Worker};

/// Runs seeds.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seeds, as A..B.
    #[arg(long, default_value = "0..10")]
    seeds: String,
    #[arg(long)]
    trace: bool,
    #[arg(long)]
    calm: bool,
    #[arg(long)]
    steps: Option<u64>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (from, to) = arguments.seeds.split_once("..").unwrap_or(("0", "1"));
    let (from, to): (u64, u64) = (from.parse()?, to.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut worker = Worker::start().await?;
        for seed in from..to {
            let wanted = Wanted {
                keep_trace: arguments.trace,
                faults: !arguments.calm,
                steps: arguments.steps.unwrap_or(laurel_sim::STEPS),
            };
            #[allow(clippy::disallowed_methods)]
            let began = std::time::Instant::now();
            let outcome = worker.run(seed, wanted).await?;
            for line in &outcome.lines {
                println!("{line}");
            }
            println!(
                "{:?} {} {} {} {:?} {:?}",
                began.elapsed(),
                outcome.seed, outcome.steps, outcome.trace, outcome.done, outcome.findings
            );
        }
        worker.stop().await
    })
}
