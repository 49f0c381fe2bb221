//! What runs at once.

use std::ops::Range;

use rayon::prelude::*;

use super::super::Quantization;
use super::super::arithmetic::pairs::PairRule;
use super::super::kernels::{Code, Kernels, PackedConv, PackedDepthwise, Residual, elementwise};
use super::super::tract_operator::TractOperator;
use super::average::Average;
use super::band::{ConvBand, Source};
use super::pad::Pad;
use super::rows::PaddedRows;
use super::{Place, Scratch, Workspace};

/// Values' places and how one comes from the others.
pub enum Stage {
    /// Convolution, requantization and, if there is a residual, its sum.
    Conv { source: Source, filter: PackedConv, residual: Option<(Place, Code)>, output: Place },
    /// A depthwise convolution alone.
    Depthwise { input: Place, rows: PaddedRows, filter: PackedDepthwise, output: Place },
    /// Greatest of a window that is so many pixels wide, between limits.
    MaxPool { input: Place, rows: PaddedRows, width: usize, limits: [i8; 2], output: Place },
    /// Mean of a window, or of all.
    Average(Average),
    /// Margins around a picture.
    Pad(Pad),
    /// Sum of two values of one code.
    Add { inputs: [Place; 2], code: Code, output: Place },
    /// What becomes of two values; the second may be one pixel, for all.
    Pairs { inputs: [Place; 2], rule: PairRule, output: Place },
    /// What each byte becomes.
    Table { input: Place, table: Box<[u8; 256]>, output: Place },
    /// What is always the same.
    Constant { bytes: Vec<u8>, output: Place },
    /// The same codes in another shape.
    Reshape { input: Place, output: Place },
    /// What tract computes, of values of these codes.
    InTract {
        operator: TractOperator,
        inputs: Vec<(Place, Quantization)>,
        code: Quantization,
        output: Place,
    },
    /// Channels one after the other.
    Concat { inputs: Vec<Place>, output: Place },
}

impl Stage {
    /// Runs it on the workspace's values: bands of rows on as many threads as the workspace is for.
    pub fn run(&self, kernels: &Kernels, workspace: &mut Workspace) {
        let Workspace { arena, scratches } = workspace;
        let output = self.output();
        let (values, out) = Values::around(arena, output);
        let rows = output.height;
        let is_whole = matches!(self, Self::Reshape { .. } | Self::InTract { .. });
        if is_whole || scratches.len() == 1 {
            return self.run_band(kernels, &values, 0..rows, out, &mut scratches[0]);
        }
        let each = rows.div_ceil(scratches.len());
        let row_len = output.width * output.step;
        let bands = out.par_chunks_mut(each * row_len).zip(scratches.par_iter_mut());
        bands.enumerate().for_each(|(i, (out, scratch))| {
            let rows = i * each..i * each + out.len() / row_len;
            self.run_band(kernels, &values, rows, out, scratch);
        });
    }

