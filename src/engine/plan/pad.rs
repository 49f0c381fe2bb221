//! Margins that a file has as an operation of its own.

use std::ops::Range;

use super::super::window::Margins;
use super::Place;

/// A picture with rows and columns of its zero point around it.
pub struct Pad {
    pub input: Place,
    pub margins: Margins,
    /// As stored.
    pub zero: u8,
    pub output: Place,
}

impl Pad {
    /// Copies some rows of the output.
    pub fn run(&self, picture: &[u8], rows: Range<usize>, out: &mut [u8]) {
        let (step, row_len) = (self.input.step, self.input.width * self.input.step);
        for (row, out) in rows.zip(out.chunks_exact_mut(self.output.width * step)) {
            out.fill(self.zero);
            let from = row.checked_sub(self.margins.top).filter(|row| *row < self.input.height);
            if let Some(from) = from {
                let pixels = &picture[from * row_len..][..row_len];
                out[self.margins.left * step..][..row_len].copy_from_slice(pixels);
            }
        }
    }
}
