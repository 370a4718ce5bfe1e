//! Who is asked, and who is left alone.

use alloy::primitives::{Address, B256, Bytes};

use super::{fake::common, *};
use crate::{BlockRef, Call, CallError, TxStatus, find_nonce_use};

fn call() -> Call {
    Call { from: Address::ZERO, to: Address::ZERO, data: Bytes::new(), gas: None }
}

#[tokio::test]
async fn questions_stay_with_one_endpoint_while_it_is_fit() {
    let world = World::new(3, 2).await;
    world.fault(0, Fault::Down);
    assert_eq!(world.ask().await.1, [0, 1]);
    assert_eq!(
        (world.ask().await.1, world.states()[0]),
        (vec![1], "closed"),
        "it cannot say on which chain it is"
    );
    world.fault(0, Fault::None);
    assert_eq!(world.ask().await.1, [0], "two failures are not enough to leave it");

    world.fault(0, Fault::Down);
    for _ in 0..3 {
        assert!(world.ask().await.0.is_ok());
    }
    assert_eq!((world.states(), world.ask().await.1), (vec!["open", "closed", "closed"], vec![1]));

    world.fault(0, Fault::None);
    world.wait(1_000);
    world.tend().await;
    assert_eq!(world.states(), ["closed"; 3]);
    assert_eq!(world.ask().await.1, [1], "it is back, but the other one is as fit");
}

#[tokio::test]
async fn a_time_out_is_enough_to_be_left_alone() {
    let world = World::new(2, 1).await;
    world.fault(0, Fault::Hangs);
    assert_eq!(world.ask().await.1, [0, 1]);
    assert_eq!((world.states(), world.ask().await.1), (vec!["open", "closed"], vec![1]));
    // Probes that fail take longer and longer, up to a limit, and nobody else asks it.
    for _ in 0..10 {
        world.wait(5_000);
        world.forget();
        world.tend().await;
        assert_eq!(world.asked("chain_id"), [0]);
        assert_eq!(world.ask().await.1, [1]);
    }
}

#[tokio::test]
async fn whoever_limits_is_left_alone_for_as_long_as_it_says() {
    let world = World::new(2, 1).await;
    world.fault(0, Fault::Limits(Some(30)));
    assert_eq!(world.ask().await.1, [0, 1]);
    world.fault(0, Fault::None);
    world.wait(29_999);
    world.forget();
    world.tend().await;
    assert_eq!((world.asked("latest"), world.states()[0]), (vec![1], "open"));
    let why = world.all.status()[0].to_string();
    assert_eq!(why, "a is open: balance: HTTP status 429", "and not what the body repeats");
    world.wait(1);
    world.tend().await;
    assert_eq!(world.states(), ["closed"; 2]);
}

#[tokio::test]
async fn whoever_goes_away_in_the_middle_of_a_probe_stops_nobody() {
    for limited in [Fault::Hangs, Fault::Limits(Some(1))] {
        let world = World::new(1, 1).await;
        world.fault(0, limited);
        assert!(world.ask().await.0.is_err());
        world.wait(1_000);
        world.fault(0, Fault::Stuck);
        {
            let mut gone = std::pin::pin!(world.all.fees());
            assert!(futures::poll!(&mut gone).is_pending());
            assert_eq!(world.states(), ["half_open"]);
        }
        world.fault(0, Fault::None);
        assert!(world.ask().await.0.is_ok(), "{limited:?}");
    }
}

#[tokio::test]
async fn a_limit_without_a_time_backs_off() {
    let world = World::new(1, 1).await;
    world.fault(0, Fault::Limits(None));
    assert!(world.ask().await.0.is_err());
    assert_eq!(world.states(), ["open"]);
    world.fault(0, Fault::None);
    world.wait(500);
    assert!(world.ask().await.0.is_ok(), "half a second at the most");
}

#[tokio::test]
async fn without_any_endpoint_the_answer_comes_at_once_and_names_them() {
    let world = World::new(2, 1).await;
    world.fault(0, Fault::Hangs);
    world.fault(1, Fault::Down);
    for _ in 0..3 {
        assert!(world.ask().await.0.is_err());
    }
    let (answer, asked) = world.ask().await;
    assert_eq!(asked, NOBODY);
    let told = answer.unwrap_err().to_string();
    assert!(told.contains("chain 31337: no endpoint can be asked: a is open: balance: no answer"), "{told}");
    assert!(told.contains("b is open: chain_id: it cannot be reached"), "{told}");
}

