//! Rows as lines, with what they hash to.

use axum::body::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::Format;

/// How many rows a piece has whose hash is told by itself: so a file that was changed is wrong in a place, and not as a whole.
const PART_ROWS: u64 = 100_000;

/// A row that cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum SheetError {
    #[error("write a line of CSV")]
    Csv(#[from] csv::Error),
    #[error("write a line of JSON")]
    Json(#[from] serde_json::Error),
}

/// A piece of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize, ToSchema)]
pub(crate) struct Part {
    /// How many rows it has.
    pub(crate) rows: u64,
    /// How many bytes; the first piece of CSV begins with the names.
    pub(crate) bytes: u64,
    /// Their SHA-256, in hexadecimal.
    pub(crate) sha256: String,
}

/// All of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) sha256: [u8; 32],
    pub(super) parts: Vec<Part>,
}

/// What is being written.
pub(super) struct Sheet {
    format: Format,
    rows: u64,
    bytes: u64,
    whole: Sha256,
    part: (u64, u64, Sha256),
    parts: Vec<Part>,
}

impl Sheet {
    pub(super) fn new(format: Format) -> Self {
        let part = (0, 0, Sha256::new());
        Self { format, rows: 0, bytes: 0, whole: Sha256::new(), part, parts: Vec::new() }
    }

    /// What comes before all rows: the names of their fields, for CSV.
    pub(super) fn names(&mut self, names: &[&str]) -> Result<Bytes, SheetError> {
        let mut encoded = Vec::new();
        if self.format == Format::Csv {
            let mut lines = lines_to(&mut encoded);
            lines.write_record(names)?;
            lines.flush().map_err(csv::Error::from)?;
            drop(lines);
            self.count(0, &encoded);
        }
        Ok(encoded.into())
    }

    /// The lines of some rows.
    pub(super) fn encode<R: Serialize>(&mut self, rows: &[R]) -> Result<Bytes, SheetError> {
        let mut encoded = Vec::new();
        let mut left = rows;
        while !left.is_empty() {
            let room = usize::try_from(PART_ROWS - self.part.0).unwrap_or(usize::MAX);
            let (now, later) = left.split_at(room.min(left.len()));
            let begun = encoded.len();
            self.lines(now, &mut encoded)?;
            self.count(now.len() as u64, &encoded[begun..]);
            left = later;
        }
        Ok(encoded.into())
    }

    fn lines<R: Serialize>(&self, rows: &[R], encoded: &mut Vec<u8>) -> Result<(), SheetError> {
        match self.format {
            Format::Ndjson => {
                for row in rows {
                    serde_json::to_writer(&mut *encoded, row)?;
                    encoded.push(b'\n');
                }
            }
            Format::Csv => {
                let mut lines = lines_to(encoded);
                for row in rows {
                    lines.serialize(row)?;
                }
                lines.flush().map_err(csv::Error::from)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, rows: u64, encoded: &[u8]) {
        self.rows += rows;
        self.bytes += encoded.len() as u64;
        self.whole.update(encoded);
        self.part.0 += rows;
        self.part.1 += encoded.len() as u64;
        self.part.2.update(encoded);
        if self.part.0 >= PART_ROWS {
            self.close_part();
        }
    }

    fn close_part(&mut self) {
        let (rows, bytes, hash) = std::mem::replace(&mut self.part, (0, 0, Sha256::new()));
        if bytes > 0 {
            self.parts.push(Part { rows, bytes, sha256: hex::encode(hash.finalize()) });
        }
    }

    /// What was written.
    pub(super) fn finish(mut self) -> Written {
        self.close_part();
        let Self { rows, bytes, whole, parts, .. } = self;
        Written { rows, bytes, sha256: whole.finalize().into(), parts }
    }
}

/// Lines as RFC 4180 has them.
fn lines_to(encoded: &mut Vec<u8>) -> csv::Writer<&mut Vec<u8>> {
    csv::WriterBuilder::new().has_headers(false).terminator(csv::Terminator::CRLF).from_writer(encoded)
}

/// A text that somebody else chose, for a cell. What a spreadsheet would take for a formula begins with an apostrophe (OWASP, CSV
/// Injection).
pub(crate) fn cell(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Row {
        name: &'static str,
        number: Option<u64>,
    }

    const ROWS: [Row; 2] = [Row { name: "a \"b\", c", number: Some(1) }, Row { name: "d", number: None }];

    #[test]
    fn a_line_a_row_and_the_names_once() {
        let mut sheet = Sheet::new(Format::Csv);
        assert_eq!(sheet.names(&["name", "number"]).unwrap(), "name,number\r\n");
        assert_eq!(sheet.encode(&ROWS).unwrap(), "\"a \"\"b\"\", c\",1\r\nd,\r\n");
        assert_eq!(sheet.encode(&ROWS[1..]).unwrap(), "d,\r\n");
        let mut sheet = Sheet::new(Format::Ndjson);
        assert_eq!(sheet.names(&["name", "number"]).unwrap(), "");
        let lines = sheet.encode(&ROWS).unwrap();
        assert_eq!(lines, "{\"name\":\"a \\\"b\\\", c\",\"number\":1}\n{\"name\":\"d\",\"number\":null}\n");
    }

    #[test]
    fn pieces_and_the_whole_hash_to_what_was_written() {
        let mut sheet = Sheet::new(Format::Ndjson);
        let rows: Vec<u64> = (0..PART_ROWS + 7).collect();
        let mut all = sheet.encode(&rows[..3]).unwrap().to_vec();
        all.extend(sheet.encode(&rows[3..]).unwrap());
        let written = sheet.finish();
        assert_eq!((written.rows, written.bytes), (PART_ROWS + 7, all.len() as u64));
        assert_eq!(written.sha256, <[u8; 32]>::from(Sha256::digest(&all)));
        let (first, second) = all.split_at(usize::try_from(written.parts[0].bytes).unwrap());
        let hashes: Vec<String> = [first, second].map(|part| hex::encode(Sha256::digest(part))).to_vec();
        let told: Vec<String> = written.parts.iter().map(|part| part.sha256.clone()).collect();
        assert_eq!(told, hashes);
        assert_eq!(written.parts.iter().map(|part| part.rows).collect::<Vec<_>>(), [PART_ROWS, 7]);
    }

    #[test]
    fn a_formula_is_a_text() {
        assert_eq!(cell("=1+1".to_owned()), "'=1+1");
        assert_eq!(cell("player-1".to_owned()), "player-1");
    }
}
