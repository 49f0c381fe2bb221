//! What the outside sees: [`leds`] light up, the [`journal`] remembers.

pub mod journal;
pub mod leds;
