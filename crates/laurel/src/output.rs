//! What a command says: results on stdout, for people or as JSON, and everything else on stderr.

use std::{
    convert::Infallible,
    io::{self, ErrorKind, Write},
    path::PathBuf,
    str::FromStr,
};

use anyhow::Context;
use serde::Serialize;

/// Where a result goes as JSON: `--json` prints it instead of what people read, `--json FILE` writes it beside that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JsonTo {
    /// To stdout.
    Stdout,
    /// To a file.
    File(PathBuf),
}

/// What `--json` without a file stands for.
pub(crate) const STDOUT: &str = "-";

impl FromStr for JsonTo {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == STDOUT { Self::Stdout } else { Self::File(text.into()) })
    }
}

/// Gives a command's result: as JSON where that is asked for, and to people unless it took their place.
pub(crate) fn answer<T: Serialize>(
    json: Option<&JsonTo>,
    result: &T,
    people: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    match json {
        Some(JsonTo::Stdout) => return print(&serde_json::to_string_pretty(result)?),
        Some(JsonTo::File(file)) => {
            let text = serde_json::to_string_pretty(result)? + "\n";
            std::fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
        }
        None => {}
    }
    print(&people())
}

/// Prints a result. A reader that has had enough (`| head`) is no failure.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    printed(writeln!(io::stdout().lock(), "{text}")).context("write to stdout")
}

fn printed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Tells a person what is going on. Nobody may be reading that.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_beside_what_people_read_and_stdout_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("answer.json");
        let to: JsonTo = file.to_str().unwrap().parse().unwrap();
        let mut told = false;
        answer(Some(&to), &[1, 2], || {
            told = true;
            String::new()
        })
        .unwrap();
        assert_eq!(serde_json::from_slice::<Vec<u8>>(&std::fs::read(file).unwrap()).unwrap(), [1, 2]);
        assert!(told);
        answer(Some(&JsonTo::Stdout), &[1], || unreachable!("JSON takes its place")).unwrap();
    }

    #[test]
    fn only_a_broken_pipe_is_the_end_of_it() {
        assert!(printed(Err(ErrorKind::BrokenPipe.into())).is_ok());
        assert!(printed(Err(ErrorKind::StorageFull.into())).is_err());
    }
}
