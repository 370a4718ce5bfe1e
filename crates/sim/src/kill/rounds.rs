//! Rounds: trouble while outcomes come in, rest, and a look at the books.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use laurel_events::Clock;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokio::time::sleep;

use super::{
    check,
    door::Door,
    say,
    story::{Played, Player, SCORES, Story, link, register, tell},
    summary::Summary,
    troubles::Trouble,
    world::World,
};

/// Players who come in a round; the last of them link their wallets a round later.
const NEWCOMERS: usize = 4;
const LATE: usize = 1;

/// Game servers that tell of outcomes at the same time.
const SERVERS: usize = 2;

/// The most outcomes of a message.
const BATCH_MAX: usize = 40;

/// The longest that a game server rests between two messages.
const REST_MAX_MS: u64 = 100;

/// Troubles of a round.
const TROUBLES: std::ops::RangeInclusive<usize> = 2..=4;

/// The longest from one trouble to the next.
const GAP_MAX_MS: u64 = 1_000;

/// Runs rounds; gives the story that they made.
pub(super) async fn run(
    world: &mut World,
    rounds: u32,
    seed: u64,
    summary: &mut Summary,
) -> anyhow::Result<Story> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut story = Story::begin(world).await?;
    for round in 1..=rounds {
        let began = world.clock.now();
        let last = round == rounds;
        let played = play(world, &mut story, round, last, &mut rng, summary).await?;
        check::settled(world, &story).await?;
        check::decided(&world.door, &played).await?;
        check::books(world, &story).await?;
        summary.round_is_good(&story, world.clock.now() - began);
    }
    Ok(story)
}

async fn play(
    world: &mut World,
    story: &mut Story,
    round: u32,
    last: bool,
    rng: &mut ChaCha8Rng,
    summary: &mut Summary,
) -> anyhow::Result<Vec<Played>> {
    let late = story.unlinked();
    for number in 0..NEWCOMERS {
        let name = format!("player-{round}-{number}");
        register(&world.door, &name).await?;
        let wallet = match number < NEWCOMERS - LATE || last {
            true => Some(link(&world.door, &name, world.chain_id).await?),
            false => None,
        };
        story.players.insert(name.clone(), Player { name, wallet, grants: 0 });
    }
    let enough = Arc::new(AtomicBool::new(false));
    let names: Arc<[String]> = story.players.keys().cloned().collect();
    let servers: Vec<_> = (0..SERVERS)
        .map(|number| {
            let server = Server {
                door: world.door.clone(),
                clock: Arc::clone(&world.clock),
                names: Arc::clone(&names),
                rng: ChaCha8Rng::seed_from_u64(rng.next_u64()),
                prefix: format!("{round}-{number}"),
            };
            tokio::spawn(server.play(Arc::clone(&enough)))
        })
        .collect();
    let linking = tokio::spawn(link_all(world.door.clone(), late, world.chain_id));
    let mut troubles = Vec::new();
    for _ in 0..rng.random_range(TROUBLES) {
        sleep(Duration::from_millis(rng.random_range(0..GAP_MAX_MS))).await;
        let trouble = Trouble::pick(rng);
        troubles.push(trouble.to_string());
        trouble.strike(world, rng, summary).await?;
    }
    say(&format!("round {round}: {}", troubles.join(", ")));
    enough.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for server in servers {
        let played = server.await??;
        story.note(&played)?;
        all.extend(played);
    }
    for (name, wallet) in linking.await?? {
        story.players.get_mut(&name).expect("it was of the story when it was late").wallet = Some(wallet);
    }
    Ok(all)
}

async fn link_all(
    door: Door,
    names: Vec<String>,
    chain_id: u64,
) -> anyhow::Result<Vec<(String, alloy::primitives::Address)>> {
    let mut linked = Vec::with_capacity(names.len());
    for name in names {
        let wallet = link(&door, &name, chain_id).await?;
        linked.push((name, wallet));
    }
    Ok(linked)
}

/// A game server that repeats until it is heard.
struct Server {
    door: Door,
    clock: Arc<dyn Clock>,
    names: Arc<[String]>,
    rng: ChaCha8Rng,
    prefix: String,
}

impl Server {
    /// Tells of outcomes until it is enough; gives what was acknowledged.
    async fn play(mut self, enough: Arc<AtomicBool>) -> anyhow::Result<Vec<Played>> {
        let mut all = Vec::new();
        while !enough.load(Ordering::Relaxed) {
            let some = self.some(all.len());
            let told: Vec<_> = some.iter().map(|played| played.told(&*self.clock)).collect();
            let told = json!({ "outcomes": told });
            match self.rng.random_range(0..10) {
                // The same from two sides at once, as after a time-out that was none.
                0 => {
                    tokio::try_join!(tell(&self.door, &told), tell(&self.door, &told))?;
                }
                1 => {
                    tell(&self.door, &told).await?;
                    tell(&self.door, &told).await?;
                }
                _ => tell(&self.door, &told).await?,
            }
            all.extend(some);
            sleep(Duration::from_millis(self.rng.random_range(0..REST_MAX_MS))).await;
        }
        Ok(all)
    }

    fn some(&mut self, from: usize) -> Vec<Played> {
        let outcomes = self.rng.random_range(1..=BATCH_MAX);
        (from..from + outcomes)
            .map(|number| Played {
                id: format!("match-{}-{number}", self.prefix),
                player: self.names[self.rng.random_range(0..self.names.len())].clone(),
                score: self.rng.random_range(0..SCORES),
            })
            .collect()
    }
}