#[tokio::test]
async fn an_error_that_all_give_is_the_questions_fault() {
    let world = World::new(2, 1).await;
    world.fault(0, Fault::Refuses);
    world.fault(1, Fault::Refuses);
    for _ in 0..10 {
        let (answer, asked) = world.ask().await;
        assert!(matches!(answer, Err(ChainError::Rpc { .. })), "the node's own words come out: {answer:?}");
        assert_eq!(asked, [0, 1]);
    }
    assert_eq!(world.states(), ["closed"; 2]);
    // Once another one answers, it is the endpoint's.
    world.fault(1, Fault::None);
    for _ in 0..3 {
        assert!(world.ask().await.0.is_ok());
    }
    assert_eq!(world.states(), ["open", "closed"]);
}

#[tokio::test]
async fn a_revert_is_an_answer() {
    let world = World::new(2, 1).await;
    for _ in 0..5 {
        assert!(matches!(world.all.call(call()).await, Err(CallError::Reverted(_))));
        assert!(matches!(world.all.call_at(call(), 5).await, Err(CallError::Reverted(_))));
    }
    assert_eq!(world.asked("call"), [0; 10]);
    assert_eq!(world.states(), ["closed"; 2]);
}

#[tokio::test]
async fn what_can_be_checked_is_asked_of_the_next_one() {
    let world = World::new(2, 1).await;
    world.fakes[0].change(|script| (script.keeps, script.head) = (false, 95));
    assert!(world.all.receipts(B256::ZERO).await.unwrap().is_some());
    assert!(world.all.transactions(B256::ZERO).await.unwrap().is_some());
    assert!(world.all.code_at(Address::ZERO, 5).await.unwrap().is_some());
    assert!(world.all.block(BlockRef::Hash(common(99))).await.unwrap().is_some());
    let block = world.all.block(BlockRef::Number(9)).await.unwrap().unwrap();
    assert!(world.all.content(&block).await.unwrap().receipts.is_empty());
    world.fakes[1].change(|script| script.status = TxStatus::Waiting);
    assert_eq!(world.all.transaction(B256::ZERO).await.unwrap(), TxStatus::Waiting);
    // What cannot be checked is not: the blocks that somebody reads are one node's.
    assert_eq!(world.all.block(BlockRef::Number(99)).await.unwrap(), None);
    // What nobody has, nobody has.
    assert_eq!(world.all.block(BlockRef::Hash(B256::ZERO)).await.unwrap(), None);
}

#[tokio::test]
async fn a_list_that_is_not_the_headers_is_refused() {
    let world = World::new(2, 1).await;
    let mut block = world.all.block(BlockRef::Number(9)).await.unwrap().unwrap();
    block.transactions.push(B256::ZERO);
    let error = world.all.content(&block).await.unwrap_err();
    assert!(matches!(error, ChainError::Untrue(_)), "{error:?}");
    assert_eq!(world.states(), ["closed"; 2], "whoever sent the content said the truth");
}

#[tokio::test]
async fn whoever_is_doubted_is_left_alone_while_another_is_fit() {
    let world = World::new(2, 1).await;
    world.all.doubt("block 7 does not follow its predecessor");
    assert_eq!((world.states(), world.ask().await.1), (vec!["open", "closed"], vec![1]));
    let reason = world.all.status()[0].reason.clone().unwrap();
    assert!(reason.contains("block 7 does not follow"), "{reason}");
    world.all.doubt("nor does block 8");
    assert_eq!(
        (world.states(), world.ask().await.1),
        (vec!["open", "closed"], vec![1]),
        "nobody else is fit"
    );
    world.wait(60_000);
    world.tend().await;
    assert_eq!(world.states(), ["closed", "closed"], "it is asked again");

    let alone = World::new(1, 1).await;
    alone.all.doubt("block 7 does not follow its predecessor");
    assert_eq!(alone.states(), ["closed"]);
}

/// It tells of a block that nobody else has, where a transaction was: nothing that it says is false by itself.
#[tokio::test]
async fn whoever_does_not_have_the_user_of_a_nonce_is_not_asked_again() {
    let world = World::new(2, 1).await;
    for fake in &world.fakes {
        fake.change(|script| script.nonce = 3);
    }
    let error = find_nonce_use(&world.all, Address::ZERO, 1, 0..=9, 1).await.unwrap_err();
    assert!(matches!(error, ChainError::Untrue(_)), "{error:?}");
    assert_eq!((world.states(), world.ask().await.1), (vec!["open", "closed"], vec![1]));
}
