//! `mien` reads the expressions that the faces before a camera show.
//!
//! A frame's way, in the order of the modules:
//!
//! 1. [`camera`] gives grey frames: a V4L2 device, or a replay of files.
//! 2. [`face`] finds faces, cuts each out, and follows them from frame to frame.
//! 3. [`engine`] runs the int8 network; [`classifier`] turns its logits into shares of each
//!    [`expression`].
//! 4. [`kiosk`] is the loop that joins these: newest frame first, still frames skipped.
//! 5. [`report`] tells: events, LEDs, the journal on disk, pictures.
//!
//! A [`button`] pauses it; LEDs and button are on the machine's [`gpio`].
//!
//! [`config`] is what a user may set, [`deployment`] what must be stated before a camera, [`update`] how a
//! kiosk gets another program or model. `lab` (feature
//! `lab`, host only) makes the model file:
//! dataset → network → training → quantization → evaluation.
//!
//! # Terms
//!
//! - *crop*: a face cut out of its frame at the training framing, grey, of the network's size.
//! - *scores*: shares of the seven expressions (sum 1) and, if told, of the two genders (sum 1).
//! - *track*: one face followed through frames; a number, never an identity.
//! - *record*: one entry of the journal: sequence, time, topic, payload.

// What tests of the library and of its programs share says `mien`.
#[cfg(test)]
extern crate self as mien;

pub mod bundled;
pub mod button;
pub mod camera;
pub mod classifier;
pub mod config;
mod cores;
pub mod deployment;
mod disk;
pub mod engine;
pub mod expression;
pub mod face;
pub mod gpio;
pub mod image;
pub mod kiosk;
#[cfg(feature = "lab")]
pub mod lab;
pub mod report;
pub mod update;
