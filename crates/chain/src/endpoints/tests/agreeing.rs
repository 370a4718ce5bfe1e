//! What several endpoints agree on.

use alloy::primitives::{Address, Bytes};
use proptest::prelude::*;
use rstest::rstest;

use super::{fake::common, *};
use crate::{BlockRef, Call, CallError, FinalBlock, Finality, NonceAt};

/// What an endpoint calls final, and from which block on it has others.
type Word = (Option<u64>, Option<u64>);

fn speak(world: &World, words: &[Word]) {
    for (fake, (last_final, fork)) in world.fakes.iter().zip(words) {
        fake.change(|script| (script.last_final, script.fork) = (*last_final, *fork));
    }
}

async fn last_final(world: &World) -> Result<Option<u64>, ChainError> {
    let found = world.all.last_final(Finality::Finalized).await?;
    Ok(found.map(|FinalBlock { number, hash }| {
        assert_eq!(hash, common(number), "a block that few have is final");
        number
    }))
}

#[rstest]
#[case::all_the_same(&[(Some(90), None), (Some(90), None), (Some(90), None)], 2, Some(90))]
#[case::one_is_ahead(&[(Some(95), None), (Some(90), None), (Some(90), None)], 2, Some(90))]
#[case::one_is_late(&[(Some(95), None), (Some(93), None), (Some(40), None)], 2, Some(93))]
#[case::all_must_agree(&[(Some(95), None), (Some(93), None), (Some(40), None)], 3, Some(40))]
#[case::one_is_enough(&[(Some(95), None), (Some(93), None), (Some(40), None)], 1, Some(95))]
#[case::none_yet(&[(None, None), (None, None), (Some(3), None)], 2, None)]
#[case::one_lies_at_the_same_height(&[(Some(90), None), (Some(90), None), (Some(90), Some(80))], 2, Some(90))]
#[case::one_lies_ahead(&[(Some(90), None), (Some(90), None), (Some(99), Some(80))], 2, Some(90))]
#[case::the_third_has_not_come_as_far(&[(Some(90), None), (Some(85), None), (Some(90), Some(88))], 2, Some(85))]
#[case::five(&[(Some(90), None), (Some(91), Some(50)), (Some(92), None), (Some(93), Some(50)), (Some(94), None)], 3, Some(90))]
#[tokio::test]
async fn the_highest_block_that_a_quorum_has_is_final(
    #[case] words: &[Word],
    #[case] quorum: usize,
    #[case] agreed: Option<u64>,
) {
    let world = World::new(words.len(), quorum).await;
    speak(&world, words);
    assert_eq!(last_final(&world).await.unwrap(), agreed);
}

#[rstest]
#[case::one_against_one(&[(Some(90), None), (Some(90), Some(80))], 2)]
#[case::one_against_one_and_one_is_enough(&[(Some(90), None), (Some(90), Some(80))], 1)]
#[case::an_earlier_one_that_is_not_below(&[(Some(90), None), (Some(95), Some(80))], 1)]
#[case::two_quorums(&[(Some(90), None), (Some(90), None), (Some(90), Some(80)), (Some(95), Some(80))], 2)]
#[tokio::test]
async fn two_truths_that_nobody_decides_are_an_error(#[case] words: &[Word], #[case] quorum: usize) {
    let world = World::new(words.len(), quorum).await;
    speak(&world, words);
    let error = last_final(&world).await.unwrap_err();
    assert!(matches!(error, ChainError::Disagreement { number: 90, .. }), "{error:?}");
}

/// The one that is asked first has other blocks, and ends before what is final: nothing that it calls final contradicts anybody.
#[tokio::test]
async fn a_block_below_the_final_one_is_what_a_quorum_has_there() {
    let world = World::new(3, 2).await;
    speak(&world, &[(Some(50), Some(60)), (Some(90), None), (Some(90), None)]);
    world.fakes[0].change(|script| script.head = 80);
    assert_eq!(last_final(&world).await.unwrap(), Some(90));
    assert_eq!(world.states(), ["closed", "closed", "closed"], "it has no block 90 that could differ");
    let agreed = world.all.final_at(Finality::Finalized, 80).await.unwrap().unwrap();
    assert_eq!(agreed.hash, common(80));
    assert_eq!(world.states(), ["open", "closed", "closed"]);
    let block = world.all.block(BlockRef::Number(80)).await.unwrap().unwrap();
    assert_eq!(block.hash, common(80), "it is not read any more");
}

