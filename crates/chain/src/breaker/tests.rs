//! The breaker's table, and what holds of it in whatever order things happen.

use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use super::*;

const SETTINGS: BreakerSettings = BreakerSettings {
    failures_max: 3,
    backoff: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(8) },
    probe_max: Duration::from_secs(20),
};

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_767_225_600_000 + ms).unwrap()
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

/// A breaker that has just opened at `at(0)`.
fn open() -> Breaker {
    let mut breaker = Breaker::new(SETTINGS);
    breaker.trip(at(0), &mut rng());
    breaker
}

#[test]
fn it_opens_after_failures_in_a_row_only() {
    let mut breaker = Breaker::new(SETTINGS);
    let mut attempt = |succeeds: bool| {
        let pass = breaker.permit(at(0)).expect("closed");
        if succeeds {
            breaker.succeeded(pass)
        } else {
            breaker.failed(pass, at(0), &mut rng())
        }
        breaker.state()
    };
    for succeeds in [false, false, true, false, false] {
        assert_eq!(attempt(succeeds), BreakerState::Closed);
    }
    assert_eq!(attempt(false), BreakerState::Open);
    assert_eq!(breaker.permit(at(499)), None, "half of the back-off at the least");
}

#[test]
fn one_probe_decides() {
    for succeeds in [true, false] {
        let mut breaker = open();
        let probe = breaker.permit(at(1_000)).expect("its time is over");
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(breaker.permit(at(1_000)), None, "one is out");
        if succeeds {
            breaker.succeeded(probe);
            assert_eq!(breaker.state(), BreakerState::Closed);
            assert!(breaker.permit(at(1_000)).is_some());
        } else {
            breaker.failed(probe, at(1_000), &mut rng());
            assert_eq!(breaker.state(), BreakerState::Open);
            assert_eq!(breaker.permit(at(1_999)), None, "twice as long as before, less jitter");
        }
    }
}

#[test]
fn a_probe_that_is_never_answered_is_lost() {
    let mut breaker = open();
    let lost = breaker.permit(at(1_000)).unwrap();
    assert_eq!(breaker.permit(at(20_999)), None);
    let next = breaker.permit(at(21_000)).expect("whoever made the first is gone");
    breaker.succeeded(lost);
    assert_eq!(breaker.state(), BreakerState::HalfOpen, "too late to count");
    breaker.succeeded(next);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_probe_that_is_given_up_makes_room_for_the_next() {
    let mut breaker = open();
    let given_up = breaker.permit(at(1_000)).unwrap();
    breaker.abandoned(given_up, at(1_500));
    assert_eq!(breaker.state(), BreakerState::Open);
    let next = breaker.permit(at(1_500)).expect("at once");
    breaker.abandoned(given_up, at(1_500));
    breaker.succeeded(next);
    assert_eq!(breaker.state(), BreakerState::Closed);
    let pass = breaker.permit(at(1_500)).unwrap();
    breaker.abandoned(pass, at(1_500));
    assert_eq!(breaker.state(), BreakerState::Closed, "of other attempts there are many");
}

#[test]
fn what_began_before_it_opened_does_not_close_it() {
    let mut breaker = Breaker::new(SETTINGS);
    let early = breaker.permit(at(0)).unwrap();
    breaker.trip(at(0), &mut rng());
    breaker.succeeded(early);
    assert_eq!(breaker.state(), BreakerState::Open);
    let probe = breaker.permit(at(1_000)).unwrap();
    breaker.failed(early, at(1_000), &mut rng());
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    breaker.succeeded(probe);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_rest_lasts_as_long_as_was_asked_for_and_does_not_add_up() {
    let mut breaker = Breaker::new(SETTINGS);
    for start in [0, 60_000, 120_000] {
        assert!(breaker.permit(at(start)).is_some());
        breaker.rest(at(start), Duration::from_secs(60));
        breaker.rest(at(start), Duration::from_secs(30));
        assert_eq!(breaker.permit(at(start + 59_999)), None);
        assert_eq!(breaker.open_until(at(start)), Some(at(start + 60_000)));
    }
    let pass = breaker.permit(at(180_000)).unwrap();
    breaker.failed(pass, at(180_000), &mut rng());
    assert!(breaker.permit(at(181_000)).is_some(), "the first failure's back-off");
}

#[test]
fn a_clock_that_is_turned_back_holds_nothing_up() {
    let mut breaker = open();
    assert!(breaker.permit(at(-1)).is_some());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask,
    Succeed,
    Fail,
    Trip,
    Rest(u16),
    Wait(i16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Ask),
        2 => Just(Step::Succeed),
        3 => Just(Step::Fail),
        1 => Just(Step::Trip),
        1 => any::<u16>().prop_map(Step::Rest),
        4 => any::<i16>().prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens: closed lets everybody pass, open nobody, half open one; and after the longest time that it was
    /// told, an attempt may be made.
    #[test]
    fn nobody_passes_an_open_breaker_and_none_is_open_for_ever(steps in prop::collection::vec(step(), 1..60), seed: u64) {
        let mut breaker = Breaker::new(SETTINGS);
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut now, mut pass) = (0, None);
        let mut longest = 20_000;
        for step in steps {
            match (step, pass) {
                (Step::Ask, _) => {
                    let (before, until) = (breaker.state(), breaker.open_until(at(now)));
                    let given = breaker.permit(at(now));
                    prop_assert_eq!(given.is_some(), until.is_none());
                    prop_assert!(before != BreakerState::Closed || given.is_some());
                    if breaker.state() == BreakerState::HalfOpen {
                        prop_assert_eq!(breaker.permit(at(now)), None, "a second probe");
                    }
                    pass = given.or(pass);
                }
                (Step::Succeed, Some(pass)) => breaker.succeeded(pass),
                (Step::Fail, Some(pass)) => breaker.failed(pass, at(now), &mut rng),
                (Step::Trip, _) => {
                    breaker.trip(at(now), &mut rng);
                    prop_assert_eq!(breaker.state(), BreakerState::Open);
                }
                (Step::Rest(ms), _) => {
                    longest = longest.max(i64::from(ms));
                    breaker.rest(at(now), Duration::from_millis(ms.into()));
                }
                (Step::Wait(ms), _) => now += i64::from(ms),
                (Step::Succeed | Step::Fail, None) => {}
            }
        }
        prop_assert!(breaker.permit(at(now)).is_some() || breaker.permit(at(now + longest)).is_some());
    }
}
