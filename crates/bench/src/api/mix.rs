//! What is asked for, and by whom: as many as there are players and people, so that no one of them asks for much.

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use laurel_api::{Role, TokenKey};
use rand::{Rng, rngs::StdRng};

/// How long the tokens are good: longer than the load lasts.
const TOKEN_LIFETIME: TimeDelta = TimeDelta::hours(2);

/// How many people watch campaigns.
const MANAGERS: usize = 200;

/// How many of their grants players look at: what a screen holds.
const SCREEN: u32 = 10;

/// How many game servers report.
const SERVERS: usize = 20;

/// How often each kind of request is sent, of a hundred.
const SHARES: [(Kind, u32); 9] = [
    (Kind::Statistics, 25),
    (Kind::PlayersGrants, 17),
    (Kind::PlayersTokens, 12),
    (Kind::Grant, 12),
    (Kind::Campaign, 10),
    (Kind::PlayerByManager, 2),
    (Kind::GrantsPage, 2),
    (Kind::Outcome, 17),
    (Kind::Player, 3),
];

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A dashboard looks at a campaign's statistics.
    Statistics,
    /// A player looks at what they earned.
    PlayersGrants,
    /// A player looks at what they have.
    PlayersTokens,
    /// A game server looks at a grant with its way.
    Grant,
    /// A manager looks at a campaign.
    Campaign,
    /// A manager looks at a player, of which the audit log keeps a record.
    PlayerByManager,
    /// A manager turns the pages of a campaign's grants.
    GrantsPage,
    /// A game server reports an outcome.
    Outcome,
    /// A game server tells of a player.
    Player,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Statistics => "a campaign's statistics",
            Self::PlayersGrants => "a player's grants, by the player",
            Self::PlayersTokens => "a player's tokens, by the player",
            Self::Grant => "a grant with its way",
            Self::Campaign => "a campaign",
            Self::PlayerByManager => "a player, by a manager: kept in the log",
            Self::GrantsPage => "grants of a campaign: kept in the log",
            Self::Outcome => "an outcome is reported",
            Self::Player => "a player is told of",
        }
    }
}

/// A request.
pub(super) struct Ask {
    pub(super) kind: Kind,
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) authorization: String,
    pub(super) body: Option<String>,
}

/// Who asks for what.
pub(super) struct Mix {
    campaigns: u64,
    grants: u64,
    players: Vec<String>,
    managers: Vec<String>,
    servers: Vec<String>,
}

impl Mix {
    pub(super) fn new(key: &TokenKey, campaigns: u64, players: u64, grants: u64) -> anyhow::Result<Self> {
        let now = Utc::now();
        let mint = |role, subject: String| {
            let token =
                key.mint(now, TOKEN_LIFETIME, role, "default", &subject).context("minting a token")?;
            anyhow::Ok(format!("Bearer {token}"))
        };
        let players = (0..players).map(|at| mint(Role::Player, format!("player-{at}")));
        let managers = (0..MANAGERS).map(|at| mint(Role::Manager, format!("manager-{at}")));
        let servers = (0..SERVERS).map(|at| mint(Role::GameServer, format!("server-{at}")));
        Ok(Self {
            campaigns,
            grants,
            players: players.collect::<anyhow::Result<_>>()?,
            managers: managers.collect::<anyhow::Result<_>>()?,
            servers: servers.collect::<anyhow::Result<_>>()?,
        })
    }

    /// The next request; `number` is nobody else's.
    pub(super) fn ask(&self, rng: &mut StdRng, number: u64, now: DateTime<Utc>) -> Ask {
        let mut point = rng.random_range(0..100);
        let kind = SHARES.iter().find(|(_, share)| {
            let is_here = point < *share;
            point = point.saturating_sub(*share);
            is_here
        });
        let kind = kind.map_or(Kind::Statistics, |(kind, _)| *kind);
        let campaign = rng.random_range(1..=self.campaigns);
        let place = rng.random_range(0..self.grants / self.campaigns);
        let player = rng.random_range(0..self.players.len());
        let manager = &self.managers[rng.random_range(0..self.managers.len())];
        let server = &self.servers[rng.random_range(0..self.servers.len())];
        let get = |path: String, authorization: &String| Ask {
            kind,
            method: "GET",
            path,
            authorization: authorization.clone(),
            body: None,
        };
        match kind {
            Kind::Statistics => get(format!("/campaigns/{campaign}/statistics"), manager),
            Kind::PlayersGrants => {
                get(format!("/players/player-{player}/grants?limit={SCREEN}"), &self.players[player])
            }
            Kind::PlayersTokens => get(format!("/players/player-{player}/tokens"), &self.players[player]),
            Kind::Grant => get(format!("/grants/{campaign}-{place}"), server),
            Kind::Campaign => get(format!("/campaigns/{campaign}"), manager),
            Kind::PlayerByManager => get(format!("/players/player-{player}"), manager),
            Kind::GrantsPage => {
                get(format!("/grants?campaign_id={campaign}&cursor={campaign}-{place}"), manager)
            }
            Kind::Outcome => Ask {
                method: "POST",
                body: Some(format!(
                    r#"{{"outcomes":[{{"outcome_id":"o-{number}","game":"quiz","player_id":"player-{player}","score":{},"occurred_at":"{}"}}]}}"#,
                    rng.random_range(0..100),
                    now.to_rfc3339(),
                )),
                ..get("/outcomes".to_owned(), server)
            },
            Kind::Player => {
                Ask { method: "PUT", ..get(format!("/players/new-{}", rng.random_range(0..100_000)), server) }
            }
        }
    }
}
