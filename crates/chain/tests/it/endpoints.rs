//! Several endpoints, on real nodes and real connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use alloy::primitives::Address;
use chrono::TimeDelta;
use laurel_chain::{
    BlockRef, ChainError, ChainNode, Endpoint, EndpointMetrics, Endpoints, EndpointsParts, Finality,
    HttpNode, RPC_TIMEOUT, identify_chain,
};
use laurel_devnet::{
    Anvil, AnvilOptions, Mining,
    chain_control::ChainControl,
    testing::{self, Line, LineState},
};
use laurel_events::MockClock;
use prometheus::Registry;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::world::CHAIN_ID;

/// How many blocks the chains have.
const BLOCKS: u64 = 20;

/// More than any of this takes, and less than a second question to a node that hangs.
const SOON: Duration = Duration::from_secs(15);

struct World {
    all: Endpoints,
    clock: Arc<MockClock>,
}

impl World {
    fn new(urls: &[&str], final_quorum: usize) -> Self {
        let clock = Arc::new(MockClock::default());
        let endpoint = |url: &&str| {
            let node = HttpNode::new(url).unwrap();
            Endpoint { host: node.host().to_owned(), node: Arc::new(node) }
        };
        let all = Endpoints::new(EndpointsParts {
            chain_id: CHAIN_ID,
            endpoints: urls.iter().map(endpoint).collect(),
            final_quorum,
            clock: clock.clone(),
            seed: 7,
            metrics: EndpointMetrics::register(&Registry::new()).unwrap(),
        });
        Self { all, clock }
    }

    async fn balance(&self) -> Result<(), ChainError> {
        let asked = tokio::time::timeout(SOON, self.all.balance(Address::ZERO)).await;
        asked.expect("an answer, or an error in time").map(|_| ())
    }

    fn states(&self) -> Vec<&'static str> {
        self.all.status().iter().map(|endpoint| endpoint.state.as_str()).collect()
    }

    /// Lets as much time go by as the longest back-off.
    fn back_off(&self) {
        self.clock.advance(TimeDelta::seconds(5));
    }
}

/// Two chains of the same first block, which has the second in which it was made.
async fn twins() -> [Anvil; 2] {
    loop {
        let (one, other) = tokio::join!(testing::anvil(Mining::OnDemand), testing::anvil(Mining::OnDemand));
        let twins = [one.unwrap(), other.unwrap()];
        let mut genesis = Vec::new();
        for anvil in &twins {
            let node = HttpNode::new(anvil.rpc_url()).unwrap();
            genesis.push(identify_chain(&node, CHAIN_ID).await.unwrap());
        }
        if genesis[0] == genesis[1] {
            return twins;
        }
    }
}

#[tokio::test]
async fn when_a_node_is_killed_another_one_answers() {
    let [one, other] = twins().await;
    let world = World::new(&[one.rpc_url(), other.rpc_url()], 1);
    world.all.identify(None).await.unwrap();
    world.balance().await.unwrap();
    one.stop().await.unwrap();
    for _ in 0..3 {
        world.balance().await.unwrap();
    }
    assert_eq!(world.states(), ["open", "closed"]);
    let started = World::new(&["http://127.0.0.1:1", other.rpc_url()], 1);
    started.all.identify(None).await.expect("one of them is enough to begin with");
    other.stop().await.unwrap();
    for _ in 0..4 {
        world.balance().await.unwrap_err();
    }
    assert_eq!(world.states(), ["open", "open"]);
}

#[tokio::test]
async fn a_node_that_hangs_is_given_up_in_time_and_comes_back() {
    let anvil = testing::anvil(Mining::OnDemand).await.unwrap();
    let line = Line::to(anvil.rpc_url()).await.unwrap();
    let world = World::new(&[line.url(), anvil.rpc_url()], 1);
    world.all.identify(None).await.unwrap();
    world.balance().await.unwrap();
    line.set(LineState::Hung);
    let waited = tokio::time::timeout(RPC_TIMEOUT / 2, world.all.balance(Address::ZERO)).await;
    assert!(waited.is_err(), "it hangs");
    world.balance().await.expect("the other one answers, once the first is given up");
    assert_eq!(world.states(), ["open", "closed"]);
    let at_once = tokio::time::timeout(RPC_TIMEOUT / 2, world.balance()).await;
    at_once.expect("the one that hangs is not asked").unwrap();
    line.set(LineState::Good);
    world.back_off();
    world.all.tend().await;
    assert_eq!(world.states(), ["closed", "closed"]);
}

