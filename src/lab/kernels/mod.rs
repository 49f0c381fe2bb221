//! Forward and backward passes of the family's operations, on float NHWC activations.
//!
//! Each function works on a run of whole pictures on one thread; [`super::executor`] deals the
//! pictures of a batch out to threads. Inner loops run over channels, which are contiguous, and
//! are compiled for AVX-512 and AVX2 besides the baseline.

#[cfg(target_arch = "x86_64")]
mod bf16;
#[cfg(not(target_arch = "x86_64"))]
#[path = "bf16_absent.rs"]
mod bf16;
pub mod conv;
pub mod conv_bf16;
pub mod depthwise;
pub mod matmul;
pub mod norm;
// Only AVX-512's products read panels.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
mod panels;
pub mod pool;

use super::network::{Shape, same_pad_before};

/// Geometry of a convolution or pooling with `SAME` padding.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Shape of one input picture.
    pub input: Shape,
    /// Shape of one output picture.
    pub output: Shape,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Step between outputs.
    pub stride: usize,
}

/// The part of a kernel's extent along one axis that lies inside the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Taps {
    /// First kernel index inside.
    first: usize,
    /// One past the last kernel index inside.
    end: usize,
    /// Input index under `first`.
    start: usize,
}

/// The least value that passes: 0 behind a ReLU.
pub fn floor(relu: bool) -> f32 {
    if relu { 0.0 } else { f32::NEG_INFINITY }
}

impl Window {
    /// Taps inside the picture for output row `y`.
    fn rows(&self, y: usize) -> Taps {
        self.taps(y, self.input[0])
    }

    /// Taps inside the picture for output column `x`.
    fn columns(&self, x: usize) -> Taps {
        self.taps(x, self.input[1])
    }

    fn taps(&self, output: usize, side: usize) -> Taps {
        let pad = same_pad_before(side, self.kernel, self.stride);
        let corner = output * self.stride;
        let first = pad.saturating_sub(corner);
        let end = self.kernel.min(side + pad - corner);
        Taps { first, end, start: corner + first - pad }
    }

    /// Elements of one input picture.
    fn input_len(&self) -> usize {
        self.input.iter().product()
    }

    /// Elements of one output picture.
    fn output_len(&self) -> usize {
        self.output.iter().product()
    }
}
