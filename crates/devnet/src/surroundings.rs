//! Where the parts may come from: what the environment says, as one value that a test can make up.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Everything outside of this crate that decides which server and which programs are used.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// A PostgreSQL server to use instead of starting one.
    pub database_url: Option<String>,
    /// The folders in which programs are looked up, in order.
    pub path: Vec<PathBuf>,
    /// Where distributions keep PostgreSQL's programs, one folder per version.
    pub distribution: Vec<VersionedFolders>,
    /// The folder with the `package.json` that pins Anvil.
    pub anvil_package: PathBuf,
    /// The folder with the `package.json` that pins PostgreSQL.
    pub postgres_package: PathBuf,
    /// The folder for temporary files that the user asked for (`TMPDIR`).
    pub temporary: Option<PathBuf>,
}

impl Surroundings {
    /// Reads the environment; nothing else in this crate does.
    #[must_use]
    pub fn from_env() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        let database_url = env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self {
            database_url,
            path: env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default(),
            distribution: VersionedFolders::of_distributions(),
            anvil_package: here.join("../../anvil"),
            postgres_package: here.join("postgres-npm"),
            temporary: env::var_os("TMPDIR").filter(|folder| !folder.is_empty()).map(PathBuf::from),
        }
    }

    /// The first folder of the path that holds all of `programs`.
    pub(crate) fn folder_with(&self, programs: &[&str]) -> Option<PathBuf> {
        self.path.iter().find(|folder| programs.iter().all(|program| folder.join(program).is_file())).cloned()
    }

    /// The path in words, for messages.
    pub(crate) fn path_in_words(&self) -> String {
        let folders: Vec<_> = self.path.iter().map(|folder| folder.display().to_string()).collect();
        if folders.is_empty() {
            String::from("the PATH is empty")
        } else {
            format!("the PATH is {}", folders.join(":"))
        }
    }
}

/// Folders `parent/prefix<version>/bin`, as distributions have them.
#[derive(Clone, Debug)]
pub struct VersionedFolders {
    /// The folder that holds one folder per version.
    pub parent: PathBuf,
    /// What comes before the version in a folder's name.
    pub prefix: String,
}

impl VersionedFolders {
    /// Debian and Ubuntu; Red Hat's family; Homebrew on both kinds of Mac.
    fn of_distributions() -> Vec<Self> {
        let known = [
            ("/usr/lib/postgresql", ""),
            ("/usr", "pgsql-"),
            ("/opt/homebrew/opt", "postgresql@"),
            ("/usr/local/opt", "postgresql@"),
        ];
        known
            .into_iter()
            .map(|(parent, prefix)| Self { parent: parent.into(), prefix: prefix.into() })
            .collect()
    }

    /// The `bin` folders that hold all of `programs`, newest version first.
    pub(crate) fn with(&self, programs: &[&str]) -> Vec<PathBuf> {
        // A parent that is not there, or not ours to read, holds nothing for us.
        let entries = std::fs::read_dir(&self.parent).into_iter().flatten().flatten();
        let mut versions: Vec<(Vec<u32>, PathBuf)> = entries
            .filter_map(|entry| {
                let version = version(entry.file_name().to_str()?.strip_prefix(&self.prefix)?)?;
                let bin = entry.path().join("bin");
                programs.iter().all(|program| bin.join(program).is_file()).then_some((version, bin))
            })
            .collect();
        versions.sort_by(|a, b| b.0.cmp(&a.0));
        versions.into_iter().map(|(_, bin)| bin).collect()
    }
}

fn version(name: &str) -> Option<Vec<u32>> {
    name.split('.').map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_newest_version_with_all_programs_comes_first() {
        let parent = tempfile::tempdir().expect("a folder");
        for (folder, program) in
            [("9.6", "postgres"), ("15", "postgres"), ("17", "psql"), ("100", "postgres")]
        {
            let bin = parent.path().join(folder).join("bin");
            fs::create_dir_all(&bin).expect("a folder");
            fs::write(bin.join(program), "").expect("a file");
        }
        let folders = VersionedFolders { parent: parent.path().into(), prefix: String::new() };
        let found: Vec<_> =
            ["100", "15", "9.6"].map(|version| parent.path().join(version).join("bin")).into();
        assert_eq!(folders.with(&["postgres"]), found);
    }
}
