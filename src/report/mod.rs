//! Telling what was seen: [`event`] says what is worth telling, [`leds`] shows it, [`journal`]
//! keeps it, [`mqtt`] sends it on, [`picture`] draws it.

pub mod event;
pub mod journal;
pub mod leds;
pub mod mqtt;
pub mod picture;
#[cfg(test)]
mod wear;
