//! Means of pixels: average pools, and the mean of a whole picture. What lies outside the picture does
//! not count, so there is no padding.

use std::ops::Range;

use super::super::arithmetic::mean::{self, Mean};
use super::super::kernels::LANES;
use super::super::window::Window;
use super::Place;

/// A window's mean, by channel.
pub struct Average {
    pub input: Place,
    pub window: Window,
    pub rule: Rule,
    /// How codes are stored, see [`super::Kernels::flip`].
    pub flip: u8,
    pub output: Place,
}

/// How a sum of codes becomes their mean.
pub enum Rule {
    /// Of a window, between two codes.
    Window { low: i32, high: i32 },
    /// Of all.
    Whole(Mean),
}

impl Average {
    /// Computes some rows of the output.
    pub fn run(&self, picture: &[u8], rows: Range<usize>, out: &mut [u8]) {
        let Place { width, step, .. } = self.output;
        let pixels = rows.start * width..rows.end * width;
        for (pixel, out) in pixels.zip(out.chunks_exact_mut(step)) {
            let blocks = out.as_chunks_mut::<LANES>().0.iter_mut().enumerate();
            for (block, out) in blocks {
                let at = [pixel / width, pixel % width];
                *out = self.block(picture, at, block).map(|code| code.cast_unsigned() ^ self.flip);
            }
        }
    }

    fn block(&self, picture: &[u8], at: [usize; 2], block: usize) -> [i8; LANES] {
        let Place { height, width, step, .. } = self.input;
        let (mut sums, mut count) = ([0; LANES], 0);
        for (_, row, column) in self.window.taps([height, width], at) {
            let codes = &picture[(row * width + column) * step + block * LANES..][..LANES];
            for (sum, code) in sums.iter_mut().zip(codes) {
                *sum += i32::from((code ^ self.flip).cast_signed());
            }
            count += 1;
        }
        sums.map(|sum| self.rule.mean(sum, count))
    }
}

impl Rule {
    fn mean(&self, sum: i32, count: i32) -> i8 {
        match self {
            Self::Window { low, high } => mean::of_window(sum, count).clamp(*low, *high) as i8,
            Self::Whole(mean) => mean.of(sum),
        }
    }
}
