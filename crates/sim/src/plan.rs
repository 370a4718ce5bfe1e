//! What a world is made of, before anything goes wrong: campaigns, players, outcomes, and in which requests they come.

use std::{collections::VecDeque, time::Duration};

use alloy::{
    primitives::{Address, aliases::U96, keccak256},
    sol_types::SolCall,
};
use laurel_campaign::{
    By, Caps, Definition, Move, create_campaign, move_campaign,
    reward::{Fixed, PerUnit, Reward},
};
use laurel_chain::{LaneSigner, RewardVault, Terms};
use laurel_events::{Amount, CampaignId, LaneId, PlayerId, time_ordered};
use laurel_grant_saga::register_lane;
use laurel_ledger::{Context, Vault, pin_vault, recognise};
use laurel_players::put_player;
use rand::{Rng, RngCore, seq::SliceRandom};
use sqlx::PgPool;

use crate::{
    clients::{ORG, Request, Told},
    genesis::{CHAIN_ID, CONTRACT_WALLETS, Genesis, LANES, contract_wallet, lane_key},
};

/// Players of a world.
const PLAYERS: usize = 7;

/// The first so many of them have keys of their own as wallets, the next ones contracts; the last ones never link any.
pub(crate) const KEY_WALLETS: usize = 4;

/// How large a world is. Most are small: what counts is how much differs between many of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) outcomes: usize,
    /// Steps before it comes to rest.
    pub(crate) steps: u64,
}

impl Size {
    fn of_chance(rng: &mut dyn RngCore) -> Self {
        let (outcomes, steps) = match rng.random_range(0..20) {
            0..19 => (50..=60, 300..=340),
            _ => (60..=90, 350..=500),
        };
        Self { outcomes: rng.random_range(outcomes), steps: rng.random_range(steps) }
    }
}

/// Outcomes of a request, at the most.
const REQUEST_OUTCOMES_MAX: usize = 9;

/// The caps of campaigns that have little: of each a few grants.
const LITTLE: [u64; 3] = [6_000, 1_500, 400];

/// The games.
const GAMES: [&str; 2] = ["quiz", "battle"];

/// What is in a world.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) vault: Vault,
    pub(crate) lanes: Vec<LaneId>,
    pub(crate) campaigns: Vec<Planned>,
    /// What is still to come.
    pub(crate) requests: VecDeque<Request>,
    /// Everything that game servers and players tell, in the order in which they do.
    pub(crate) told: Vec<Request>,
    pub(crate) size: Size,
    /// How long a grant is tried that its recipient refuses, before it is cancelled on the chain.
    pub(crate) give_up_refused: Duration,
}

/// A campaign of a world.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) id: CampaignId,
    pub(crate) token: Address,
    pub(crate) cap: u64,
}

/// The secret of a player's key: any 32 bytes are one.
pub(crate) fn secret(player: usize) -> String {
    keccak256(format!("player {player}")).to_string()
}

impl Plan {
    /// Leaves the campaigns little money, so that others are granted what comes back.
    pub(crate) fn run_short(&mut self) {
        for (campaign, cap) in self.campaigns.iter_mut().zip(LITTLE) {
            campaign.cap = cap;
        }
    }

    /// Makes campaigns, players and lanes in the database, and says what is to come.
    pub(crate) async fn make(
        pool: &PgPool,
        genesis: &Genesis,
        context: &Context,
        rng: &mut (dyn RngCore + Send),
    ) -> anyhow::Result<Self> {
        let mut tx = pool.begin().await?;
        // As whoever connects does.
        recognise(&mut tx, context.now, time_ordered(context.now, rng)).await?;
        let vault = pin_vault(&mut tx, &genesis.identity).await?;
        let mut lanes = Vec::with_capacity(LANES);
        for lane in 0..LANES {
            lanes.push(register_lane(&mut tx, vault.id, lane_key(lane).address(), Some("sim"), 0).await?);
        }
        let mut campaigns = Vec::new();
        for (definition, cap) in definitions(genesis)? {
            let id =
                create_campaign(&mut tx, context, rng, ORG, By::somebody("manager"), &definition).await?;
            move_campaign(&mut tx, context, ORG, id, Move::Activate, By::somebody("manager")).await?;
            campaigns.push(Planned { id, token: definition.token, cap });
        }
        let mut players = Vec::with_capacity(PLAYERS);
        for number in 0..PLAYERS {
            let (player, _) = put_player(&mut tx, context, rng, ORG, &format!("player-{number}")).await?;
            players.push(player.id);
        }
        tx.commit().await?;
        let size = Size::of_chance(rng);
        let requests = requests(&players, size.outcomes, rng);
        let give_up_refused = Duration::from_secs(if rng.random_bool(0.5) { 4 } else { 600 });
        let told = requests.iter().cloned().collect();
        Ok(Self { vault, lanes, campaigns, requests, told, size, give_up_refused })
    }
}

