//! Outcomes at a rate, while a replica is killed every so often.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, interval_at, sleep},
};

use super::{
    check,
    crew::{REPLICAS, ROLES},
    door::{Door, Failed},
    say,
    story::{Played, Player, SCORES, Story, link, register, taken, tell},
    summary::{Summary, print_tries},
    troubles::Trouble,
    world::World,
};

/// Who plays.
const PLAYERS: usize = 500;

/// Who come at a time.
const AT_ONCE: usize = 8;

/// How often a game server tells of what it has: every hundredth of a second, an open loop that waits for nobody.
const TICK: Duration = Duration::from_millis(10);

/// Messages a second.
const MESSAGES_PER_S: u32 = 100;

/// How long a supervisor takes to start again what was killed.
const DOWN: Duration = Duration::from_secs(1);

/// Of a thousand requests, so many may fail.
const ERRORS_PER_MILLE_MAX: f64 = 1.0;

/// How much, how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) rate: u32,
    pub(super) lasts: Duration,
    pub(super) kill_every: Duration,
}

/// What became of a request: one message of a game server, with its one retry at the other replica.
enum Ended {
    /// An answer that takes every outcome.
    Taken,
    /// An answer that does not: an error.
    Refused(String),
    /// No answer: an error.
    Unanswered(String),
}

/// A request that has ended.
struct Request {
    played: Vec<Played>,
    told: Value,
    ended: Ended,
    took: Duration,
}

/// Runs the load; whether few enough requests failed.
pub(super) async fn run(
    world: &mut World,
    load: &Load,
    seed: u64,
    summary: &mut Summary,
) -> anyhow::Result<bool> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut story = Story::begin(world).await?;
    gather(world, &mut story).await?;
    let names: Arc<[String]> = story.players.keys().cloned().collect();
    let door = world.door.anew();
    let telling = tokio::spawn(tell_all(door.clone(), Arc::clone(&world.clock), names, *load, seed));
    let began = Instant::now();
    let mut next = interval_at(began + load.kill_every, load.kill_every);
    loop {
        next.tick().await;
        // The last one has time to show.
        if began.elapsed() + DOWN * 2 > load.lasts {
            break;
        }
        let trouble = Trouble::Replica(rng.random_range(0..ROLES.len() * REPLICAS));
        say(&format!("{:>4} s: {trouble}", began.elapsed().as_secs()));
        summary.count(&trouble);
        let Trouble::Replica(place) = trouble else { unreachable!("it is a replica") };
        world.crew.kill_9(&[place]).await?;
        sleep(DOWN).await;
        world.crew.start(&[place])?;
    }
    let requests = telling.await??;
    let good = report(&door, &requests, load)?;
    let drained = Instant::now();
    for request in &requests {
        if !matches!(request.ended, Ended::Taken) {
            // Nobody knows whether it was taken; a game server says it until it is.
            tell(&world.door, &request.told).await?;
        }
        story.note(&request.played)?;
    }
    check::settled(world, &story).await?;
    say(&format!("all settled            {:.1} s after the last request", drained.elapsed().as_secs_f64()));
    check::books(world, &story).await?;
    world.finds_nothing(&["audit", "reconcile", "--full"]).await?;
    summary.told(&story);
    Ok(good)
}

async fn gather(world: &World, story: &mut Story) -> anyhow::Result<()> {
    let players = stream::iter((0..PLAYERS).map(|number| format!("player-{number}"))).map(async |name| {
        register(&world.door, &name).await?;
        let wallet = Some(link(&world.door, &name, world.chain_id).await?);
        anyhow::Ok((name.clone(), Player { name, wallet, grants: 0 }))
    });
    story.players = players.buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(())
}

/// An open loop: a message every tick, whatever became of those before.
async fn tell_all(
    door: Door,
    clock: Arc<dyn laurel_events::Clock>,
    names: Arc<[String]>,
    load: Load,
    seed: u64,
) -> anyhow::Result<Vec<Request>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(1));
    let mut tick = interval(TICK);
    // What was missed is made up for: the rate is what is promised.
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let messages = u32::try_from(load.lasts.as_secs())? * MESSAGES_PER_S;
    let mut under_way = JoinSet::new();
    let mut ended = Vec::with_capacity(messages as usize);
    for message in 0..messages {
        let due = tick.tick().await;
        let played: Vec<Played> = (0..load.rate / MESSAGES_PER_S)
            .map(|number| Played {
                id: format!("match-{message}-{number}"),
                player: names[rng.random_range(0..names.len())].clone(),
                score: rng.random_range(0..SCORES),
            })
            .collect();
        let told: Vec<_> = played.iter().map(|played| played.told(&*clock)).collect();
        let told = json!({ "outcomes": told });
        under_way.spawn(request(door.clone(), due, played, told));
        while let Some(request) = under_way.try_join_next() {
            ended.push(request?);
        }
    }
    while let Some(request) = under_way.join_next().await {
        ended.push(request?);
    }
    Ok(ended)
}

async fn request(door: Door, due: Instant, played: Vec<Played>, told: Value) -> Request {
    let ended = match door.request(Method::POST, "/outcomes", Some(&told)).await {
        Ok((status, answer)) if status.is_success() => match taken(&told, &answer) {
            Ok(()) => Ended::Taken,
            Err(error) => Ended::Refused(error.to_string()),
        },
        Ok((status, answer)) => Ended::Refused(format!("{status}: {answer}")),
        Err(Failed(why)) => Ended::Unanswered(why),
    };
    Request { played, told, ended, took: due.elapsed() }
}

fn report(door: &Door, requests: &[Request], load: &Load) -> anyhow::Result<bool> {
    let mut took: Vec<Duration> = requests.iter().map(|request| request.took).collect();
    took.sort_unstable();
    let at = |share: f64| -> anyhow::Result<f64> {
        let place = (took.len() as f64 * share) as usize;
        Ok(took.get(place.min(took.len() - 1)).context("no requests")?.as_secs_f64() * 1_000.0)
    };
    let count = |wanted: fn(&Ended) -> bool| requests.iter().filter(|request| wanted(&request.ended)).count();
    let unanswered = count(|ended| matches!(ended, Ended::Unanswered(_)));
    let refused = count(|ended| matches!(ended, Ended::Refused(_)));
    let share = |part: usize| part as f64 * 100.0 / requests.len() as f64;
    say(&format!(
        "\nload                    {} outcomes/s for {} s, a replica killed every {} s",
        load.rate,
        load.lasts.as_secs(),
        load.kill_every.as_secs()
    ));
    say(&format!("requests                {}", requests.len()));
    say(&format!("answered                {:.4} %", share(requests.len() - unanswered)));
    say(&format!(
        "errors                  {:.4} %: {unanswered} without an answer, {refused} refused",
        share(unanswered + refused)
    ));
    say(&format!(
        "answer after            p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.0} ms",
        at(0.5)?,
        at(0.99)?,
        at(0.999)?,
        at(1.0)?
    ));
    print_tries(&door.tries, &mut std::io::stdout())?;
    for request in requests {
        if let Ended::Refused(why) | Ended::Unanswered(why) = &request.ended {
            say(&format!("  {why}"));
        }
    }
    let errors = unanswered + refused;
    Ok(errors as f64 * 1_000.0 < requests.len() as f64 * ERRORS_PER_MILLE_MAX)
}