#[tokio::test]
async fn a_line_that_is_cut_is_passed_over() {
    let anvil = testing::anvil(Mining::OnDemand).await.unwrap();
    let line = Line::to(anvil.rpc_url()).await.unwrap();
    let world = World::new(&[line.url(), anvil.rpc_url()], 1);
    world.all.identify(None).await.unwrap();
    line.set(LineState::Cut);
    for _ in 0..3 {
        world.balance().await.unwrap();
    }
    assert_eq!(world.states(), ["open", "closed"]);
}

/// A server that answers everything with 429, and how often it was asked.
async fn limiting(retry_after: u64) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut question = [0; 4096];
            assert!(stream.read(&mut question).await.unwrap() > 0);
            let answer = format!(
                "HTTP/1.1 429 Too Many Requests\r\nretry-after: {retry_after}\r\ncontent-length: 0\r\nconnection: \
                 close\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, asked)
}

#[tokio::test]
async fn whoever_limits_rests_for_as_long_as_its_answer_says() {
    let anvil = testing::anvil(Mining::OnDemand).await.unwrap();
    let (limiting, asked) = limiting(120).await;
    let world = World::new(&[&limiting, anvil.rpc_url()], 1);
    world.all.identify(None).await.unwrap();
    assert_eq!(world.all.status()[0].to_string(), "127.0.0.1 is open: eth_chainId: HTTP status 429");
    for (seconds, questions) in [(0, 1), (119, 1), (1, 2), (119, 2), (1, 3)] {
        world.clock.advance(TimeDelta::seconds(seconds));
        world.all.tend().await;
        world.balance().await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), questions, "{seconds}");
    }
}

#[tokio::test]
async fn a_node_on_another_chain_is_refused_by_its_host() {
    let anvil = testing::anvil(Mining::OnDemand).await.unwrap();
    let options = AnvilOptions { chain_id: 5, ..AnvilOptions::new(Mining::OnDemand) };
    let other = Anvil::start(options).await.unwrap();
    let with_key = format!("{}/?key=secret", other.rpc_url());
    let world = World::new(&[anvil.rpc_url(), &with_key], 1);
    let refused = world.all.identify(None).await.unwrap_err();
    let told = format!("{refused}: {} {refused:?}", refused.source);
    assert!(told.contains("the node at 127.0.0.1: chain 31337: the node is on chain 5"), "{told}");
    assert!(!told.contains("secret"), "{told}");
}

#[tokio::test]
async fn two_of_three_decide_what_is_final() {
    let [honest, lying] = twins().await;
    ChainControl::new(honest.rpc_url()).unwrap().mine(BLOCKS).await.unwrap();
    // The liar's chain is a longer one of its own from the first block on.
    let control = ChainControl::new(lying.rpc_url()).unwrap();
    control.warp(1_000).await.unwrap();
    control.mine(BLOCKS * 2).await.unwrap();
    let line = Line::to(honest.rpc_url()).await.unwrap();
    let node = HttpNode::new(honest.rpc_url()).unwrap();
    for finality in [Finality::Finalized, Finality::Depth { depth: 6 }] {
        let world = World::new(&[lying.rpc_url(), honest.rpc_url(), line.url()], 2);
        world.all.identify(None).await.unwrap();
        let agreed = world.all.last_final(finality).await.unwrap();
        assert_eq!(agreed, node.last_final(finality).await.unwrap());
        assert!(agreed.unwrap().number > 0);
        assert_eq!(world.states(), ["open", "closed", "closed"]);
        let head = world.all.block(BlockRef::Latest).await.unwrap();
        assert_eq!(head, node.block(BlockRef::Latest).await.unwrap(), "what is read comes from the others");
    }

    let two = World::new(&[honest.rpc_url(), lying.rpc_url()], 2);
    two.all.identify(None).await.unwrap();
    let error = two.all.last_final(Finality::Finalized).await.unwrap_err();
    assert!(matches!(error, ChainError::Disagreement { .. }), "{error:?}");
}
