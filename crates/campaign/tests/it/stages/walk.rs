//! A seeded walk through everything that can happen to a campaign's money, with the auditor after every step.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use laurel_campaign::{Caps, Definition, Move, find_campaign};
use laurel_events::{Amount, CampaignId};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::world::{
    World, definition, fixed, outcome,
    settle::{confirmed, mask},
};

const STEPS: u32 = 60;
const PLAYERS: u64 = 5;

/// What the walk itself knows, beside the books.
struct Walk {
    world: World,
    rng: StdRng,
    campaigns: Vec<CampaignId>,
    caps: BTreeMap<CampaignId, u64>,
    /// Grants that were neither paid nor failed.
    open: BTreeSet<(CampaignId, u64)>,
    batches: u128,
}

#[tokio::test]
async fn seed_1() {
    Walk::new(1).await.run().await;
}

#[tokio::test]
async fn seed_2() {
    Walk::new(2).await.run().await;
}

#[tokio::test]
async fn seed_3() {
    Walk::new(3).await.run().await;
}

#[tokio::test]
async fn seed_7() {
    Walk::new(7).await.run().await;
}

/// The caps of a random definition.
fn caps(rng: &mut StdRng) -> Caps {
    Caps {
        grants_per_player: rng.random_bool(0.5).then(|| rng.random_range(1..12)),
        grants_per_player_per_day: rng.random_bool(0.5).then(|| rng.random_range(1..5)),
        amount_per_player: rng.random_bool(0.5).then(|| Amount::from(rng.random_range(10..200_u64))),
        amount_per_player_per_day: rng.random_bool(0.3).then(|| Amount::from(rng.random_range(10..60_u64))),
    }
}

impl Walk {
    async fn new(seed: u64) -> Self {
        let mut walk = Self {
            world: World::new().await,
            rng: StdRng::seed_from_u64(seed),
            campaigns: Vec::new(),
            caps: BTreeMap::new(),
            open: BTreeSet::new(),
            batches: 0,
        };
        for _ in 0..3 {
            let definition = Definition {
                caps: caps(&mut walk.rng),
                reward: fixed(walk.rng.random_range(1..20)),
                ..definition()
            };
            let cap = walk.rng.random_range(50..400);
            let id = walk.world.campaign(&definition, cap).await;
            walk.campaigns.push(id);
            walk.caps.insert(id, cap);
        }
        walk
    }

    async fn run(mut self) {
        let mut taken = BTreeMap::<&str, u32>::new();
        for _ in 0..STEPS {
            let name = self.step().await;
            *taken.entry(name).or_default() += 1;
            self.world.audit().await;
        }
        // A walk that never took a kind of step says nothing about it.
        for name in ["outcomes", "settle", "fail", "fund", "caps", "again", "pause", "day"] {
            assert!(taken.contains_key(name), "{name} was never taken: {taken:?}");
        }
        let (granted, declined) = (
            self.world.number("SELECT sum(grants)::bigint FROM accounts").await,
            self.world.number("SELECT sum(declines)::bigint FROM accounts").await,
        );
        assert!(granted > 20 && declined > 20, "{granted} grants, {declined} declines");
        self.world.finish().await;
    }

