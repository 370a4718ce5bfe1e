//! Rewards: their written form, what is refused, and what they pay.

use laurel_campaign::reward::{Fixed, NoReward, PerUnit, RANKS_MAX, Reward};
use laurel_events::{Amount, Attribute};
use proptest::prelude::*;
use rstest::rstest;

use crate::sample::Sample;

const GRANT_MAX: &str = "79228162514264337593543950335";

fn reward(json: &str) -> Result<Reward, serde_json::Error> {
    serde_json::from_str(json)
}

#[rstest]
#[case::fixed(r#"{"kind":"fixed","amount":"5000"}"#, Ok("5000"))]
#[case::fixed_max(r#"{"kind":"fixed","amount":"79228162514264337593543950335"}"#, Ok(GRANT_MAX))]
#[case::per_score(r#"{"kind":"per_unit","field":"score","amount":"10","cap":"100000"}"#, Ok("42000"))]
#[case::per_score_capped(r#"{"kind":"per_unit","field":"score","amount":"10","cap":"41999"}"#, Ok("41999"))]
#[case::per_attribute(r#"{"kind":"per_unit","field":"attributes.level","amount":"3","cap":"100"}"#, Ok("21"))]
#[case::per_max(
    r#"{"kind":"per_unit","field":"score","amount":"79228162514264337593543950335","cap":"79228162514264337593543950335"}"#,
    Ok(GRANT_MAX)
)]
#[case::per_negative(
    r#"{"kind":"per_unit","field":"attributes.debt","amount":"3","cap":"100"}"#,
    Err("zero_reward")
)]
#[case::per_zero(
    r#"{"kind":"per_unit","field":"attributes.zero","amount":"3","cap":"100"}"#,
    Err("zero_reward")
)]
#[case::per_missing(
    r#"{"kind":"per_unit","field":"attributes.none","amount":"3","cap":"100"}"#,
    Err("reward_field_missing")
)]
#[case::per_text(
    r#"{"kind":"per_unit","field":"attributes.tier","amount":"3","cap":"100"}"#,
    Err("reward_field_type")
)]
#[case::per_bool(
    r#"{"kind":"per_unit","field":"attributes.vip","amount":"3","cap":"100"}"#,
    Err("reward_field_type")
)]
#[case::rank(r#"{"kind":"by_rank","amounts":["500","300","100"]}"#, Ok("100"))]
#[case::rank_beyond(r#"{"kind":"by_rank","amounts":["500","300"]}"#, Err("no_reward_for_rank"))]
fn pays(#[case] json: &str, #[case] expected: Result<&str, &str>) {
    let sample = Sample::new().with("debt", Attribute::Int(-5)).with("zero", Attribute::Int(0));
    let reward = reward(json).expect("a reward");
    let paid = reward.amount(&sample.input()).map(|amount| amount.to_string());
    assert_eq!(paid.as_deref().map_err(|reason| reason.code()), expected);
    assert_eq!(serde_json::to_string(&reward).expect("JSON"), json, "it is written as it was read");
}

#[rstest]
#[case(None, Err(NoReward::FieldMissing))]
#[case(Some(0), Err(NoReward::RankBeyondTable))]
#[case(Some(1), Ok(500))]
#[case(Some(2), Ok(300))]
#[case(Some(3), Err(NoReward::RankBeyondTable))]
#[case(Some(u32::MAX), Err(NoReward::RankBeyondTable))]
fn by_rank(#[case] rank: Option<u32>, #[case] expected: Result<u64, NoReward>) {
    let reward = reward(r#"{"kind":"by_rank","amounts":["500","300"]}"#).expect("a reward");
    let sample = Sample { rank, ..Sample::new() };
    assert_eq!(reward.amount(&sample.input()), expected.map(Amount::from));
}

#[test]
fn a_score_of_zero_pays_nothing() {
    let reward = reward(r#"{"kind":"per_unit","field":"score","amount":"1","cap":"1"}"#).expect("a reward");
    let sample = Sample { score: 0, ..Sample::new() };
    assert_eq!(reward.amount(&sample.input()), Err(NoReward::Zero));
}

#[test]
fn refused() {
    let ranks =
        |count: usize| format!(r#"{{"kind":"by_rank","amounts":[{}]}}"#, vec![r#""1""#; count].join(","));
    assert!(reward(&ranks(RANKS_MAX)).is_ok());
    let amounts = [
        "",
        "0",
        "00",
        "05",
        "+5",
        "-5",
        " 5",
        "5 ",
        "5.0",
        "5e3",
        "0x5",
        "1_000",
        "79228162514264337593543950336",
    ];
    let mut sources: Vec<String> =
        amounts.iter().map(|amount| format!(r#"{{"kind":"fixed","amount":"{amount}"}}"#)).collect();
    sources.extend(
        [
            r#"{"kind":"fixed","amount":5000}"#,
            r#"{"kind":"fixed","amount":null}"#,
            r#"{"kind":"fixed"}"#,
            r#"{"kind":"fixed","amount":"1","cap":"5"}"#,
            r#"{"kind":"free","amount":"1"}"#,
            r#"{"amount":"1"}"#,
            r#"{"kind":"per_unit","field":"score","amount":"10","cap":"9"}"#,
            r#"{"kind":"per_unit","field":"score","amount":"0","cap":"9"}"#,
            r#"{"kind":"per_unit","field":"score","amount":"1","cap":"79228162514264337593543950336"}"#,
            r#"{"kind":"per_unit","field":"score","amount":"1"}"#,
            r#"{"kind":"per_unit","field":"rank","amount":"1","cap":"1"}"#,
            r#"{"kind":"per_unit","field":"attributes.","amount":"1","cap":"1"}"#,
            r#"{"kind":"per_unit","field":"outcome.score","amount":"1","cap":"1"}"#,
            r#"{"kind":"by_rank","amounts":[]}"#,
            r#"{"kind":"by_rank","amounts":["1","0"]}"#,
            r#"{"kind":"by_rank","amounts":["79228162514264337593543950336"]}"#,
        ]
        .map(str::to_owned),
    );
    sources.push(ranks(RANKS_MAX + 1));
    let table: Vec<String> = sources
        .iter()
        .map(|source| match reward(source) {
            Ok(reward) => panic!("accepted: {reward:?}"),
            Err(error) => format!("{}\n    {error}", source.chars().take(120).collect::<String>()),
        })
        .collect();
    insta::assert_snapshot!(table.join("\n"));
}

proptest! {
    /// Against wide arithmetic: a unit's amount times the score, at most the cap, never zero, never beyond a grant.
    #[test]
    fn per_unit_is_exact(score in 1..(1_u64 << 53), amount in 1..(1_u128 << 96), room in any::<u64>()) {
        let cap = amount.saturating_add(u128::from(room)).min((1 << 96) - 1);
        let field = "score".parse().expect("a field");
        let reward = PerUnit::new(field, amount.into(), cap.into()).map(Reward::PerUnit).expect("a reward");
        let paid = reward.amount(&Sample { score, ..Sample::new() }.input()).expect("something to pay");
        let exact = amount.checked_mul(u128::from(score)).map_or(cap, |product| product.min(cap));
        prop_assert_eq!(paid, Amount::from(exact));
        prop_assert!(paid <= Amount::GRANT_MAX && !paid.is_zero());
    }

    #[test]
    fn fixed_takes_what_a_grant_can_carry(amount in any::<u128>()) {
        let fits = amount > 0 && amount < 1 << 96;
        prop_assert_eq!(Fixed::new(Amount::from(amount)).is_ok(), fits);
    }
}
