//! `laurel audit books` from the outside: what was not compared is no pass.

use serde_json::Value;

use crate::{
    process::output,
    rest::Rest,
    world::{World, free_port},
};

#[tokio::test]
async fn books_that_were_not_compared_with_the_chain_fail_the_audit() {
    let world = World::start().await;
    let port = free_port();
    let serving = world.start_all(port);
    world.campaign(&Rest::new(&format!("http://127.0.0.1:{port}")), "1000").await;
    assert_eq!(serving.terminate().await, Some(0));

    let audit = output(world.laurel(port, &["audit", "books", "--json"])).await;
    let report: Value = serde_json::from_slice(&audit.stdout).unwrap();
    assert_eq!(audit.status.code(), Some(0), "{report}");
    assert_eq!((&report["funded"], &report["suspense"]), (&"1000".into(), &"0".into()));
    assert_eq!(report["compared"][0]["vault"], world.vault.to_checksum(None));
    assert!(report["compared"][0]["block"].as_u64().is_some_and(|block| block > 0), "{report}");

    let table = output(world.laurel(port, &["audit", "books"])).await;
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("in suspense") && table.contains("compared with vault"), "{table}");

    let whole = std::fs::read_to_string(world.config(port)).unwrap();
    let (without, _) = whole.split_once("[[chains]]").unwrap();
    let file = world.folder.path().join("without.toml");
    std::fs::write(&file, without).unwrap();
    let mut audit = crate::process::laurel(&["audit", "books", "--config"]);
    audit.arg(&file);
    let audit = output(audit).await;
    let said = String::from_utf8(audit.stdout).unwrap();
    assert_eq!(audit.status.code(), Some(1), "{said}");
    assert!(said.contains("not compared with vault") && said.contains("compared with no vault"), "{said}");
}
