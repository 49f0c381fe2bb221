//! LEDs as one line of a terminal, redrawn in place.

use std::io::Write;

use super::{Led, LedError, Lit, Panel};
use crate::expression::Expression;

/// Draws a dot and a name for each LED: bright and coloured when lit.
pub(super) struct Terminal<W: Write> {
    out: W,
}

impl<W: Write> Terminal<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> Panel for Terminal<W> {
    /// A terminal that is gone takes no drawing, and is no error: nobody is watching.
    fn set(&mut self, lit: Lit) -> Result<(), LedError> {
        let dots = Led::ALL.map(|led| {
            if lit.includes(led) {
                format!("\x1b[1;{}m● {}\x1b[0m", colour(led), label(led))
            } else {
                format!("\x1b[2m○ {}\x1b[0m", label(led))
            }
        });
        // Draws over the last drawing, clears what lies right of it, and goes back to the line's
        // start, so that a message printed in between takes the line over.
        let _ = write!(self.out, "\r{}\x1b[K\r", dots.join("  "));
        let _ = self.out.flush();
        Ok(())
    }

    fn is_drawing(&self) -> bool {
        true
    }
}

impl<W: Write> Drop for Terminal<W> {
    fn drop(&mut self) {
        let _ = writeln!(self.out);
        let _ = self.out.flush();
    }
}

/// Short enough for all eight in 80 columns.
fn label(led: Led) -> &'static str {
    match led {
        Led::FaceSeen => "face",
        led => led.name(),
    }
}

/// ANSI foreground colours.
fn colour(led: Led) -> u8 {
    match led {
        Led::Showing(Expression::Angry) => 31,
        Led::Showing(Expression::Disgust) => 32,
        Led::Showing(Expression::Happy) => 33,
        Led::Showing(Expression::Sad) => 34,
        Led::Showing(Expression::Fear) => 35,
        Led::Showing(Expression::Surprise) => 36,
        Led::Showing(Expression::Neutral) => 37,
        Led::FaceSeen => 92,
    }
}
