//! Who is given a transaction.

use alloy::primitives::{Bytes, keccak256};

use super::*;
use crate::{Refusal, SendError};

const RAW: Bytes = Bytes::from_static(b"not looked at by anybody here");

fn says(world: &World, index: usize, answer: &'static str) {
    world.fakes[index].change(|script| script.send = answer);
}

#[tokio::test]
async fn one_that_takes_it_is_enough_the_first_time() {
    let world = World::new(3, 2).await;
    assert_eq!(world.all.send(RAW).await.unwrap(), keccak256(&RAW));
    assert_eq!(world.asked("send"), [0]);
}

#[tokio::test]
async fn whoever_sends_again_means_everybody() {
    let world = World::new(3, 2).await;
    world.all.send(RAW).await.unwrap();
    world.forget();
    says(&world, 0, "already_known");
    assert_eq!(world.all.send(RAW).await.unwrap(), keccak256(&RAW), "one of them had not known it");
    assert_eq!(world.asked("send"), [0, 1, 2]);
}

#[tokio::test]
async fn a_refusal_by_one_is_no_refusal() {
    let world = World::new(3, 2).await;
    says(&world, 0, "endpoint");
    says(&world, 1, "underpriced");
    assert!(world.all.send(RAW).await.is_ok());
    assert_eq!(world.asked("send"), [0, 1, 2]);
    let sends = |index: usize, answer: &str| {
        let [chain, place, host] = world.all.labels(index);
        world.all.metrics.sends_total.with_label_values(&[&chain, &place, &host, answer]).get()
    };
    assert_eq!((sends(0, "endpoint"), sends(1, "underpriced"), sends(2, "accepted")), (1, 1, 1));
    assert_eq!(world.states(), ["closed"; 3], "they work");
}

#[tokio::test]
async fn a_refusal_by_all_is_one() {
    let world = World::new(2, 1).await;
    says(&world, 0, "insufficient_funds");
    says(&world, 1, "insufficient_funds");
    let error = world.all.send(RAW).await.unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::InsufficientFunds));
}

#[tokio::test]
async fn an_answer_that_was_lost_leaves_open_whether_it_was_sent() {
    let world = World::new(2, 1).await;
    world.fault(0, Fault::Hangs);
    says(&world, 1, "underpriced");
    let error = world.all.send(RAW).await.unwrap_err();
    assert!(matches!(error, SendError::PerhapsSent(_)), "{error:?}");
    assert_eq!(world.states(), ["open", "closed"]);
}

#[tokio::test]
async fn nothing_was_sent_only_if_nobody_was_given_it() {
    let world = World::new(2, 1).await;
    world.fault(0, Fault::Hangs);
    world.fault(1, Fault::Hangs);
    assert!(world.ask().await.0.is_err());
    world.forget();
    let error = world.all.send(RAW).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent(ChainError::NoEndpoint { .. })), "{error:?}");
    assert_eq!(world.asked("send"), NOBODY);
}

#[tokio::test]
async fn an_endpoint_that_limits_sends_is_left_alone() {
    let world = World::new(2, 1).await;
    says(&world, 0, "rate_limited");
    world.fakes[0].change(|script| script.rest = Some(Duration::from_secs(120)));
    assert!(world.all.send(RAW).await.is_ok());
    assert_eq!(world.states(), ["open", "closed"]);
    world.wait(119_000);
    world.tend().await;
    assert_eq!(world.states(), ["open", "closed"], "it has said for how long");
    world.wait(1_000);
    world.tend().await;
    assert_eq!(world.states(), ["closed", "closed"]);
}
