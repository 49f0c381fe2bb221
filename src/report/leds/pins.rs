//! LEDs on output pins.

use embedded_hal::digital::{OutputPin, PinState};

use super::{Led, LedError, Lit, Panel};

/// LEDs on pins of one kind.
pub(super) struct Pins<P> {
    pins: Vec<Pin<P>>,
    active_low: bool,
}

struct Pin<P> {
    led: Led,
    line: u32,
    pin: P,
    /// It failed the last time, and that has been reported.
    failing: bool,
}

impl<P: OutputPin> Pins<P> {
    /// Takes pins, each with its LED and its line's number.
    pub(super) fn new(pins: Vec<(Led, u32, P)>, active_low: bool) -> Self {
        let pin = |(led, line, pin)| Pin { led, line, pin, failing: false };
        Self { pins: pins.into_iter().map(pin).collect(), active_low }
    }
}

impl<P: OutputPin + Send> Panel for Pins<P> {
    fn set(&mut self, lit: Lit) -> Result<(), LedError> {
        let mut failed = Vec::new();
        for Pin { led, line, pin, failing } in &mut self.pins {
            let level = PinState::from(lit.includes(*led) != self.active_low);
            match pin.set_state(level) {
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
