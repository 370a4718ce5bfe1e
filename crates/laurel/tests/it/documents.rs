//! What operators look up is there: every code of an alert, every code of a finding.

use std::{fs, path::Path};

use laurel_audit::Code;
use laurel_events::alert;
use serde_json::Value;

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)).unwrap()
}

/// Integrators go by it. What is only added is written down with `laurel openapi > docs/openapi.json`; what breaks somebody is a new version.
#[test]
fn the_openapi_document_is_written_down_and_breaks_nobody() {
    let written: Value = serde_json::from_str(&document("openapi.json")).unwrap();
    let now = serde_json::to_value(laurel_api::openapi()).unwrap();
    assert_eq!(laurel_api::breaking_changes(&written, &now), Vec::<String>::new());
    assert!(written == now, "something was added: laurel openapi > docs/openapi.json");
}

/// Whether a table's row begins with the code, alone or among others.
fn has_row(document: &str, code: &str) -> bool {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| "));
    rows.filter_map(|row| row.split_once(" | ")).any(|(codes, _)| codes.contains(&format!("`{code}")))
}

#[test]
fn the_runbook_has_every_alert() {
    let runbook = document("RUNBOOK.md");
    for code in alert::ALL {
        assert!(has_row(&runbook, code), "no row for {code}");
        // Two are told of in the chapter about restoring.
        let entry = runbook.contains(&format!("\n## {code}\n"));
        assert!(entry || ["quarantine", "payment_not_recovered"].contains(code), "no entry for {code}");
    }
}

/// Every entry says what there is to be said, and names tests that exist.
#[test]
fn the_runbooks_entries_are_whole_and_tried() {
    let runbook = document("RUNBOOK.md");
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let tests = text_of(&crates);
    for code in alert::ALL.iter().filter(|code| !["quarantine", "payment_not_recovered"].contains(code)) {
        let (_, entry) = runbook.split_once(&format!("\n## {code}\n")).unwrap();
        let entry = entry.split_once("\n## ").map_or(entry, |(entry, _)| entry);
        for part in ["**Means:**", "**Look at**", "**Do:**", "**Never**"] {
            assert!(entry.contains(part), "{code} lacks {part}");
        }
        let (_, tried) = entry.split_once("*Tried by* ").unwrap_or_else(|| panic!("{code} was never tried"));
        for test in tried.split('`').skip(1).step_by(2) {
            assert!(tests.contains(&format!("fn {test}()")), "{code}: there is no test {test}");
        }
    }
}

/// Every program text below a folder.
fn text_of(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = entries.filter_map(|path| match path.extension() {
        Some(extension) if extension == "rs" => Some(fs::read_to_string(&path).unwrap()),
        _ if path.is_dir() => Some(text_of(&path)),
        _ => None,
    });
    texts.collect()
}

#[test]
fn the_table_of_findings_has_every_code_and_its_severity() {
    let document = document("RECONCILIATION.md");
    for code in Code::ALL {
        let row = format!("\n| `{}` | {} | ", code.as_str(), code.severity().as_str());
        assert!(document.contains(&row), "{row}");
    }
}
