//! What happened, line by line, and one number for all of it.

use alloy::primitives::{B256, Keccak256};

/// The story of a seed.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hasher: Keccak256,
    lines: Option<Vec<String>>,
    count: u64,
}

impl Trace {
    /// A trace that keeps its lines only if they are wanted.
    pub(crate) fn new(keep: bool) -> Self {
        Self { lines: keep.then(Vec::new), ..Self::default() }
    }

    /// Tells something.
    pub(crate) fn tell(&mut self, line: String) {
        self.hasher.update(line.as_bytes());
        self.hasher.update(b"\n");
        self.count += 1;
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    /// The hash of everything that was told.
    pub(crate) fn hash(&self) -> B256 {
        self.hasher.clone().finalize()
    }

    /// The lines, where they were kept.
    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
