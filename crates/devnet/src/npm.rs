//! Programs that come as npm packages, pinned by a lock file beside this code and installed on first use.

use std::{
    env,
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

use crate::{error::DevnetError, surroundings::Surroundings};

/// What a successful installation leaves: a copy of the lock file that it followed.
const STAMP: &str = "node_modules/.laurel-lock";

/// npm waits five minutes for each of its three tries by itself: too long for somebody who is looking at a demo.
const FETCH_TIMEOUT_MS: u32 = 60_000;

/// Installs what `package` pins, unless that has been done; `finish` then completes it, and is repeated if it fails.
///
/// Any number of processes may call this at once: the first installs, the others wait. Blocks.
pub(crate) fn install(
    part: &'static str,
    package: &Path,
    surroundings: &Surroundings,
    finish: impl FnOnce() -> Result<(), DevnetError>,
) -> Result<(), DevnetError> {
    let lock_path = package.join("package-lock.json");
    let reading = || DevnetError::io(format!("reading {}", lock_path.display()));
    let wanted = fs::read(&lock_path).map_err(reading())?;
    let stamp = package.join(STAMP);
    if fs::read(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    let lock = File::open(&lock_path).map_err(reading())?;
    lock.lock().map_err(DevnetError::io(format!("locking {}", lock_path.display())))?;
    if fs::read(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    // As npm's standard input, the lock stays until npm has ended, even when we have not lived to see that.
    let for_npm = lock.try_clone().map_err(DevnetError::io("sharing the lock with npm"))?;
    npm_ci(part, package, surroundings, for_npm)?;
    finish()?;
    fs::write(&stamp, &wanted).map_err(DevnetError::io(format!("writing {}", stamp.display())))
}

fn npm_ci(
    part: &'static str,
    package: &Path,
    surroundings: &Surroundings,
    lock: File,
) -> Result<(), DevnetError> {
    let Some(folder) = surroundings.folder_with(&["npm"]) else {
        return Err(DevnetError::Missing {
            part,
            tried: format!("no npm to get it with either; {}", surroundings.path_in_words()),
            install: install_command("npm", "node"),
        });
    };
    let path =
        env::join_paths(&surroundings.path).expect("these folders were split from a PATH, or name one each");
    let install = format!("npm ci --ignore-scripts --prefix {}", package.display());
    tracing::info!(part, "installing from npm, once");
    let output = Command::new(folder.join("npm"))
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .arg(format!("--fetch-timeout={FETCH_TIMEOUT_MS}"))
        .current_dir(package)
        .env("PATH", path)
        .stdin(Stdio::from(lock))
        .output();
    let output = match output {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Err(DevnetError::Npm { part, output, install })
}

/// The command that installs a package of the system, by its names on Linux and on a Mac.
pub(crate) fn install_command(debian: &str, homebrew: &str) -> String {
    if cfg!(target_os = "macos") {
        format!("brew install {homebrew}")
    } else {
        format!("sudo apt-get install -y {debian}")
    }
}
