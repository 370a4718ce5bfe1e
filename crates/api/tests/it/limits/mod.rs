//! How much callers may ask for, and how much all of them together.

mod buckets;
mod intake;
mod replicas;
mod shedding;
mod strangers;

use laurel_api::{Class, Rate, Rates};

use crate::world::{Setup, World};

/// A world in which callers may ask for little of one class.
async fn limited(class: Class, quota: u32, window_s: u32) -> World {
    let rates = Rates::GENEROUS.with(class, Rate::new(quota, window_s).unwrap());
    World::of(Setup { rates, ..Setup::default() }).await
}
