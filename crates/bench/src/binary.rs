//! The `laurel` that is measured.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};

/// The named binary, or that of this checkout, built beside this program as this program was.
pub(crate) fn find(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        ensure!(named.is_file(), "there is no {}", named.display());
        return Ok(named.to_owned());
    }
    let beside = std::env::current_exe().context("looking for this program")?;
    let profile = beside.parent().context("a program is in a folder")?;
    let target = profile.parent().context("cargo's folders are two deep")?;
    // As it is shipped: what is built together with others may have more features.
    let mut build = Command::new("cargo");
    build
        .args(["build", "--package", "laurel", "--bin", "laurel", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"))
        .arg("--target-dir")
        .arg(target);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let laurel = profile.join("laurel");
    match build.status() {
        Ok(status) if status.success() && laurel.is_file() => Ok(laurel),
        Ok(status) => {
            bail!("cargo did not build {} ({status}); name one that is built with --laurel", laurel.display())
        }
        Err(error) => {
            Err(error).context("cargo is not there to build laurel; name one that is built with --laurel")
        }
    }
}