    async fn step(&mut self) -> &'static str {
        match self.rng.random_range(0..100) {
            0..35 => self.outcomes().await,
            35..55 => self.settle().await,
            55..65 => self.fail().await,
            65..73 => self.fund().await,
            73..83 => self.change_caps().await,
            83..90 => self.again().await,
            90..95 => self.pause().await,
            _ => {
                self.world.clock.advance(TimeDelta::hours(self.rng.random_range(1..30)));
                "day"
            }
        }
    }

    /// Outcomes of several players; INV 6 holds for whoever got something.
    async fn outcomes(&mut self) -> &'static str {
        let outcomes: Vec<_> = (0..self.rng.random_range(1..25))
            .map(|_| {
                let mut outcome = outcome(self.rng.random_range(0..PLAYERS));
                outcome.score = self.rng.random_range(80..200);
                outcome
            })
            .collect();
        let before = self.granted().await;
        self.world.decide_all(&outcomes).await;
        let new: BTreeMap<_, _> =
            self.granted().await.into_iter().filter(|(grant, _)| !before.contains_key(grant)).collect();
        self.open.extend(new.keys());
        self.audit_caps(&new.into_iter().map(|((campaign, _), player)| (campaign, player)).collect()).await;
        "outcomes"
    }

    async fn granted(&self) -> BTreeMap<(CampaignId, u64), String> {
        let rows: Vec<(i64, i64, String)> =
            sqlx::query_as("SELECT campaign, number, player::text FROM grants")
                .fetch_all(self.world.pool())
                .await
                .unwrap();
        rows.into_iter()
            .map(|(campaign, number, player)| {
                ((CampaignId::try_from(campaign).unwrap(), number.cast_unsigned()), player)
            })
            .collect()
    }

    /// INV 6: whoever was granted something is within the caps that are in force.
    async fn audit_caps(&self, granted: &BTreeSet<(CampaignId, String)>) {
        let used = self.world.used().await;
        let date = self.world.now().date_naive().to_string();
        for (campaign, player) in granted {
            let mut conn = self.world.pool().acquire().await.unwrap();
            let caps = find_campaign(&mut conn, *campaign).await.unwrap().unwrap().definition.caps;
            let of = |period: &str| {
                let key = (campaign.number(), player.clone(), period.to_owned());
                used.get(&key).cloned().unwrap_or((0, "0".to_owned()))
            };
            let (life, day) = (of("1970-01-01"), of(&date));
            let above = |used: i64, cap: Option<u64>| cap.is_some_and(|cap| used.cast_unsigned() > cap);
            assert!(!above(life.0, caps.grants_per_player), "INV 6: {campaign} {player} {life:?} {caps:?}");
            assert!(
                !above(day.0, caps.grants_per_player_per_day),
                "INV 6: {campaign} {player} {day:?} {caps:?}"
            );
            let amount: Amount = life.1.parse().unwrap();
            assert!(
                caps.amount_per_player.is_none_or(|cap| amount <= cap),
                "INV 6: {campaign} {player} {life:?}"
            );
            let today: Amount = day.1.parse().unwrap();
            assert!(
                caps.amount_per_player_per_day.is_none_or(|cap| today <= cap),
                "INV 6: {campaign} {player} {day:?}"
            );
        }
    }

    /// A batch of some open grants of a campaign is final; it paid all of them or some.
    async fn settle(&mut self) -> &'static str {
        let campaign = self.any();
        let numbers: Vec<u64> = self
            .open
            .iter()
            .filter(|(of, _)| *of == campaign)
            .map(|(_, number)| *number)
            .take(self.rng.random_range(1..8))
            .collect();
        if numbers.is_empty() {
            return "nothing";
        }
        self.batches += 1;
        let mut settled = self.world.batch(self.batches, campaign, &numbers).await;
        let paid: Vec<u64> = (0..numbers.len() as u64).filter(|_| self.rng.random_bool(0.8)).collect();
        let each = settled.total.units() / alloy_primitives::U256::from(numbers.len());
        settled.paid = mask(settled.first_seq, paid.iter().map(|at| settled.first_seq + at));
        settled.count = paid.len() as u32;
        settled.total = Amount::new(each * alloy_primitives::U256::from(paid.len()));
        self.world.confirm(confirmed(Some(self.batches), vec![settled])).await;
        // What was not paid has its place and is left alone.
        self.open.retain(|(of, number)| *of != campaign || !numbers.contains(number));
        "settle"
    }

    async fn fail(&mut self) -> &'static str {
        let Some((campaign, number)) = self.open.iter().nth(self.rng.random_range(0..20)).copied() else {
            return "nothing";
        };
        self.world.fail(campaign, number).await;
        self.open.remove(&(campaign, number));
        "fail"
    }

    async fn fund(&mut self) -> &'static str {
        let campaign = self.any();
        let cap = self.caps[&campaign] + self.rng.random_range(0..100);
        self.world.fund(campaign, cap).await;
        self.caps.insert(campaign, cap);
        "fund"
    }

    async fn change_caps(&mut self) -> &'static str {
        let campaign = self.any();
        let caps = caps(&mut self.rng);
        let reads = self.rng.random_bool(0.3);
        self.world
            .change(campaign, |definition| {
                definition.caps = caps;
                let rule =
                    if reads { "player.grants < 9 && outcome.score >= 90" } else { "outcome.score >= 100" };
                definition.rule = rule.to_owned();
            })
            .await;
        "caps"
    }

    /// Everything that the books ever handled is handled again (INV 7).
    async fn again(&mut self) -> &'static str {
        let before = self.world.fingerprint().await;
        self.world.rewind_books().await;
        self.world.keep_books().await;
        assert_eq!(self.world.fingerprint().await, before, "INV 7");
        "again"
    }

    async fn pause(&mut self) -> &'static str {
        let campaign = self.any();
        let mut conn = self.world.pool().acquire().await.unwrap();
        let state = find_campaign(&mut conn, campaign).await.unwrap().unwrap().state;
        drop(conn);
        let action = if state.as_str() == "active" { Move::Pause } else { Move::Resume };
        self.world.transition(campaign, action).await;
        "pause"
    }

    fn any(&mut self) -> CampaignId {
        *self.campaigns.choose(&mut self.rng).unwrap()
    }
}
