//! Whom a part runs as, and which folders that user can work in.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use nix::{
    sys::statvfs::statvfs,
    unistd::{User, geteuid},
};

use crate::{error::DevnetError, surroundings::Surroundings};

/// Where Linux keeps files in memory.
const MEMORY: &str = "/dev/shm";

/// A cluster with a few dozen test databases takes 0.5 to 1 GB; containers often have 64 MB there, which is none.
const MEMORY_FREE_MIN_BYTES: u64 = 2 << 30;

/// A unix socket's address has room for 107 bytes; our own folder and the socket's file take 43 of them.
const BASE_CHARS_MAX: usize = 60;

/// The user that PostgreSQL is to run as: `None` for ourselves, which does for everybody but root.
///
/// The programs look themselves up, so it must be a user that the system knows by name.
pub(crate) fn for_postgres() -> Result<Option<User>, DevnetError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name).map_err(DevnetError::Accounts)? {
            return Ok(Some(user));
        }
    }
    Err(DevnetError::NoAccount)
}

/// What a folder is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// Files should survive a power cut, so not in memory: some distributions have /tmp there.
    Disk,
    /// The faster, the better.
    Fastest,
}

/// The folder below which `part` gets its own.
pub(crate) fn base_folder(
    part: &'static str,
    storage: Storage,
    user: Option<&User>,
    surroundings: &Surroundings,
) -> Result<PathBuf, DevnetError> {
    let memory = (storage == Storage::Fastest && has_room(Path::new(MEMORY))).then(|| PathBuf::from(MEMORY));
    let rest: [PathBuf; 2] = match storage {
        Storage::Disk => ["/var/tmp".into(), "/tmp".into()],
        Storage::Fastest => ["/tmp".into(), "/var/tmp".into()],
    };
    let candidates: Vec<PathBuf> =
        memory.into_iter().chain(surroundings.temporary.clone()).chain(rest).collect();
    candidates
        .iter()
        .filter_map(|folder| folder.canonicalize().ok())
        .find(|folder| folder.as_os_str().len() <= BASE_CHARS_MAX && (user.is_none() || open_to_all(folder)))
        .ok_or_else(|| DevnetError::NoFolder {
            part,
            tried: candidates
                .iter()
                .map(|folder| folder.display().to_string())
                .collect::<Vec<_>>()
                .join(", "),
        })
}

/// Whether a user without special rights can enter this path.
pub(crate) fn enterable_by_all(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path.ancestors().all(|part| mode(part) & 0o001 != 0))
}

fn open_to_all(folder: &Path) -> bool {
    mode(folder) & 0o002 != 0 && enterable_by_all(folder)
}

fn mode(path: &Path) -> u32 {
    path.metadata().map_or(0, |metadata| metadata.permissions().mode())
}

fn has_room(folder: &Path) -> bool {
    statvfs(folder).is_ok_and(|room| room.blocks_available() * room.fragment_size() >= MEMORY_FREE_MIN_BYTES)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn a_private_folder_is_not_given_to_another_user() {
        let private = tempfile::tempdir_in("/tmp").expect("a folder");
        fs::set_permissions(private.path(), Permissions::from_mode(0o700)).expect("permissions");
        let inner = private.path().join("inner");
        fs::create_dir(&inner).expect("a folder");
        fs::set_permissions(&inner, Permissions::from_mode(0o1777)).expect("permissions");
        let surroundings = Surroundings { temporary: Some(inner.clone()), ..Surroundings::from_env() };
        let nobody = User::from_name("nobody").expect("the table of users").expect("every system has nobody");

        let for_us = base_folder("a part", Storage::Disk, None, &surroundings).expect("a folder");
        assert_eq!(for_us, inner.canonicalize().expect("it is there"));
        let for_nobody =
            base_folder("a part", Storage::Disk, Some(&nobody), &surroundings).expect("a folder");
        assert_eq!(for_nobody, Path::new("/var/tmp").canonicalize().expect("it is there"));
    }
}
