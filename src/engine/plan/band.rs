//! A band of rows of a convolution's output, tile by tile.

use std::ops::Range;

use super::super::kernels::{Kernels, PackedConv, PackedDepthwise, Pixels, Residual};
use super::rows::PaddedRows;
use super::{Place, Scratch};

/// Pixels of a depthwise convolution, or gathered by strides, that wait for the convolution after it:
/// at 128 channels 8 KB, beside which a small core's 32 KB first-level cache has room for a row's input.
pub const TILE: usize = 64;

/// What a convolution reads.
pub enum Source {
    /// A value's pixels, one by one.
    Pixels(Place),
    /// Pixels by whole strides.
    Strided { input: Place, stride: [usize; 2] },
    /// A window of a value.
    Rows(Place, PaddedRows),
    /// Pixels of a depthwise convolution of a value, which is not kept.
    Depthwise(Place, PaddedRows, PackedDepthwise),
}

impl Source {
    /// The value that it is made of.
    pub fn input(&self) -> &Place {
        match self {
            Self::Pixels(input)
            | Self::Strided { input, .. }
            | Self::Rows(input, _)
            | Self::Depthwise(input, ..) => input,
        }
    }
}

/// A convolution of some rows.
pub struct ConvBand<'a> {
    pub kernels: &'a Kernels,
    pub filter: &'a PackedConv,
    /// Of the output.
    pub rows: Range<usize>,
    /// Their pixels of what is added.
    pub residual: Option<&'a Residual<'a>>,
}

impl ConvBand<'_> {
    /// Computes them into `out`; `input` is the source's value.
    pub fn run(&self, source: &Source, input: &[u8], out: &mut [u8], scratch: &mut Scratch) {
        let mut out = Output { conv: self, out, at: 0 };
        let rows = self.rows.clone();
        match source {
            Source::Pixels(Place { step, width, .. }) => {
                let end = rows.end * width;
                for first in (rows.start * width..end).step_by(TILE) {
                    let count = TILE.min(end - first);
                    out.next(&Pixels { bytes: input, taps: &[first * step], step: *step, count });
                }
            }
            Source::Strided { input: place, stride } => {
                let step = place.step;
                let mut tile = Tile { bytes: &mut scratch.tile, step, filled: 0 };
                for row in rows {
                    let row = &input[row * stride[0] * place.width * step..][..place.width * step];
                    for pixel in row.chunks_exact(step).step_by(stride[1]) {
                        tile.room(1).copy_from_slice(pixel);
                        tile.pass_on_if_full(&mut out);
                    }
                }
                tile.pass_on(&mut out);
            }
            Source::Rows(_, padded) => {
                padded.each(input, rows, &mut scratch.rows, |pixels| out.next(pixels));
            }
            Source::Depthwise(_, padded, filter) => {
                let Scratch { rows: buffer, tile } = scratch;
                let mut tile = Tile { bytes: tile, step: filter.step(), filled: 0 };
                padded.each(input, rows, buffer, |pixels| {
                    (self.kernels.depthwise)(filter, pixels, tile.room(pixels.count));
                    tile.pass_on_if_full(&mut out);
                });
                tile.pass_on(&mut out);
            }
        }
    }
}

/// Output pixels in order.
struct Output<'a> {
    conv: &'a ConvBand<'a>,
    out: &'a mut [u8],
    at: usize,
}

impl Output<'_> {
    fn next(&mut self, pixels: &Pixels) {
        let end = self.at + pixels.count * self.conv.filter.output_step();
        let residual =
            self.conv.residual.map(|r| Residual { bytes: &r.bytes[self.at..end], code: r.code });
        let out = &mut self.out[self.at..end];
        (self.conv.kernels.conv)(self.conv.filter, pixels, residual.as_ref(), out);
        self.at = end;
    }
}

/// Pixels gathered until they are worth a kernel's call.
struct Tile<'a> {
    bytes: &'a mut [u8],
    step: usize,
    filled: usize,
}

impl Tile<'_> {
    fn room(&mut self, pixels: usize) -> &mut [u8] {
        let room = &mut self.bytes[self.filled * self.step..][..pixels * self.step];
        self.filled += pixels;
        room
    }

    fn pass_on_if_full(&mut self, out: &mut Output) {
        if self.filled >= TILE {
            self.pass_on(out);
        }
    }

    fn pass_on(&mut self, out: &mut Output) {
        let count = self.filled;
        out.next(&Pixels { bytes: self.bytes, taps: &[0], step: self.step, count });
        self.filled = 0;
    }
}
