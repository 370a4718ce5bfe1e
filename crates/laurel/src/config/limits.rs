//! How much callers may ask for.

use std::time::Duration;

use anyhow::bail;
use laurel_api::{Class, Rate, Rates};
use serde::Deserialize;

/// The largest body, in MiB: with less, it would find no room.
const BODIES_MIB_MIN: u32 = 8;

/// A terabyte, which no machine has for bodies.
const BODIES_MIB_MAX: u32 = 1024 * 1024;

/// How much callers may ask for, each and all together.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Whoever comes to sign in, by address.
    pub(crate) sign_in: Quota,
    /// Whoever somebody wants to be, by name; players by address as well.
    pub(crate) login: Quota,
    /// Requests with credentials that were none, by address.
    pub(crate) failures: Quota,
    /// Changes, by caller.
    pub(crate) write: Quota,
    /// Questions, by caller.
    pub(crate) read: Quota,
    /// Questions that take long, by caller.
    pub(crate) heavy: Quota,
    /// Players that a game server brings.
    pub(crate) players: Quota,
    /// Outcomes, by game server.
    pub(crate) outcomes: Quota,
    /// How many requests of a class may wait for their turn at the database.
    pub(crate) queue_max: usize,
    /// How long a question may wait for its turn.
    pub(crate) queue_ms: u64,
    /// How much of bodies is kept at the same time.
    pub(crate) bodies_mib_max: u32,
    /// How many chunks of the journal may be undecided before no more outcomes are taken.
    pub(crate) lag_chunks_max: i64,
    /// How many connections may be open.
    pub(crate) connections_max: usize,
    /// How many of them one address may have that is no trusted proxy.
    pub(crate) connections_per_address_max: usize,
    /// How long a client may take to send the head of a request, and a connection may be idle.
    pub(crate) head_timeout_ms: u64,
    /// How long a client may take to send a body.
    pub(crate) body_timeout_ms: u64,
    /// How long a client may take nothing of an answer.
    pub(crate) write_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sign_in: Quota::default(),
            login: Quota::default(),
            failures: Quota::default(),
            write: Quota::default(),
            read: Quota::default(),
            heavy: Quota::default(),
            players: Quota::default(),
            outcomes: Quota::default(),
            // As many as are answered in the time that they wait.
            queue_max: 1_000,
            queue_ms: 1_000,
            // 64 of the largest: more than are recorded at the same time.
            bodies_mib_max: 512,
            // About a minute of what the stages decide.
            lag_chunks_max: 250_000,
            // 10,000 clients, and some who come again before they have gone.
            connections_max: 16_384,
            // More than a game server keeps, also an office or a carrier of mobile phones behind one address, and a sixteenth of all.
            connections_per_address_max: 1_024,
            // Far longer than a head takes, and clients open a connection again that was idle for longer.
            head_timeout_ms: 30_000,
            // The largest body at 4 Mbit/s, and still less than a request may take.
            body_timeout_ms: 20_000,
            // As long as a reader of an export may take nothing.
            write_timeout_ms: 30_000,
        }
    }
}

/// A full bucket, and in what time an empty one is full again. What is left out is as it is without a setting.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Quota {
    /// How much at once.
    pub(crate) quota: Option<u32>,
    /// In how many seconds as much again.
    pub(crate) window_s: Option<u32>,
}

impl Limits {
    /// The rates of all classes; those that are not set are as in `others`.
    pub(crate) fn rates(&self, others: Rates) -> anyhow::Result<Rates> {
        let mut rates = others;
        for class in Class::ALL {
            let (key, set) = match class {
                Class::SignIn => ("sign_in", self.sign_in),
                Class::Login => ("login", self.login),
                Class::Failures => ("failures", self.failures),
                Class::Write => ("write", self.write),
                Class::Read => ("read", self.read),
                Class::Heavy => ("heavy", self.heavy),
                Class::Players => ("players", self.players),
                Class::Outcomes => ("outcomes", self.outcomes),
            };
            let other = others.of(class);
            let rate =
                Rate::new(set.quota.unwrap_or(other.quota()), set.window_s.unwrap_or(other.window_s()));
            rates = rates.with(class, rate.map_err(|why| anyhow::anyhow!("limits.{key}: {why}"))?);
        }
        Ok(rates)
    }

    /// How long a question may wait for its turn.
    pub(crate) const fn queue_time(&self) -> Duration {
        Duration::from_millis(self.queue_ms)
    }

    /// How much of bodies is kept at the same time, in KiB.
    pub(crate) const fn bodies_kib_max(&self) -> u32 {
        self.bodies_mib_max.saturating_mul(1024)
    }

    /// How long a client may take to send the head of a request.
    pub(crate) const fn head_timeout(&self) -> Duration {
        Duration::from_millis(self.head_timeout_ms)
    }

    /// How long a client may take to send a body.
    pub(crate) const fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    /// How long a client may take nothing of an answer.
    pub(crate) const fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }

    /// Refuses what could never work, or only harm.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.rates(Rates::STRICT)?;
        if self.lag_chunks_max <= 0 {
            bail!(
                "limits.lag_chunks_max is at least 1, such as 250000: with 0 hardly any outcome would be taken"
            );
        }
        if !(BODIES_MIB_MIN..=BODIES_MIB_MAX).contains(&self.bodies_mib_max) {
            bail!("limits.bodies_mib_max is from {BODIES_MIB_MIN} to {BODIES_MIB_MAX}, such as 512");
        }
        if self.connections_max == 0 {
            bail!("limits.connections_max is at least 1, such as 16384");
        }
        if self.connections_per_address_max == 0 {
            bail!("limits.connections_per_address_max is at least 1, such as 1024");
        }
        if self.head_timeout_ms == 0 || self.body_timeout_ms == 0 || self.write_timeout_ms == 0 {
            bail!(
                "limits.head_timeout_ms, limits.body_timeout_ms and limits.write_timeout_ms are at least 1, such as 30000, \
                 20000 and 30000"
            );
        }
        Ok(())
    }
}
