//! Structured pruning: whole channels are removed from a trained network, so that what is left is a
//! narrower network of the same kind, faster on any engine.
//!
//! 1. [`groups`] finds which channels can only be removed together.
//! 2. [`importance`] says what each of them is worth.
//! 3. [`plan`] chooses, the least worth for the cost it saves first, until a budget holds.
//! 4. [`cut`] removes them from graph and weights.
//!
//! Between two cuts the network is trained on; [`pareto`] keeps what each was worth.

pub mod cut;
pub mod groups;
pub mod importance;
pub mod pareto;
pub mod plan;

#[cfg(test)]
mod tests;
