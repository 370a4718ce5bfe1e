//! Fault points: places where a simulation may stop a task, give it up, or have it fail.
//!
//! A thread on which no simulation runs passes through them. On a thread that [`simulate`]s, a task that reaches one is
//! pending once, without a wake: whoever polls it sees [`reached`], and either polls it again, or drops it, as a crash
//! would, or has it [`fail`] first.

mod planted;
mod unlocked;

use std::{
    cell::RefCell,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

pub use self::planted::{Bug, Planted, is_planted, plant};
pub(crate) use self::unlocked::{claim_unlocked, read_accounts};

/// Which side of an effect a fault point is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// It has not happened.
    Before,
    /// It has happened, and nobody was told.
    After,
}

/// A fault point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// The place in the program.
    pub at: &'static str,
    /// The side of the effect.
    pub side: Side,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Before => "before",
            Side::After => "after",
        };
        write!(f, "{side} {}", self.at)
    }
}

#[derive(Debug, Default)]
struct Simulation {
    reached: Option<Point>,
    failing: bool,
}

thread_local! {
    static SIMULATION: RefCell<Option<Simulation>> = const { RefCell::new(None) };
}

/// Has tasks on this thread stop at fault points until the guard is dropped.
#[must_use]
pub fn simulate() -> Guard {
    SIMULATION.with_borrow_mut(|simulation| *simulation = Some(Simulation::default()));
    Guard(())
}

/// Ends a simulation.
#[derive(Debug)]
pub struct Guard(());

impl Drop for Guard {
    fn drop(&mut self) {
        SIMULATION.with_borrow_mut(|simulation| *simulation = None);
    }
}

/// The fault point that the task reached that was polled last, told once.
pub fn reached() -> Option<Point> {
    SIMULATION.with_borrow_mut(|simulation| simulation.as_mut()?.reached.take())
}

/// Has the task that is polled next go on with an error: the connection broke.
pub fn fail() {
    SIMULATION.with_borrow_mut(|simulation| {
        if let Some(simulation) = simulation {
            simulation.failing = true;
        }
    });
}

/// A fault point.
///
/// # Errors
/// If a simulation wants it so.
pub fn reach(at: &'static str, side: Side) -> impl Future<Output = sqlx::Result<()>> + Send {
    Reach { point: Point { at, side }, stopped: false }
}

struct Reach {
    point: Point,
    stopped: bool,
}

impl Future for Reach {
    type Output = sqlx::Result<()>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let (point, stopped) = (self.point, self.stopped);
        self.stopped = true;
        SIMULATION.with_borrow_mut(|simulation| {
            let Some(simulation) = simulation else { return Poll::Ready(Ok(())) };
            if !stopped {
                simulation.reached = Some(point);
                return Poll::Pending;
            }
            if std::mem::take(&mut simulation.failing) {
                let broken = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "a simulated fault");
                return Poll::Ready(Err(sqlx::Error::Io(broken)));
            }
            Poll::Ready(Ok(()))
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn without_a_simulation_it_is_passed() {
        assert!(reach("here", Side::Before).now_or_never().unwrap().is_ok());
        assert_eq!(reached(), None);
    }

    #[test]
    fn a_task_stops_once_and_goes_on_as_it_is_told() {
        let _simulation = simulate();
        let mut task = Box::pin(async {
            reach("here", Side::Before).await.unwrap();
            reach("here", Side::After).await
        });
        assert!((&mut task).now_or_never().is_none());
        assert_eq!(reached(), Some(Point { at: "here", side: Side::Before }));
        assert_eq!(reached(), None);
        assert!((&mut task).now_or_never().is_none());
        assert_eq!(reached(), Some(Point { at: "here", side: Side::After }));
        fail();
        assert!(matches!(task.now_or_never(), Some(Err(sqlx::Error::Io(_)))));
    }
}
