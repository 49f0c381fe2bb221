//! LEDs on pins.

use std::fmt::Debug;

use embedded_hal::digital::{OutputPin, PinState};

use super::{Led, LedError, Lit, Panel};

/// What drives an LED's line.
pub(super) trait Driver: Send {
    type Error: Debug;
    /// Whether it can do other than always and never.
    const DIMS: bool;

    /// Keeps the line high for this share of the time (0…1).
    fn set(&mut self, high: f32) -> Result<(), Self::Error>;
}

/// A pin that is high or low.
pub(super) struct Switched<P>(pub P);

impl<P: OutputPin + Send> Driver for Switched<P> {
    type Error = P::Error;
    const DIMS: bool = false;

    fn set(&mut self, high: f32) -> Result<(), P::Error> {
        self.0.set_state(PinState::from(high >= 0.5))
    }
}

/// LEDs on pins of one kind.
pub(super) struct Pins<D> {
    pins: Vec<Pin<D>>,
    active_low: bool,
}

struct Pin<D> {
    led: Led,
    line: u32,
    driver: D,
    /// It failed the last time, and that has been reported.
    failing: bool,
}

impl<D: Driver> Pins<D> {
    /// Takes pins, each with its LED and its line's number.
    pub(super) fn new(pins: Vec<(Led, u32, D)>, active_low: bool) -> Self {
        let pin = |(led, line, driver)| Pin { led, line, driver, failing: false };
        Self { pins: pins.into_iter().map(pin).collect(), active_low }
    }
}

impl<D: Driver> Panel for Pins<D> {
    fn set(&mut self, lit: Lit) -> Result<(), LedError> {
        let mut failed = Vec::new();
        for Pin { led, line, driver, failing } in &mut self.pins {
            let lit =
                if D::DIMS { lit.duty(*led) } else { f32::from(u8::from(lit.includes(*led))) };
            match driver.set(if self.active_low { 1.0 - lit } else { lit }) {
                Ok(()) => *failing = false,
                Err(error) => {
                    if !std::mem::replace(failing, true) {
                        failed.push(format!("{} on line {line}: {error:?}", led.name()));
                    }
                }
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(LedError::Failed { failed }) }
    }
}
