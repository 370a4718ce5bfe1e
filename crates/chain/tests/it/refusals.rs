//! What nodes and providers answer, as their own sources have it, means what it should.

use std::collections::{BTreeMap, BTreeSet};

use laurel_chain::Refusal;

/// Tab-separated: client, code, refusal, source, message.
const TABLE: &str = include_str!("refusals.tsv");

struct Answer {
    client: &'static str,
    code: i64,
    refusal: &'static str,
    source: &'static str,
    message: &'static str,
}

fn table() -> Vec<Answer> {
    TABLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [client, code, refusal, source, message] = columns[..] else {
                panic!("five columns: {line}")
            };
            Answer { client, code: code.parse().unwrap(), refusal, source, message }
        })
        .collect()
}

#[test]
fn every_answer_is_told_apart() {
    let wrong: Vec<String> = table()
        .into_iter()
        .filter_map(|answer| {
            let found = Refusal::classify(answer.code, answer.message).map_or("unknown", Refusal::as_str);
            let Answer { client, code, refusal, source, message } = answer;
            (found != refusal)
                .then(|| format!("{client} {code} {message:?} ({source}): {found}, not {refusal}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_every_client_and_every_refusal() {
    let mut refusals: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for answer in table() {
        refusals.entry(answer.client).or_default().insert(answer.refusal);
        assert!(!answer.source.is_empty() && !answer.message.is_empty());
    }
    for client in ["geth", "reth", "nethermind", "besu", "erigon", "anvil", "op-stack", "arbitrum"] {
        assert!(refusals[client].len() >= 4, "{client}: {:?}", refusals[client]);
    }
    for provider in ["alchemy", "infura", "quicknode", "ankr"] {
        assert!(refusals[provider].contains("rate_limited"), "{provider}");
    }
    let all: BTreeSet<&str> = refusals.into_values().flatten().collect();
    let wanted: BTreeSet<&str> = Refusal::ALL.map(Refusal::as_str).into_iter().chain(["unknown"]).collect();
    assert_eq!(all, wanted);
}
