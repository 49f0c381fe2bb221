//! Zeros around a picture, or between its pixels, as an operation of their own.

use std::ops::Range;

use super::super::window::Margins;
use super::Place;

/// A picture with rows and columns of its zero point around it or between its pixels.
pub struct Pad {
    pub input: Place,
    /// Rows above it and columns to its left; others fill up the output.
    pub margins: Margins,
    /// Rows and columns from one of its pixels to the next.
    pub step: [usize; 2],
    /// As stored.
    pub zero: u8,
    pub output: Place,
}

impl Pad {
    /// Copies some rows of the output.
    pub fn run(&self, picture: &[u8], rows: Range<usize>, out: &mut [u8]) {
        let (len, [down, along]) = (self.input.step, self.step);
        let row_len = self.input.width * len;
        for (row, out) in rows.zip(out.chunks_exact_mut(self.output.width * len)) {
            out.fill(self.zero);
            let from = row.checked_sub(self.margins.top).filter(|row| row.is_multiple_of(down));
            let Some(from) = from.map(|row| row / down).filter(|row| *row < self.input.height)
            else {
                continue;
            };
            let (pixels, out) =
                (&picture[from * row_len..][..row_len], &mut out[self.margins.left * len..]);
            if along == 1 {
                out[..row_len].copy_from_slice(pixels);
                continue;
            }
            let places = out.chunks_exact_mut(len).step_by(along);
            for (pixel, place) in pixels.chunks_exact(len).zip(places) {
                place.copy_from_slice(pixel);
            }
        }
    }
}
