//! On which chain an endpoint is.

use alloy::primitives::B256;
use rstest::rstest;

use super::{fake::common, *};

#[tokio::test]
async fn an_endpoint_on_another_chain_is_refused_at_the_start() {
    for down in [Fault::None, Fault::Down] {
        let world = World::strangers(3, 1);
        world.fault(0, down);
        world.fakes[1].change(|script| script.chain_id = 1);
        let refused = world.all.identify(None).await.unwrap_err();
        assert_eq!(refused.to_string(), "the node at b");
        assert!(refused.source.to_string().contains("the node is on chain 1"), "{}", refused.source);
    }
}

#[tokio::test]
async fn another_chain_of_the_same_id_is_refused_at_the_start() {
    let world = World::strangers(2, 2);
    world.fakes[1].change(|script| script.fork = Some(0));
    let refused = world.all.identify(None).await.unwrap_err();
    assert_eq!(refused.host, "b");
    assert!(refused.source.to_string().contains("another chain of the same id"), "{}", refused.source);
    // What the database was first used with decides, not the order of the endpoints.
    let refused = world.all.identify(Some(B256::repeat_byte(1))).await.unwrap_err();
    assert_eq!(refused.host, "a");
}

#[rstest]
#[case::all_there(&[], 2, None)]
#[case::one_is_down(&[1], 2, None)]
#[case::the_first_is_down(&[0], 2, None)]
#[case::too_few(&[0, 2], 2, Some(("a, c", "1 of 3 endpoints answer, but chains.final_quorum is 2")))]
#[case::none(&[0, 1, 2], 1, Some(("a, b, c", "the node cannot be asked: check that it runs")))]
#[tokio::test]
async fn endpoints_may_be_down_at_the_start_while_a_quorum_is_not(
    #[case] down: &[usize],
    #[case] quorum: usize,
    #[case] refused: Option<(&str, &str)>,
) {
    let world = World::strangers(3, quorum);
    down.iter().for_each(|index| world.fault(*index, Fault::Down));
    match (world.all.identify(None).await, refused) {
        (Ok(genesis), None) => {
            assert_eq!(genesis, common(0));
            for index in 0..3 {
                assert_eq!(world.states()[index], if down.contains(&index) { "open" } else { "closed" });
            }
            assert!(world.ask().await.1.iter().all(|asked| !down.contains(asked)));
        }
        (Err(error), Some((hosts, says))) => {
            assert_eq!(error.host, hosts);
            assert!(error.source.to_string().contains(says), "{}", error.source);
        }
        (found, wanted) => panic!("{found:?}, not {wanted:?}"),
    }
}

#[rstest]
#[case::another_id(|script: &mut fake::Script| script.chain_id = 1, "the node is on chain 1")]
#[case::another_genesis(|script: &mut fake::Script| script.fork = Some(0), "another chain of the same id")]
#[tokio::test]
async fn whoever_comes_back_on_another_chain_is_not_used(
    #[case] change: fn(&mut fake::Script),
    #[case] says: &str,
) {
    let world = World::new(2, 1).await;
    world.fault(0, Fault::Down);
    // One lost connection is enough: the next one may lead to something else.
    assert_eq!(world.ask().await.1, [0, 1]);
    world.fault(0, Fault::None);
    world.fakes[0].change(change);
    assert_eq!(world.ask().await.1, [1]);
    for _ in 0..5 {
        world.wait(5_000);
        world.tend().await;
        assert_eq!(world.states(), ["open", "closed"]);
        assert!(world.all.status()[0].to_string().contains(says), "{}", world.all.status()[0]);
    }
    world.fakes[0].change(|script| (script.chain_id, script.fork) = (fake::CHAIN_ID, None));
    world.wait(5_000);
    world.tend().await;
    assert_eq!(world.states(), ["closed"; 2]);
}

#[tokio::test]
async fn a_gateway_that_is_pointed_elsewhere_is_noticed_without_a_failure() {
    let world = World::new(1, 1).await;
    world.fakes[0].change(|script| script.chain_id = 1);
    world.wait(59_999);
    assert!(world.ask().await.0.is_ok(), "not asked for every question");
    world.wait(1);
    let (answer, asked) = world.ask().await;
    assert_eq!(asked, NOBODY);
    assert!(answer.unwrap_err().to_string().contains("the node is on chain 1"));
}
