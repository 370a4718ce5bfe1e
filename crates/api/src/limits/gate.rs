//! Turns at the database, and room for bodies: so many at a time, a short queue before them, and beyond that nobody.

use std::{sync::Arc, time::Duration};

use prometheus::{Histogram, IntCounter, IntGauge};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{Class, LimitMetrics};
use crate::Problem;

/// How much longer those wait for their turn who cannot do without: outcomes, players and sign-ins.
const PATIENCE: u32 = 4;

/// How many requests may be under way, and wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GateSettings {
    /// Connections to the database.
    pub(crate) connections: u32,
    /// Connections for reads.
    pub(crate) read_connections: u32,
    /// How many requests of a class may wait.
    pub(crate) queue_max: usize,
    /// How long a question may wait.
    pub(crate) queue_time: Duration,
    /// How much of bodies is kept at the same time, in KiB.
    pub(crate) bodies_kib_max: u32,
}

/// The gates of all classes. Each class has turns of its own, so that no other can take them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Gates {
    gates: Arc<[Gate; Class::ALL.len()]>,
    /// A permit for each KiB of a body.
    room: Arc<Semaphore>,
    bodies_kib_max: u32,
}

/// A turn. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: OwnedSemaphorePermit,
    in_flight: IntGauge,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.in_flight.dec();
    }
}

#[derive(Debug)]
struct Gate {
    turns: Arc<Semaphore>,
    /// For those who wait.
    places: Semaphore,
    queue_time: Duration,
    shed_total: IntCounter,
    in_flight: IntGauge,
    queue_seconds: Histogram,
}

impl Gates {
    pub(crate) fn new(settings: GateSettings, metrics: &LimitMetrics) -> Self {
        let bodies_kib_max = settings.bodies_kib_max;
        Self {
            gates: Arc::new(Class::ALL.map(|class| Gate::new(class, settings, metrics))),
            room: Arc::new(Semaphore::new(bodies_kib_max as usize)),
            bodies_kib_max,
        }
    }

    /// A turn.
    ///
    /// # Errors
    /// 503 if too many wait, or it takes too long.
    pub(crate) async fn enter(&self, class: Class) -> Result<Turn, Problem> {
        self.gates[class as usize].enter().await.ok_or_else(Problem::overloaded)
    }

    /// Room for a body, until it is dropped. It is waited for as long as for a turn.
    ///
    /// # Errors
    /// 503 if that takes too long.
    pub(crate) async fn make_room(
        &self,
        class: Class,
        bytes: usize,
    ) -> Result<OwnedSemaphorePermit, Problem> {
        let gate = &self.gates[class as usize];
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(self.bodies_kib_max);
        let room = tokio::time::timeout(gate.queue_time, self.room.clone().acquire_many_owned(kib)).await;
        room.ok().and_then(Result::ok).ok_or_else(|| {
            gate.shed_total.inc();
            Problem::overloaded()
        })
    }
}

impl Gate {
    fn new(class: Class, settings: GateSettings, metrics: &LimitMetrics) -> Self {
        let patience = match class {
            Class::Outcomes | Class::Players | Class::SignIn | Class::Login | Class::Failures => PATIENCE,
            Class::Write | Class::Read | Class::Heavy => 1,
        };
        let label = &[class.as_str()];
        Self {
            turns: Arc::new(Semaphore::new(turns(class, settings).max(1))),
            places: Semaphore::new(settings.queue_max),
            queue_time: settings.queue_time * patience,
            shed_total: metrics.shed_total.with_label_values(label),
            in_flight: metrics.in_flight.with_label_values(label),
            queue_seconds: metrics.queue_seconds.with_label_values(label),
        }
    }

    async fn enter(&self) -> Option<Turn> {
        let began = Instant::now();
        let turn = match self.turns.clone().try_acquire_owned() {
            Ok(turn) => Some(turn),
            Err(_) => self.wait().await,
        };
        self.queue_seconds.observe(began.elapsed().as_secs_f64());
        if turn.is_none() {
            self.shed_total.inc();
        }
        turn.map(|permit| {
            self.in_flight.inc();
            Turn { _permit: permit, in_flight: self.in_flight.clone() }
        })
    }

    async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        let _place = self.places.try_acquire().ok()?;
        tokio::time::timeout(self.queue_time, self.turns.clone().acquire_owned()).await.ok()?.ok()
    }
}

/// How many of a class may be under way. Together about twice what there are connections: while one waits for something else, another
/// has its connection; outcomes alone never have all of them. Questions are more than their connections, because each first asks the
/// other database who is calling.
const fn turns(class: Class, settings: GateSettings) -> usize {
    let (connections, readers) = (settings.connections as usize, settings.read_connections as usize);
    match class {
        Class::Outcomes => connections * 3 / 4,
        Class::Write => connections.div_ceil(2),
        Class::Players | Class::SignIn | Class::Login | Class::Failures => connections.div_ceil(4),
        Class::Read => readers * 2,
        Class::Heavy => readers.div_ceil(2),
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    const SETTINGS: GateSettings = GateSettings {
        connections: 4,
        read_connections: 1,
        queue_max: 1,
        queue_time: Duration::from_secs(1),
        bodies_kib_max: 8,
    };

    #[tokio::test(start_paused = true)]
    async fn whoever_finds_no_turn_in_time_is_shed_and_nobody_of_another_class() {
        let metrics = LimitMetrics::register(&Registry::new()).unwrap();
        let gates = Gates::new(SETTINGS, &metrics);
        let first = gates.enter(Class::Read).await.unwrap();
        let second = gates.enter(Class::Read).await.unwrap();
        let began = Instant::now();
        let (waited, no_place) = tokio::join!(gates.enter(Class::Read), async {
            let _others = (gates.enter(Class::Outcomes).await.unwrap(), gates.enter(Class::Outcomes).await);
            let crowd = [(); 3].map(|()| gates.enter(Class::Read));
            futures::future::join_all(crowd).await
        });
        assert!(waited.is_err() && no_place.iter().all(Result::is_err));
        assert_eq!(began.elapsed(), SETTINGS.queue_time);
        assert_eq!(metrics.shed_total.with_label_values(&["read"]).get(), 4);
        assert_eq!(metrics.in_flight.with_label_values(&["read"]).get(), 2);
        drop(first);
        let third = gates.enter(Class::Read).await.unwrap();
        drop((second, third));
        assert_eq!(metrics.in_flight.with_label_values(&["read"]).get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_of_all_classes_share_the_room_and_whoever_finds_none_in_time_is_shed() {
        let metrics = LimitMetrics::register(&Registry::new()).unwrap();
        let gates = Gates::new(SETTINGS, &metrics);
        let small = gates.make_room(Class::Write, 1).await.unwrap();
        let large = gates.make_room(Class::Outcomes, 7 * 1024).await.unwrap();
        let began = Instant::now();
        assert!(gates.make_room(Class::Write, 1).await.is_err());
        assert_eq!(began.elapsed(), SETTINGS.queue_time);
        assert!(gates.make_room(Class::Outcomes, 1).await.is_err());
        assert_eq!(began.elapsed(), SETTINGS.queue_time * (1 + PATIENCE));
        assert_eq!(metrics.shed_total.with_label_values(&["write"]).get(), 1);
        drop(small);
        assert!(gates.make_room(Class::Write, 1024).await.is_ok());
        drop(large);
        // What would never find room gets all of it.
        assert!(gates.make_room(Class::Outcomes, 1024 * 1024).await.is_ok());
    }
}