    /// Computes some rows of the output.
    fn run_band(
        &self,
        kernels: &Kernels,
        values: &Values,
        rows: Range<usize>,
        out: &mut [u8],
        scratch: &mut Scratch,
    ) {
        let output = self.output();
        let pixels = rows.start * output.width..rows.end * output.width;
        let pixels_of =
            |place: &Place| &values.of(place)[pixels.start * place.step..pixels.end * place.step];
        let pixels_or_one = |place: &Place| match place.pixels() {
            1 => &values.of(place)[..place.step],
            _ => pixels_of(place),
        };
        match self {
            Self::Conv { source, filter, residual, .. } => {
                let residual = residual
                    .as_ref()
                    .map(|(other, code)| Residual { bytes: pixels_of(other), code: *code });
                let job = ConvBand { kernels, filter, rows, residual: residual.as_ref() };
                job.run(source, values.of(source.input()), out, scratch);
            }
            Self::Depthwise { input, rows: padded, filter, output } => {
                let mut at = 0;
                padded.each(values.of(input), rows, &mut scratch.rows, |pixels| {
                    let len = pixels.count * output.step;
                    (kernels.depthwise)(filter, pixels, &mut out[at..at + len]);
                    at += len;
                });
            }
            Self::MaxPool { input, rows: padded, width, limits, output } => {
                let (flip, step) = (kernels.flip, output.step);
                let Scratch { rows: buffer, tile: columns } = scratch;
                let mut at = 0;
                padded.each(values.of(input), rows, buffer, |pixels| {
                    let out = &mut out[at..at + pixels.count * step];
                    elementwise::max_pool(flip, step, *width, pixels, columns, out);
                    at += out.len();
                });
                elementwise::clamp(kernels.flip, *limits, out);
            }
            Self::Average(average) => average.run(values.of(&average.input), rows, out),
            Self::Pad(pad) => pad.run(values.of(&pad.input), rows, out),
            Self::Pairs { inputs: [a, b], rule, .. } => {
                let (flip, a, b) = (kernels.flip, pixels_of(a), pixels_or_one(b));
                // A loop for each.
                match rule {
                    PairRule::Sum(rule) => {
                        elementwise::pairs(flip, a, b, |a, b| rule.of(a, b), out)
                    }
                    PairRule::Product(rule) => {
                        elementwise::pairs(flip, a, b, |a, b| rule.of(a, b), out)
                    }
                    PairRule::Slope(rule) => {
                        elementwise::pairs(flip, a, b, |a, b| rule.of(a, b), out)
                    }
                }
            }
            Self::Table { input, table, .. } => {
                for (byte, out) in pixels_of(input).iter().zip(out) {
                    *out = table[usize::from(*byte)];
                }
            }
            Self::Constant { bytes, output } => {
                let band = pixels.start * output.step..pixels.end * output.step;
                out.copy_from_slice(&bytes[band]);
            }
            Self::Reshape { input, output } => {
                for (to, byte) in output.used_mut(out).zip(input.used(values.of(input))) {
                    *to = byte;
                }
            }
            Self::InTract { operator, inputs, code, output } => {
                let flip = kernels.flip;
                let inputs = inputs.iter().map(|(place, code)| {
                    let bytes = place.used(values.of(place));
                    (bytes.map(move |byte| (byte ^ flip).cast_signed()), *code)
                });
                let codes = operator.run(inputs, *code);
                for (to, code) in output.used_mut(out).zip(codes) {
                    *to = code.cast_unsigned() ^ flip;
                }
            }
            Self::Add { inputs: [a, b], code, .. } => {
                elementwise::add(kernels.flip, pixels_of(a), pixels_of(b), *code, out);
            }
            Self::Concat { inputs, output } => {
                let mut first = 0;
                for input in inputs {
                    let from = pixels_of(input).chunks_exact(input.step);
                    for (from, to) in from.zip(out.chunks_exact_mut(output.step)) {
                        to[first..first + input.channels].copy_from_slice(&from[..input.channels]);
                    }
                    first += input.channels;
                }
            }
        }
    }

    fn output(&self) -> &Place {
        match self {
            Self::Conv { output, .. }
            | Self::Depthwise { output, .. }
            | Self::MaxPool { output, .. }
            | Self::Average(Average { output, .. })
            | Self::Pad(Pad { output, .. })
            | Self::Add { output, .. }
            | Self::Pairs { output, .. }
            | Self::Table { output, .. }
            | Self::Constant { output, .. }
            | Self::Reshape { output, .. }
            | Self::InTract { output, .. }
            | Self::Concat { output, .. } => output,
        }
    }
}

/// The values in the arena while one of them is written.
struct Values<'a> {
    below: &'a [u8],
    above: &'a [u8],
    /// Where `above` begins.
    above_from: usize,
}

impl<'a> Values<'a> {
    /// All but `output`, and its own memory.
    fn around(arena: &'a mut [u8], output: &Place) -> (Self, &'a mut [u8]) {
        let Range { start, end } = output.range();
        let (below, rest) = arena.split_at_mut(start);
        let (out, above) = rest.split_at_mut(end - start);
        (Self { below, above, above_from: end }, &mut out[..output.len()])
    }

    /// A value that lives at the same time: its place is its own.
    fn of(&self, place: &Place) -> &'a [u8] {
        let range = place.range();
        match range.start < self.below.len() {
            true => &self.below[range],
            false => &self.above[range.start - self.above_from..][..range.len()],
        }
    }
}
