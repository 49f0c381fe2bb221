//! What runs at once.

use super::super::kernels::{
    Code, Kernels, PackedConv, PackedDepthwise, Pixels, Residual, elementwise,
};
use super::rows::PaddedRows;
use super::{Place, Workspace};

/// Pixels of a tile between stages' halves: they stay in the first-level cache.
pub const TILE: usize = 64;

/// Values' places and how one comes from the others.
pub enum Stage {
    /// Convolution, requantization and, if there is a residual, its sum.
    Conv { source: Source, filter: PackedConv, residual: Option<(Place, Code)>, output: Place },
    /// A depthwise convolution alone.
    Depthwise { input: Place, rows: PaddedRows, filter: PackedDepthwise, output: Place },
    /// Greatest of a window.
    MaxPool { input: Place, rows: PaddedRows, output: Place },
    /// Sum of two values.
    Add { inputs: [Place; 2], code: Code, output: Place },
    /// Channels one after the other.
    Concat { inputs: Vec<Place>, output: Place },
}

/// What a convolution reads.
pub enum Source {
    /// A value's pixels, one by one.
    Pixels(Place),
    /// Pixels by whole strides.
    Strided { input: Place, sides: [usize; 2], stride: [usize; 2] },
    /// A window of a value.
    Rows(Place, PaddedRows),
    /// Pixels of a depthwise convolution of a value, which is not kept.
    Depthwise(Place, PaddedRows, PackedDepthwise),
}

impl Stage {
    /// Runs it on the first `pictures` of the workspace's values, laid out for `batch`.
    pub fn run(&self, kernels: &Kernels, batch: usize, pictures: usize, workspace: &mut Workspace) {
        let Workspace { arena, rows: padded, tile } = workspace;
        match self {
            Self::Conv { source, filter, residual, output } => {
                let job = Conv { kernels, filter, pictures };
                let input = source.input();
                match residual {
                    None => {
                        let [x, out] = values(arena, batch, [input, output]);
                        let out = &mut out[..pictures * output.len()];
                        job.run(source, x, None, out, padded, tile);
                    }
                    // The kernels allow a value to be added to what is made of it, memory doesn't.
                    Some((other, code)) if other.offset == input.offset => {
                        let [x, out] = values(arena, batch, [input, output]);
                        let out = &mut out[..pictures * output.len()];
                        let bytes = &x[..pictures * other.len()];
                        let residual = Residual { bytes, code: *code };
                        job.run(source, x, Some(&residual), out, padded, tile);
                    }
                    Some((other, code)) => {
                        let [x, y, out] = values(arena, batch, [input, other, output]);
                        let out = &mut out[..pictures * output.len()];
                        let bytes = &y[..pictures * other.len()];
                        let residual = Residual { bytes, code: *code };
                        job.run(source, x, Some(&residual), out, padded, tile);
                    }
                }
            }
            Self::Depthwise { input, rows, filter, output } => {
                let [x, out] = values(arena, batch, [input, output]);
                let mut at = 0;
                rows.each(&x[..pictures * input.len()], padded, |pixels| {
                    let len = pixels.count * output.step;
                    (kernels.depthwise)(filter, pixels, &mut out[at..at + len]);
                    at += len;
                });
            }
            Self::MaxPool { input, rows, output } => {
                let [x, out] = values(arena, batch, [input, output]);
                let mut at = 0;
                rows.each(&x[..pictures * input.len()], padded, |pixels| {
                    let out = &mut out[at..at + pixels.count * output.step];
                    elementwise::max_pool(kernels.flip, output.step, pixels, out);
                    at += out.len();
                });
            }
            Self::Add { inputs: [a, b], code, output } => {
                let len = pictures * output.len();
                if a.offset == b.offset {
                    let [x, out] = values(arena, batch, [a, output]);
                    elementwise::add(kernels.flip, &x[..len], &x[..len], *code, &mut out[..len]);
                } else {
                    let [x, y, out] = values(arena, batch, [a, b, output]);
                    elementwise::add(kernels.flip, &x[..len], &y[..len], *code, &mut out[..len]);
                }
            }
            Self::Concat { inputs, output } => {
                let mut first = 0;
                for input in inputs {
                    let [x, out] = values(arena, batch, [input, output]);
                    let pixels = x.chunks_exact(input.step).zip(out.chunks_exact_mut(output.step));
                    for (from, to) in pixels.take(pictures * output.pixels) {
                        to[first..first + input.channels].copy_from_slice(&from[..input.channels]);
                    }
                    first += input.channels;
                }
            }
        }
    }
}

/// The memory of different values that live at the same time.
fn values<'a, const N: usize>(
    arena: &'a mut [u8],
    batch: usize,
    places: [&Place; N],
) -> [&'a mut [u8]; N] {
    arena
        .get_disjoint_mut(places.map(|place| place.range(batch)))
        .expect("values that live at the same time have places of their own")
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

struct Conv<'a> {
    kernels: &'a Kernels,
    filter: &'a PackedConv,
    pictures: usize,
}

impl Conv<'_> {
    fn run(
        &self,
        source: &Source,
        input: &[u8],
        residual: Option<&Residual>,
        out: &mut [u8],
        padded: &mut [u8],
        tile: &mut [u8],
    ) {
        let mut out = Output { conv: self, residual, out, at: 0 };
        match source {
            Source::Pixels(Place { step, pixels, .. }) => {
                let pixels = self.pictures * pixels;
                for first in (0..pixels).step_by(TILE) {
                    let count = TILE.min(pixels - first);
                    out.next(&Pixels { bytes: input, taps: &[first * step], step: *step, count });
                }
            }
            Source::Strided { input: place, sides: [height, width], stride } => {
                let step = place.step;
                let mut tile = Tile { bytes: tile, step, filled: 0 };
                for picture in input.chunks_exact(place.len()).take(self.pictures) {
                    for y in (0..*height).step_by(stride[0]) {
                        for x in (0..*width).step_by(stride[1]) {
                            let pixel = &picture[(y * width + x) * step..][..step];
                            tile.room(1).copy_from_slice(pixel);
                            tile.pass_on_if_full(&mut out);
                        }
                    }
                }
                tile.pass_on(&mut out);
            }
            Source::Rows(place, rows) => {
                let pictures = &input[..self.pictures * place.len()];
                rows.each(pictures, padded, |pixels| out.next(pixels));
            }
            Source::Depthwise(place, rows, filter) => {
                let mut tile = Tile { bytes: tile, step: filter.step(), filled: 0 };
                let pictures = &input[..self.pictures * place.len()];
                rows.each(pictures, padded, |pixels| {
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
    conv: &'a Conv<'a>,
    residual: Option<&'a Residual<'a>>,
    out: &'a mut [u8],
    at: usize,
}

impl Output<'_> {
    fn next(&mut self, pixels: &Pixels) {
        let end = self.at + pixels.count * self.conv.filter.output_step();
        let residual =
            self.residual.map(|r| Residual { bytes: &r.bytes[self.at..end], code: r.code });
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