/// What one of three says, while another one is away, may yet be outvoted.
#[tokio::test]
async fn two_that_differ_are_no_two_truths_while_a_third_may_decide() {
    let world = World::new(3, 2).await;
    speak(&world, &[(Some(90), Some(80)), (Some(90), None), (Some(90), None)]);
    world.fault(2, Fault::Down);
    assert_eq!(last_final(&world).await.unwrap(), None);
    world.fault(2, Fault::None);
    world.wait(60_000);
    world.tend().await;
    assert_eq!(last_final(&world).await.unwrap(), Some(90));
}

#[tokio::test]
async fn whoever_is_outvoted_is_left_alone() {
    let world = World::new(3, 2).await;
    // The one that is asked first, and it does not even call it final.
    speak(&world, &[(Some(50), Some(60)), (Some(90), None), (Some(90), None)]);
    assert_eq!(last_final(&world).await.unwrap(), Some(90));
    assert_eq!(world.states(), ["open", "closed", "closed"]);
    assert_eq!(world.ask().await.1, [1]);
    let block = world.all.block(BlockRef::Number(90)).await.unwrap().unwrap();
    assert_eq!(block.hash, common(90), "what is read is what is final");
    let labels = world.all.labels(0);
    assert_eq!(world.all.metrics.outvoted_total.with_label_values(&labels).get(), 1);
    for ms in [59_999, 1] {
        assert_eq!(world.states()[0], "open");
        world.wait(ms);
        world.tend().await;
    }
    assert_eq!(world.states()[0], "closed", "it is asked again");
}

#[tokio::test]
async fn whoever_calls_an_earlier_block_final_is_outvoted_as_well() {
    let world = World::new(4, 2).await;
    speak(&world, &[(Some(90), None), (Some(85), None), (Some(90), None), (Some(70), Some(60))]);
    assert_eq!(last_final(&world).await.unwrap(), Some(90));
    assert_eq!(world.states(), ["closed", "closed", "closed", "open"]);
}

/// Two are a quorum, and one of them answers, with what was final long ago.
#[rstest]
#[case::by_the_tag(Finality::Finalized, 15 * 60)]
#[case::by_depth(Finality::Depth { depth: 10 }, 60)]
#[tokio::test]
async fn an_endpoint_that_keeps_the_quorum_from_moving_is_named(
    #[case] finality: Finality,
    #[case] stands_max: u64,
) {
    let world = World::new(2, 2).await;
    let told = async |one: u64, other: u64| {
        for (fake, number) in world.fakes.iter().zip([one, other]) {
            fake.change(|script| (script.last_final, script.head) = (Some(number), number + 10));
        }
        world.wait(1_000);
        world.all.last_final(finality).await.unwrap().unwrap().number
    };
    // The network itself makes nothing final for long.
    for _ in 0..2 * stands_max {
        assert_eq!(told(90, 90).await, 90);
    }
    assert_eq!(world.all.held_up(), None);
    // It is late, and comes after.
    for second in 1..=2 * stands_max {
        told(90 + second, 90 + second.saturating_sub(stands_max / 2)).await;
        assert_eq!(world.all.held_up(), None);
    }
    let stands = told(10_000, 90 + 3 * stands_max / 2).await;
    for second in 0..stands_max {
        assert_eq!(world.all.held_up(), None);
        assert_eq!(told(10_000 + second, stands).await, stands);
    }
    let why = world.all.held_up().unwrap();
    assert!(
        why.contains(&format!("calls block {stands} final")) && why.contains(&format!("b: {stands}")),
        "{why}"
    );
    told(20_000, stands + 1).await;
    assert_eq!(world.all.held_up(), None, "it moves");
}

#[tokio::test]
async fn what_is_agreed_on_is_asked_for_once_a_second() {
    let world = World::new(3, 2).await;
    assert_eq!(last_final(&world).await.unwrap(), Some(90));
    speak(&world, &[(Some(95), None), (Some(95), None), (Some(95), None)]);
    world.forget();
    assert_eq!(last_final(&world).await.unwrap(), Some(90));
    assert_eq!(world.asked("finalized"), NOBODY);
    world.wait(1_000);
    assert_eq!(last_final(&world).await.unwrap(), Some(95));
    // Whoever is asked first from now on is compared at once.
    world.fault(0, Fault::Hangs);
    world.ask().await.0.unwrap();
    world.forget();
    assert_eq!(last_final(&world).await.unwrap(), Some(95));
    assert_eq!(world.asked("finalized"), [1, 2]);
}

