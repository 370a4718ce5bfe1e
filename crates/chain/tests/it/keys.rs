//! Keys from the environment and from keystores sign for their account, and never show.

use std::{
    fmt::Write as _,
    io,
    sync::{Arc, Mutex},
};

use laurel_chain::{ChainNode, KeyError, KeySource, LaneSigner, LocalKey, TxRequest};
use laurel_devnet::dev_keys::DEV_KEYS;
use rstest::rstest;

use crate::world::{CHAIN_ID, World};

const KEY: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

/// An error with all its causes, in both forms.
fn shown(error: &KeyError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        write!(text, " {cause} {cause:?}").unwrap();
        source = cause.source();
    }
    text
}

#[rstest]
#[case::the_key_instead_of_a_source(KEY, None)]
#[case::the_key_with_a_prefix(&format!("0x{KEY}"), None)]
#[case::the_key_after_a_scheme(&format!("key:{KEY}"), None)]
#[case::the_key_after_env(&format!("env:{KEY}"), None)]
#[case::the_key_after_keystore(&format!("keystore:{KEY}"), Some("password"))]
#[case::a_digit_too_few("env:LANE", Some(&KEY[1..]))]
#[case::a_digit_too_many(
    "env:LANE",
    Some("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d0")
)]
#[case::no_hexadecimal("env:LANE", Some("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690z"))]
#[case::two_keys("env:LANE", Some("59c6995e998f97a5a0044966f0945389 59c6995e998f97a5a0044966f0945389"))]
fn no_error_shows_the_key(#[case] source: &str, #[case] environment: Option<&str>) {
    let found = source
        .parse::<KeySource>()
        .and_then(|source| source.load(|_| environment.map(ToOwned::to_owned)))
        .unwrap_err();
    let text = shown(&found).to_lowercase();
    for piece in [&KEY[..12], &KEY[20..32], &KEY[52..]] {
        assert!(!text.contains(piece), "{text}");
    }
}

#[test]
fn zero_and_the_order_of_the_group_are_no_keys() {
    for text in ["00".repeat(32).as_str(), "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"]
    {
        assert!(LocalKey::from_hex(text).is_none(), "{text}");
    }
}

#[tokio::test]
async fn a_key_from_the_environment_sends_from_its_account() {
    let world = World::new().await;
    let source: KeySource = "env:LANE".parse().unwrap();
    // With 0x or without, and with the line feed that files end with.
    for text in [format!("0x{KEY}"), KEY.to_owned(), format!("{KEY}\n")] {
        let key = source.load(|name| (name == "LANE").then(|| text.clone())).unwrap();
        assert_eq!(key.address().to_string(), DEV_KEYS[1].address);
        let nonce = world.node.nonce(key.address(), laurel_chain::NonceAt::Pending).await.unwrap();
        let request = TxRequest {
            chain_id: CHAIN_ID,
            nonce,
            to: Some(world.token),
            data: Default::default(),
            gas_limit: 100_000,
            max_fee_per_gas: 2_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
        };
        let signed = key.sign(&request).unwrap();
        assert_eq!(world.node.send(signed.raw).await.unwrap(), signed.hash);
    }
    world.control.mine(1).await.unwrap();
    let receipts = world.node.receipts(world.head().await.hash).await.unwrap().unwrap();
    assert_eq!(
        receipts.iter().map(|receipt| receipt.from.to_string()).collect::<Vec<_>>(),
        [DEV_KEYS[1].address; 3]
    );
}

/// Everything that is logged, at every level.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn neither_debug_nor_the_log_shows_the_key() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let key = tracing::subscriber::with_default(subscriber, || {
        let source: KeySource = "env:LANE".parse().unwrap();
        let key = source.load(|_| Some(KEY.to_owned())).unwrap();
        let signature = key.sign_message(b"message").unwrap();
        let signer: &dyn LaneSigner = &key;
        tracing::info!(?key, ?signer, ?source, ?signature, "loaded");
        key
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap().to_lowercase();
    assert!(text.contains("loaded"), "the log is heard: {text}");
    for shown in [text, format!("{key:?} {key:#?}").to_lowercase()] {
        assert!(!shown.contains(&KEY[..12]) && !shown.contains(&KEY[20..32]), "{shown}");
        assert!(shown.contains(&DEV_KEYS[1].address.to_lowercase()), "the account may be shown: {shown}");
    }
}
