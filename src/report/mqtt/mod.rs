//! Sends the journal's records to an MQTT broker, and tells Home Assistant of the kiosk.
//!
//! The journal is the source of truth: what a broker has not acknowledged is read from there
//! again, across restarts of either. `docs/mqtt.md` has topics and payloads.
//!
//! - [`forwarder`] is the thread that does it; [`session`] one connection, [`window`] what is under
//!   way in it, [`backoff`] the wait between two.
//! - [`broker`] is how to get there, [`options`] what a user sets of that.
//! - [`message`], [`metrics`], [`home_assistant`] and [`commands`] are what is said, [`topics`]
//!   where.

#[cfg(feature = "mqtt")]
mod backoff;
#[cfg(feature = "mqtt")]
mod broker;
#[cfg(feature = "mqtt")]
pub mod commands;
#[cfg(feature = "mqtt")]
mod error;
#[cfg(feature = "mqtt")]
mod forwarder;
#[cfg(feature = "mqtt")]
mod home_assistant;
#[cfg(feature = "mqtt")]
mod message;
#[cfg(feature = "mqtt")]
mod metrics;
pub mod options;
#[cfg(feature = "mqtt")]
mod session;
#[cfg(feature = "mqtt")]
mod topics;
#[cfg(feature = "mqtt")]
mod window;

#[cfg(feature = "mqtt")]
pub use error::MqttError;
#[cfg(feature = "mqtt")]
pub use forwarder::{Forwarder, Obey, Setup, check, check_files, remove_discovery};

/// The status of a kiosk that is connected.
#[cfg(feature = "mqtt")]
const ONLINE: &str = "online";
/// The status of one that is not.
#[cfg(feature = "mqtt")]
const OFFLINE: &str = "offline";