#[tokio::test]
async fn without_a_quorum_nothing_becomes_final_and_it_shows() {
    let world = World::new(3, 2).await;
    assert_eq!(last_final(&world).await.unwrap(), Some(90));
    let short = || world.all.metrics.short_of_quorum.with_label_values(&["31337"]).get();
    assert_eq!(short(), 0);
    speak(&world, &[(Some(95), None), (Some(95), None), (Some(95), None)]);
    world.fault(1, Fault::Hangs);
    world.fault(2, Fault::Hangs);
    world.wait(1_000);
    assert_eq!((last_final(&world).await.unwrap(), short()), (Some(90), 1));
    world.fault(0, Fault::Hangs);
    world.wait(1_000);
    assert!(last_final(&world).await.is_err(), "nobody answers");
}

#[tokio::test]
async fn a_depth_counts_from_each_endpoints_own_head() {
    let world = World::new(3, 2).await;
    for (fake, head) in world.fakes.iter().zip([100, 90, 80]) {
        fake.change(|script| script.head = head);
    }
    let agreed = world.all.last_final(Finality::Depth { depth: 12 }).await.unwrap().unwrap();
    assert_eq!(agreed.number, 78);
}

#[rstest]
#[case::nobody_alone_makes_it_high(&[5, 5, 9], 2, NonceAt::Latest, 5)]
#[case::nobody_alone_hides_it(&[9, 5, 9], 2, NonceAt::Latest, 9)]
#[case::as_of_a_block(&[9, 5, 9], 2, NonceAt::Block(3), 9)]
#[case::pending_is_the_highest(&[5, 5, 9], 2, NonceAt::Pending, 9)]
#[case::one(&[7], 1, NonceAt::Latest, 7)]
#[tokio::test]
async fn a_nonce_is_what_a_quorum_has_reached(
    #[case] nonces: &[u64],
    #[case] quorum: usize,
    #[case] at: NonceAt,
    #[case] agreed: u64,
) {
    let world = World::new(nonces.len(), quorum).await;
    for (fake, nonce) in world.fakes.iter().zip(nonces) {
        fake.change(|script| script.nonce = *nonce);
    }
    assert_eq!(world.all.nonce(Address::ZERO, at).await.unwrap(), agreed);
}

/// One that is left alone with the question says too much: it could halt a lane, or have nonces be passed over.
#[tokio::test]
async fn a_nonce_below_a_quorum_is_nobodys() {
    let world = World::new(3, 2).await;
    world.fakes[0].change(|script| script.nonce = 99);
    world.fault(1, Fault::Down);
    world.fault(2, Fault::Down);
    assert!(world.all.nonce(Address::ZERO, NonceAt::Latest).await.is_err());
    assert_eq!(world.all.nonce(Address::ZERO, NonceAt::Pending).await.unwrap(), 99);
}

proptest! {
    /// However many lie, as long as they are fewer than a quorum, no block of theirs is final; and if nobody lies, what is
    /// final is what a quorum has reached.
    #[test]
    fn a_minority_makes_nothing_final(
        words in prop::collection::vec((0_u64..100, prop::option::of(0_u64..100)), 1..7),
        liars in 0_usize..4,
    ) {
        let quorum = words.len() / 2 + 1;
        let liars = liars.min(words.len() - quorum);
        let words: Vec<Word> = words
            .into_iter()
            .enumerate()
            .map(|(index, (last, fork))| (Some(last), fork.map(|fork| fork + 1).filter(|_| index < liars)))
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::new(words.len(), quorum).await;
            speak(&world, &words);
            // `last_final` itself looks at the hash.
            let agreed = last_final(&world).await;
            let mut reached: Vec<u64> = words.iter().filter_map(|(last, _)| *last).collect();
            reached.sort_unstable_by(|one, other| other.cmp(one));
            let honest = words.iter().all(|(_, fork)| fork.is_none());
            match agreed {
                Ok(agreed) if honest => assert_eq!(agreed, Some(reached[quorum - 1])),
                Ok(_) => {}
                Err(error) => assert!(matches!(error, ChainError::Disagreement { .. }) && !honest, "{error:?}"),
            }
        });
    }
}

