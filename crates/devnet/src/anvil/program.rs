//! Finds Anvil's program: an installed one first, else the one of the pinned npm package.

use std::{fs::File, io::Read as _, path::Path, path::PathBuf};

use crate::{error::DevnetError, npm, surroundings::Surroundings};

use super::PART;

/// The name of npm's package for this platform, in the terms of its publisher.
const PLATFORM: Option<&str> = if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
    Some("linux-amd64")
} else if cfg!(all(target_os = "linux", target_arch = "aarch64")) {
    Some("linux-arm64")
} else if cfg!(all(target_os = "macos", target_arch = "x86_64")) {
    Some("darwin-amd64")
} else if cfg!(all(target_os = "macos", target_arch = "aarch64")) {
    Some("darwin-arm64")
} else {
    None
};

/// Blocks while npm installs.
pub(super) fn find(surroundings: &Surroundings) -> Result<PathBuf, DevnetError> {
    let installed =
        surroundings.path.iter().map(|folder| folder.join("anvil")).find(|program| is_program(program));
    match (installed, PLATFORM) {
        (Some(program), _) => Ok(program),
        (None, Some(platform)) => {
            let package = &surroundings.anvil_package;
            npm::install(PART, package, surroundings, || Ok(()))?;
            Ok(package.join(format!("node_modules/@foundry-rs/anvil-{platform}/bin/anvil")))
        }
        (None, None) => Err(DevnetError::Missing {
            part: PART,
            tried: format!("no npm package for this platform; {}", surroundings.path_in_words()),
            install: "cargo install --git https://github.com/foundry-rs/foundry anvil".to_owned(),
        }),
    }
}

/// Not a script: npm's own `anvil` is one that starts the program as a child, which would outlive a killed parent.
fn is_program(path: &Path) -> bool {
    let mut start = [0; 2];
    path.is_file()
        && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start != *b"#!"
}
