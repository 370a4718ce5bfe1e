//! What a configuration may say.

use laurel_api::Class;
use rstest::rstest;

use super::*;

fn load(toml: &str) -> anyhow::Result<Config> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), toml).unwrap();
    let environment = Environment::process().with("DATABASE_URL", "postgres://127.0.0.1");
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
    let config =
        |mode: &str| load(&format!("[api]\nbind = \"{bind}\"\n{PROXIED}[auth]\nmode = \"{mode}\"\n"));
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

/// What goes with an address that is reached from elsewhere.
const PROXIED: &str = "behind_proxy = true\ntrusted_proxies = [\"10.0.0.0/8\"]\n";

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
#[case::elsewhere_in_plain("[api]\nbind = \"0.0.0.0:8080\"\n", "api.behind_proxy = true")]
#[case::metrics_for_everybody("[ops]\nbind = \"0.0.0.0:9090\"\n", "ops.private_network = true")]
#[case::any_proxy("[api]\nbehind_proxy = true\n", "takes api.trusted_proxies")]
#[case::a_certificate_without_its_key("[api]\ntls_cert = \"cert.pem\"\n", "belong together")]
#[case::tls_by_http("[api]\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n", "begins with https://")]
#[case::every_site("[api]\ncors_origins = [\"*\"]\n", "name each site as browsers do")]
#[case::a_page("[api]\ncors_origins = [\"https://games.example/\"]\n", "name each site as browsers do")]
#[case::no_site("[api]\ncors_origins = [\"games.example\"]\n", "name each site as browsers do")]
#[case::a_database_in_plain(
    "[database]\nurl = \"postgres://db.example/laurel\"\n",
    "database.url leads elsewhere"
)]
#[case::a_database_in_plain_perhaps(
    "[database]\nurl = \"postgres://10.0.0.7/laurel?sslmode=prefer\"\n",
    "sslmode=verify-full"
)]
#[case::a_replica_in_plain(
    "[database]\nread_url = \"postgres://10.0.0.7/laurel\"\n",
    "database.read_url leads elsewhere"
)]
#[case::wakes_in_plain(
    "[database]\nlisten_url = \"postgres://10.0.0.7/laurel\"\n",
    "database.listen_url leads elsewhere"
)]
#[case::a_node_in_plain(&CHAIN.replace("127.0.0.1", "node.example"), "ask it by https")]
#[case::nothing_to_be_had("[limits]\nread = { quota = 0 }\n", "limits.read: quota is from 1")]
#[case::in_no_time("[limits.sign_in]\nwindow_s = 0\n", "limits.sign_in: window_s is from 1")]
#[case::nothing_undecided("[limits]\nlag_chunks_max = 0\n", "limits.lag_chunks_max is at least 1")]
#[case::no_room_for_a_body("[limits]\nbodies_mib_max = 7\n", "limits.bodies_mib_max is from 8 to")]
#[case::nobody_connected("[limits]\nconnections_max = 0\n", "limits.connections_max is at least 1")]
#[case::nobody_connected_from_anywhere(
    "[limits]\nconnections_per_address_max = 0\n",
    "limits.connections_per_address_max is"
)]
#[case::no_time_for_a_head("[limits]\nhead_timeout_ms = 0\n", "limits.head_timeout_ms, ")]
#[case::no_time_to_read("[limits]\nwrite_timeout_ms = 0\n", "limits.write_timeout_ms are")]
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
    assert_eq!(load(&format!("[api]\nbind = \"0.0.0.0:8080\"\n{PROXIED}")).unwrap().auth.mode, AuthMode::Jwt);
}

#[rstest]
#[case::metrics_for_a_few("[ops]\nbind = \"10.0.0.7:9090\"\nprivate_network = true\n")]
#[case::socket("[database]\nurl = \"postgres:///laurel?host=/run/postgresql\"\n")]
#[case::this_machine("[database]\nurl = \"postgres://[::1]/laurel\"\n")]
#[case::by_name("[database]\nurl = \"postgres://localhost/laurel\"\n")]
#[case::by_tls("[database]\nurl = \"postgres://db.example/laurel?sslmode=verify-full\"\n")]
#[case::a_node_by_tls(&CHAIN.replace("http://127.0.0.1:1", "https://node.example"))]
#[case::a_site("[api]\ncors_origins = [\"https://games.example\", \"http://127.0.0.1:3000\"]\n")]
#[case::tls("[api]\nbind = \"0.0.0.0:443\"\npublic_url = \"https://x\"\ntls_cert = \"c\"\ntls_key = \"k\"\n")]
fn what_stays_here_or_is_encrypted_is_fine(#[case] toml: &str) {
    load(toml).unwrap();
}

#[rstest]
#[case::in_plain("[api]\nbind = \"0.0.0.0:8080\"\n", true)]
#[case::on_this_machine("[api]\nbind = \"127.0.0.1:8080\"\n", false)]
#[case::by_tls(
    "[api]\nbind = \"0.0.0.0:443\"\npublic_url = \"https://x\"\ntls_cert = \"c\"\ntls_key = \"k\"\n",
    false
)]
fn only_proxies_connect_where_others_would_in_plain(#[case] api: &str, #[case] proxies_only: bool) {
    assert_eq!(load(&format!("{api}{PROXIED}")).unwrap().api.proxies_only(), proxies_only);
}

#[test]
fn a_limit_that_is_set_leaves_the_others_as_they_are() {
    let strict = load("[limits.read]\nquota = 7\n").unwrap().rates().unwrap();
    assert_eq!((strict.of(Class::Read).quota(), strict.of(Class::Read).window_s()), (7, 60));
    assert_eq!(strict.of(Class::Write), Rates::STRICT.of(Class::Write));
    assert!(
        Rates::STRICT.of(Class::Outcomes).quota() / Rates::STRICT.of(Class::Outcomes).window_s() >= 10_000
    );
    let generous = load("[auth]\nmode = \"none\"\n[limits.read]\nquota = 7\n").unwrap().rates().unwrap();
    assert_eq!((generous.of(Class::Read).quota(), generous.of(Class::Read).window_s()), (7, 1));
    assert_eq!(generous.of(Class::Outcomes), Rates::GENEROUS.of(Class::Outcomes));
}

#[test]
fn limits_and_keys_can_be_set_by_the_environment() {
    let environment = |toml: &str| {
        chains::with_settings(
            Figment::from(Serialized::default("database.url", "postgres://127.0.0.1")),
            Toml::string(toml),
        )
    };
    // What `Env` makes of LAUREL_LIMITS__READ__QUOTA and LAUREL_AUTH__SECRETS_KEY.
    let config = environment("limits.read.quota = 7\nauth.secrets_key = [\"env:NEW\", \"env:OLD\"]").unwrap();
    assert_eq!(config.rates().unwrap().of(Class::Read).quota(), 7);
    assert_eq!(config.secrets_key_names().unwrap(), ["NEW", "OLD"]);
    let config = environment("auth.secrets_key = \"env:ONE\"").unwrap();
    assert_eq!(config.secrets_key_names().unwrap(), ["ONE"]);
    assert!(environment("").unwrap().secrets_key_names().unwrap().is_empty());
}