/// A witness for what an honest endpoint called final earlier has to be a quorum: one that lies would have it left alone.
#[tokio::test]
async fn one_witness_outvotes_nobody() {
    let world = World::new(3, 2).await;
    speak(&world, &[(Some(90), None), (Some(85), None), (Some(90), None)]);
    // The first one has the same block 90, and another 85.
    world.fakes[0].change(|script| script.forked_number = Some(85));
    assert_eq!(last_final(&world).await.unwrap(), Some(90));
    assert_eq!(world.states(), ["closed", "closed", "closed"]);
}

#[rstest]
#[case::all_the_same(&[(7, 1), (7, 1), (7, 1)], (7, 1))]
#[case::one_is_dear(&[(7_000, 1), (7, 1), (8, 1)], (8, 1))]
#[case::one_wants_a_tip(&[(7, 9_000), (7, 2), (8, 1)], (7, 2))]
#[case::one_is_cheap(&[(0, 0), (7, 2), (8, 1)], (7, 1))]
#[tokio::test]
async fn one_endpoint_makes_gas_neither_dear_nor_cheap(
    #[case] fees: &[(u128, u128)],
    #[case] agreed: (u128, u128),
) {
    let world = World::new(3, 2).await;
    for (fake, fees) in world.fakes.iter().zip(fees) {
        fake.change(|script| script.fees = *fees);
    }
    let found = world.all.fees().await.unwrap();
    assert_eq!((found.base_fee, found.priority_fee), agreed);
}

/// Nothing stands still because a quorum is not to be had: what those say who answer is taken, the lower one.
#[tokio::test]
async fn one_endpoint_does_not_move_the_chains_time() {
    let world = World::new(3, 2).await;
    let times = |times: [u64; 3]| {
        for (fake, time) in world.fakes.iter().zip(times) {
            fake.change(|script| script.time = time);
        }
    };
    times([90_000, 1_000, 1_002]);
    assert_eq!(world.all.chain_time().await.unwrap(), 1_002);
    times([0, 1_000, 1_002]);
    assert_eq!(world.all.chain_time().await.unwrap(), 1_000);
    world.fault(2, Fault::Down);
    times([90_000, 1_000, 1_002]);
    assert_eq!(world.all.chain_time().await.unwrap(), 1_000);
    world.fault(1, Fault::Down);
    assert_eq!(world.all.chain_time().await.unwrap(), 90_000);
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_a_quorums_word() {
    let world = World::new(3, 2).await;
    let call = || Call { from: Address::ZERO, to: Address::ZERO, data: Bytes::new(), gas: None };
    let returns = |index: usize, answer: Option<&'static [u8]>| {
        world.fakes[index].change(|script| script.returns = answer);
    };
    let no = world.all.agreed_call(call()).await;
    assert!(matches!(no, Err(CallError::Reverted(_))), "a revert is an answer: {no:?}");
    returns(0, Some(b"yes"));
    let no = world.all.agreed_call(call()).await;
    assert!(matches!(no, Err(CallError::Reverted(_))), "{no:?}");
    returns(1, Some(b"yes"));
    assert_eq!(world.all.agreed_call(call()).await.unwrap(), Bytes::from_static(b"yes"));
    returns(1, Some(b"perhaps"));
    let none = world.all.agreed_call(call()).await;
    assert!(matches!(none, Err(CallError::Chain(ChainError::Undecided { .. }))), "{none:?}");
    assert!(world.all.agreed_code(Address::ZERO).await.unwrap().is_empty());
    world.fault(0, Fault::Down);
    world.fault(1, Fault::Down);
    assert!(world.all.agreed_code(Address::ZERO).await.is_err(), "one is no quorum");
}

/// A quorum of less than half of them: what two of four say, the other two may deny.
#[tokio::test]
async fn two_answers_of_a_quorum_decide_nothing() {
    let world = World::new(4, 2).await;
    let call = || Call { from: Address::ZERO, to: Address::ZERO, data: Bytes::new(), gas: None };
    world.fakes[..2].iter().for_each(|fake| fake.change(|script| script.returns = Some(b"yes")));
    let none = world.all.agreed_call(call()).await;
    assert!(matches!(none, Err(CallError::Chain(ChainError::Undecided { .. }))), "{none:?}");
}

#[tokio::test]
async fn a_block_that_one_of_several_has_is_not_known() {
    let world = World::new(3, 2).await;
    world.fakes[0].change(|script| script.fork = Some(95));
    let made_up = world.fakes[0].block(BlockRef::Number(95)).await.unwrap().unwrap();
    assert!(!world.all.has_block(made_up.hash).await.unwrap());
    assert!(world.all.has_block(common(95)).await.unwrap());
}