/// A campaign with plenty, one that runs out and caps its players, and one whose token refuses recipients.
fn definitions(genesis: &Genesis) -> anyhow::Result<[(Definition, u64); 3]> {
    let plain = Definition {
        name: "Plain".to_owned(),
        chain_id: CHAIN_ID,
        token: genesis.deployed.token,
        games: vec!["quiz".to_owned()],
        rule: "outcome.score >= 40".to_owned(),
        reward: Reward::Fixed(Fixed::new(Amount::from(1_000_u64))?),
        caps: Caps::default(),
        starts_at: None,
        ends_at: None,
        windows: None,
        only_allowed: false,
        wallet_deadline_hours: 1,
    };
    let capped = Definition {
        name: "Capped".to_owned(),
        games: GAMES.map(str::to_owned).to_vec(),
        rule: "outcome.score >= 60".to_owned(),
        reward: Reward::PerUnit(PerUnit::new("score".parse()?, Amount::from(3_u64), Amount::from(280_u64))?),
        caps: Caps {
            grants_per_player: Some(3),
            amount_per_player: Some(Amount::from(700_u64)),
            ..Caps::default()
        },
        ..plain.clone()
    };
    let fussy = Definition {
        name: "Fussy".to_owned(),
        token: genesis.fussy,
        games: vec!["battle".to_owned()],
        rule: "outcome.score >= 30".to_owned(),
        reward: Reward::Fixed(Fixed::new(Amount::from(77_u64))?),
        caps: Caps { grants_per_player_per_day: Some(6), ..Caps::default() },
        ..plain.clone()
    };
    Ok([(plain, 1_000_000), (capped, 3_000), (fussy, 100_000)])
}

/// The call with which the vault's owner opens a campaign.
pub(crate) fn open_call(genesis: &Genesis, campaign: &Planned) -> Vec<u8> {
    let terms = Terms {
        token: campaign.token,
        batch: campaign.token == genesis.deployed.token,
        grantGas: 100_000,
        cap: U96::from(campaign.cap),
        windowLimit: U96::ZERO,
        window: 0,
    };
    RewardVault::openCall { campaign: campaign.id.on_chain(), terms }.abi_encode()
}

/// Outcomes and links, in an order of chance.
fn requests(players: &[PlayerId], outcomes: usize, rng: &mut dyn RngCore) -> VecDeque<Request> {
    let mut requests: Vec<Request> = Vec::new();
    let mut number = 0;
    while number < outcomes {
        // A match has two players: their outcomes come together.
        let both = [(); 2].map(|()| players[rng.random_range(0..players.len())]);
        let game = GAMES[rng.random_range(0..GAMES.len())];
        let to = (number + rng.random_range(1..=REQUEST_OUTCOMES_MAX)).min(outcomes);
        let told = (number..to).map(|number| Told {
            number,
            player: both[number % both.len()],
            game,
            score: rng.random_range(0..=100),
        });
        requests.push(Request::Outcomes(told.collect()));
        number = to;
    }
    for (number, player) in players.iter().enumerate() {
        if number < KEY_WALLETS {
            requests.push(Request::LinkKey { player: *player, secret: secret(number) });
        } else if let Some(wallet) = u8::try_from(number - KEY_WALLETS).ok().filter(|n| *n < CONTRACT_WALLETS)
        {
            requests.push(Request::LinkContract { player: *player, wallet: contract_wallet(wallet) });
        }
    }
    requests.shuffle(rng);
    requests.into()
}
