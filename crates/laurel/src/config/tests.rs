//! What a configuration may say.

use rstest::rstest;

use super::*;

fn load(toml: &str) -> anyhow::Result<Config> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), toml).unwrap();
    let environment = Environment::process().with("DATABASE_URL", "postgres://nowhere");
    Config::load(Some(file.path()), &environment)
}

#[rstest]
#[case("127.0.0.1:8080", true)]
#[case("127.1.2.3:0", true)]
#[case("[::1]:8080", true)]
#[case("0.0.0.0:8080", false)]
#[case("[::]:8080", false)]
#[case("10.0.0.7:8080", false)]
#[case("203.0.113.5:8080", false)]
fn without_sign_in_only_loopback_is_bound(#[case] bind: &str, #[case] fine: bool) {
    let config = |mode: &str| load(&format!("[api]\nbind = \"{bind}\"\n[auth]\nmode = \"{mode}\"\n"));
    match config("none") {
        Ok(_) => assert!(fine, "{bind} is open to everybody"),
        Err(error) => {
            assert!(!fine, "{error}");
            assert!(error.to_string().contains("must be a loopback address"), "{error}");
            assert!(error.to_string().contains("set auth.mode = \"jwt\""), "{error}");
        }
    }
    assert!(config("jwt").is_ok());
}

const CHAIN: &str = "[[chains]]\nid = 1\nrpc_urls = [\"http://127.0.0.1:1\"]\n\
                     vault = \"0x5FbDB2315678afecb367f032d93F642f64180aa3\"\n";

#[rstest]
#[case::nothing_in_a_batch("[batch]\ngrants_max = 0\n", "batch.grants_max is from 1 to 500")]
#[case::more_than_fits("[batch]\ngrants_max = 501\n", "EIP-7825")]
#[case::no_pause_for_the_monitor(
    "[monitor]\ncheck_interval_ms = 0\n",
    "monitor.check_interval_ms is at least 1"
)]
#[case::sent_again_at_once("[monitor]\ntimeout_ms = 0\n", "monitor.timeout_ms is at least 1")]
#[case::no_answer("[database]\nanswer_timeout_ms = 0\n", "database.answer_timeout_ms is at least 1")]
#[case::no_connection("[database]\nconnections_max = 0\n", "database.connections_max is at least 1")]
#[case::the_newest_block_is_final(&format!("{CHAIN}finality = {{ depth = 0 }}\n"), "such as 12, or \"finalized\"")]
#[case::no_pause_for_the_node(&format!("{CHAIN}poll_interval_ms = 0\n"), "chain 1: poll_interval_ms is at least 1")]
#[case::no_node(&CHAIN.replace("\"http://127.0.0.1:1\"", ""), "chain 1: rpc_urls is empty")]
#[case::nobody_agrees(&format!("{CHAIN}final_quorum = 0\n"), "final_quorum is from 1 to the 1 of rpc_urls")]
#[case::more_than_there_are(&format!("{CHAIN}final_quorum = 2\n"), "final_quorum is from 1 to the 1 of rpc_urls")]
#[case::no_chain(&CHAIN.replace("id = 1", "id = 0"), "the node's eth_chainId")]
#[case::nothing_for_gas(&format!("{CHAIN}max_fee_per_gas_gwei = 0\n"), "max_fee_per_gas_gwei is at least 1")]
#[case::expired_when_mined(&format!("{CHAIN}settlement_lifetime_ms = 9999\n"), "settlement_lifetime_ms is from 10000")]
#[case::longer_than_the_vault_allows(&format!("{CHAIN}settlement_lifetime_ms = 3600001\n"), "which the vault allows")]
#[case::given_up_at_once(&format!("{CHAIN}give_up_refused_ms = 999\n"), "give_up_refused_ms is at least 1000")]
#[case::a_chain_twice(&format!("{CHAIN}{CHAIN}"), "chain 1 has two [[chains]] entries")]
fn what_can_only_harm_is_refused(#[case] toml: &str, #[case] says: &str) {
    let error = format!("{:#}", load(toml).unwrap_err());
    assert!(error.contains(says), "{error}");
}

#[rstest]
#[case(1, 1)]
#[case(2, 2)]
#[case(3, 2)]
#[case(4, 3)]
#[case(5, 3)]
fn more_than_half_of_the_endpoints_have_to_agree(#[case] endpoints: usize, #[case] quorum: usize) {
    let urls = vec!["\"http://127.0.0.1:1\""; endpoints].join(", ");
    let config = load(&CHAIN.replace("\"http://127.0.0.1:1\"", &urls)).unwrap();
    assert_eq!(config.chains[0].final_quorum(), quorum);
    let config =
        load(&format!("{}final_quorum = 1\n", CHAIN.replace("\"http://127.0.0.1:1\"", &urls))).unwrap();
    assert_eq!(config.chains[0].final_quorum(), 1);
}

#[test]
fn the_chain_of_these_cases_is_fine() {
    assert_eq!(load(CHAIN).unwrap().chains.len(), 1);
}

#[test]
fn callers_prove_who_they_are_unless_told_otherwise() {
    assert_eq!(load("[api]\nbind = \"0.0.0.0:8080\"\n").unwrap().auth.mode, AuthMode::Jwt);
}
