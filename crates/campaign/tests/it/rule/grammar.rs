//! Random rules that are well typed, and random outcomes for them.

use laurel_events::{Amount, Attribute};
use proptest::prelude::*;

use crate::sample::Sample;

const DEPTH: u32 = 4;

/// A rule over the attributes `i0`, `i1` (ints), `t0`, `t1` (texts) and `b0` (a bool), each of which may be missing.
pub(crate) fn bools() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("outcome.attributes.b0".to_owned()).prop_map(|b| format!("({b} == true)")),
        Just("has(outcome.rank)".to_owned()),
        "(i0|t1|b0)".prop_map(|name| format!("has(outcome.attributes.{name})")),
        "(i0|t1|none)".prop_map(|name| format!("'{name}' in outcome.attributes")),
    ];
    leaf.prop_recursive(DEPTH, 24, 3, |inner| {
        let order = prop::sample::select(&["<", "<=", ">", ">=", "==", "!="][..]);
        let call = prop::sample::select(&["contains", "startsWith", "endsWith"][..]);
        let quantifier = prop::sample::select(&["all", "exists", "exists_one"][..]);
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (ints("0"), order.clone(), ints("1")).prop_map(|(a, o, b)| format!("({a} {o} {b})")),
            (texts(), order.clone(), texts()).prop_map(|(a, o, b)| format!("({a} {o} {b})")),
            (times(), order.clone(), times()).prop_map(|(a, o, b)| format!("({a} {o} {b})")),
            (texts(), call, texts()).prop_map(|(a, f, b)| format!("{a}.{f}({b})")),
            (texts(), "\\^?[a-c]{1,3}[+?]?\\$?").prop_map(|(a, p)| format!("{a}.matches('{p}')")),
            (ints("2"), prop::collection::vec(ints("3"), 0..4))
                .prop_map(|(a, items)| format!("({a} in [{}])", items.join(", "))),
            (texts(), order.clone(), ints("0")).prop_map(|(a, o, b)| format!(
                "(({a} in {{'a': 1, 'b': 2}} ? {{'a': 1, 'b': 2}}[{a}] : 0) {o} {b})"
            )),
            (prop::collection::vec(ints("1"), 0..4), quantifier, order.clone(), ints("x"))
                .prop_map(|(items, q, o, body)| format!("[{}].{q}(x, {body} {o} x)", items.join(", "))),
            (prop::collection::vec(ints("1"), 0..4), order, ints("x"), ints("x")).prop_map(
                |(items, o, a, b)| { format!("(size([{}].map(x, {a} {o} x, {b})) > 1)", items.join(", ")) }
            ),
        ]
    })
    .boxed()
}

/// Whole numbers, small and extreme; `atom` is one more thing that is an int where the rule stands.
fn ints(atom: &'static str) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        Just(atom.to_owned()),
        (-3_i64..4).prop_map(|n| format!("({n})")),
        prop::sample::select(&[i64::MAX, i64::MIN, 1 << 32][..]).prop_map(|n| format!("({n})")),
        Just("outcome.score".to_owned()),
        Just("outcome.rank".to_owned()),
        Just("player.grants".to_owned()),
        "i[01]".prop_map(|name| format!("outcome.attributes.{name}")),
        texts().prop_map(|text| format!("size({text})")),
        "get(FullYear|Month|Date|DayOfMonth|DayOfWeek|DayOfYear|Hours|Minutes|Seconds|Milliseconds)"
            .prop_map(|part| format!("outcome.occurred_at.{part}()")),
    ];
    leaf.prop_recursive(2, 8, 2, |inner| {
        let operator = prop::sample::select(&["+", "-", "*", "/", "%"][..]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, o, b)| format!("({a} {o} {b})")),
            inner.clone().prop_map(|a| format!("-({a})")),
            (inner.clone(), inner).prop_map(|(a, i)| format!("[{a}, 5][{i}]")),
        ]
    })
    .boxed()
}

fn texts() -> BoxedStrategy<String> {
    prop_oneof![
        "[abcé]{0,3}".prop_map(|text| format!("'{text}'")),
        Just("outcome.game".to_owned()),
        "t[01]".prop_map(|name| format!("outcome.attributes.{name}")),
    ]
    .boxed()
}

fn times() -> BoxedStrategy<String> {
    let span = "-?[0-9]{1,3}(ms|s|m|h)".prop_map(|span| format!("duration('{span}')"));
    prop_oneof![
        Just("outcome.occurred_at".to_owned()),
        Just("timestamp('2026-03-14T15:09:26Z')".to_owned()),
        (prop::sample::select(&["+", "-"][..]), span)
            .prop_map(|(o, span)| format!("(outcome.occurred_at {o} {span})")),
    ]
    .boxed()
}

/// Outcomes whose attributes are of the types that [`bools`] expects, where they exist.
pub(crate) fn samples() -> impl Strategy<Value = Sample> {
    let number = || prop::option::of(prop_oneof![-3_i64..4, any::<i64>()]);
    let text = || prop::option::of("[abcé]{0,3}");
    let attributes = (number(), number(), text(), text(), prop::option::of(any::<bool>()));
    let score = prop_oneof![0_u64..5, 0..(1_u64 << 53)];
    (score, prop::option::of(1_u32..5), "[abc]{0,3}", attributes, 0_i64..4_000_000_000_000, 0_u64..4)
        .prop_map(|(score, rank, game, (i0, i1, t0, t1, b0), millis, grants)| {
            let named = [
                ("i0", i0.map(Attribute::Int)),
                ("i1", i1.map(Attribute::Int)),
                ("t0", t0.map(Attribute::Text)),
                ("t1", t1.map(Attribute::Text)),
                ("b0", b0.map(Attribute::Bool)),
            ];
            let attributes =
                named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
            let occurred_at = chrono::DateTime::from_timestamp_millis(millis).expect("within chrono's range");
            Sample { score, rank, game, attributes, occurred_at, grants, amount: Amount::from(grants) }
        })
}
