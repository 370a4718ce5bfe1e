//! What operators look up is there: every code of an alert, every code of a finding.

use std::{fs, path::Path};

use laurel_audit::Code;
use laurel_events::alert;

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)).unwrap()
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

#[test]
fn the_table_of_findings_has_every_code_and_its_severity() {
    let document = document("RECONCILIATION.md");
    for code in Code::ALL {
        let row = format!("\n| `{}` | {} | ", code.as_str(), code.severity().as_str());
        assert!(document.contains(&row), "{row}");
    }
}
