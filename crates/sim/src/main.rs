//! `sim`: runs seeds. `sim --help` tells the rest.

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    laurel_sim::main()
}
