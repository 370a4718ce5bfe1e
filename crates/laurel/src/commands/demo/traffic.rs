//! A synthetic game server: reports outcomes over REST.

use std::sync::Arc;

use laurel_events::{Clock, OrgId, OutcomeKey, time_ordered};
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    probe::Probe,
    world::{Rest, World},
};

/// Outcomes per request.
const REQUEST_OUTCOMES: usize = 200;

/// The demo's organisation and the subject that an API without sign-in gives to callers.
const ORG: OrgId = OrgId(1);
const ISSUER: &str = "local";

/// Reports `outcomes` outcomes of random players, as fast as the API takes them.
pub(crate) async fn report_outcomes(
    url: &str,
    world: &World,
    outcomes: u32,
    probe: &Probe,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<()> {
    let rest = Rest::new(url);
    let mut rng = StdRng::seed_from_u64(u64::from(outcomes));
    let mut ids = StdRng::from_os_rng();
    let mut left = outcomes as usize;
    while left > 0 {
        let count = left.min(REQUEST_OUTCOMES);
        left -= count;
        let batch: Vec<Value> = (0..count)
            .map(|_| {
                let id = time_ordered(clock.now(), &mut ids).to_string();
                outcome(&mut rng, world, id, &*clock)
            })
            .collect();
        let keys: Vec<OutcomeKey> = batch
            .iter()
            .filter_map(|outcome| outcome["outcome_id"].as_str())
            .map(|id| OutcomeKey::derive(ORG, ISSUER, id))
            .collect();
        let answer = rest.call(Method::POST, "/outcomes", Some(&json!({ "outcomes": batch }))).await?;
        if answer["accepted"] != count {
            anyhow::bail!("not every outcome was accepted: {answer}");
        }
        probe.accepted(clock.now(), keys.into_iter());
    }
    Ok(())
}

fn outcome(rng: &mut StdRng, world: &World, id: String, clock: &dyn Clock) -> Value {
    let player = &world.players[rng.random_range(0..world.players.len())];
    let game = ["quiz", "arena", "runner"][rng.random_range(0..3)];
    let mut outcome = json!({
        "outcome_id": id, "game": game, "player_id": player, "score": rng.random_range(0..=100),
        "occurred_at": clock.now(),
    });
    if game == "arena" {
        outcome["rank"] = rng.random_range(1..=8).into();
    }
    outcome
}
