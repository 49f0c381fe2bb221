//! Weights laid out as kernels read them, and what makes codes of their sums.

use super::{Code, Kernels, LANES, Packing, Pixels, QUAD, Residual, UNIT};
use crate::engine::network::Filter;

/// A convolution's weights in a kernel's order.
pub struct PackedConv {
    pub(super) weights: Vec<i8>,
    pub(super) lanes: Lanes,
    /// Rows of the window.
    pub(super) rows: usize,
    /// Quads of input channels, of all taps of a row of the window.
    pub(super) quads: usize,
    /// Blocks of output channels.
    pub(super) blocks: usize,
    /// Whether a weight is −128, which quantizers leave out.
    #[cfg_attr(not(target_arch = "aarch64"), expect(dead_code, reason = "NEON asks"))]
    pub(super) has_least: bool,
}

/// A depthwise convolution's weights in a kernel's order.
pub struct PackedDepthwise {
    pub(super) weights: Vec<i8>,
    pub(super) lanes: Lanes,
    /// The window's taps in the order of their weights, filled up with some that weigh 0.
    pub(super) taps: Vec<usize>,
    /// Blocks of channels.
    pub(super) blocks: usize,
    /// Whether a weight is −128, which quantizers leave out.
    #[cfg_attr(not(target_arch = "aarch64"), expect(dead_code, reason = "NEON asks"))]
    pub(super) has_least: bool,
}

/// What each lane's sum begins with, and how it becomes a code.
pub(super) struct Lanes {
    pub(super) bias: Vec<i32>,
    pub(super) factors: Vec<f32>,
    pub(super) code: Code,
}

impl Lanes {
    /// Of `channels[lane]`, none for lanes that fill up; `zero` is the input's stored zero point and
    /// `sum(o)` the sum of channel `o`'s weights.
    fn new(
        filter: &Filter,
        channels: &[Option<usize>],
        factors: &[f32],
        zero: i32,
        code: Code,
        sum: impl Fn(usize) -> i32,
    ) -> Self {
        let bias = |o: usize| filter.bias[o].wrapping_sub(zero.wrapping_mul(sum(o)));
        let of = |channel: &Option<usize>| match *channel {
            Some(o) => (bias(o), factors[o]),
            None => (0, 0.0),
        };
        let (bias, factors) = channels.iter().map(of).unzip();
        Self { bias, factors, code }
    }
}

/// The channel of each lane, groups of `group` blocks one after the other.
fn channels_of_lanes(
    packing: &Packing,
    blocks: usize,
    group: usize,
    channels: usize,
) -> Vec<Option<usize>> {
    let lane = |i: usize| {
        let first = i / LANES / group * group;
        let in_group = group.min(blocks - first);
        let channel = (packing.channel)(in_group, i / LANES - first, i % LANES) + first * LANES;
        (channel < channels).then_some(channel)
    };
    (0..blocks * LANES).map(lane).collect()
}

fn wrapping_sum(weights: impl Iterator<Item = i8>) -> i32 {
    weights.fold(0, |sum, weight| sum.wrapping_add(i32::from(weight)))
}

impl PackedConv {
    /// Packs `filter` for `kernels`. `factors` are its channels', `zero` is the input's stored zero
    /// point, `code` the output's.
    pub fn new(kernels: &Kernels, filter: &Filter, factors: &[f32], zero: i32, code: Code) -> Self {
        let [outputs, rows, columns, inputs] = filter.shape;
        let row_len = columns * inputs;
        let (blocks, quads) = (outputs.div_ceil(LANES), row_len.div_ceil(QUAD));
        let packing = &kernels.packing;
        let channels = channels_of_lanes(packing, blocks, packing.group, outputs);
        let row = |o: usize, row: usize| &filter.weights[(o * rows + row) * row_len..][..row_len];
        let mut weights = vec![0; blocks * rows * quads * UNIT];
        for (i, channel) in channels.iter().enumerate() {
            let Some(channel) = *channel else { continue };
            let (block, lane) = (i / LANES, i % LANES);
            let first = block / packing.group * packing.group;
            let in_group = packing.group.min(blocks - first);
            for r in 0..rows {
                for (k, &weight) in row(channel, r).iter().enumerate() {
                    let quad = r * quads + k / QUAD;
                    let unit = first * rows * quads + quad * in_group + (block - first);
                    weights[unit * UNIT + (packing.place)(lane, k % QUAD)] = weight;
                }
            }
        }
        let sum = |o: usize| wrapping_sum((0..rows).flat_map(|r| row(o, r).iter().copied()));
        let lanes = Lanes::new(filter, &channels, factors, zero, code, sum);
        let has_least = filter.weights.contains(&i8::MIN);
        Self { weights, lanes, rows, quads, blocks, has_least }
    }

    /// Bytes of an output pixel.
    pub fn output_step(&self) -> usize {
        self.blocks * LANES
    }

    /// Bytes of a row of the window that are read, from its first.
    pub fn row_len(&self) -> usize {
        self.quads * QUAD
    }

    /// Panics unless all that a kernel reads and writes is there.
    pub(super) fn check(&self, pixels: &Pixels, residual: Option<&Residual>, out: &[u8]) {
        let lanes = self.blocks * LANES;
        let output = pixels.count.checked_mul(self.output_step());
        assert!(self.weights.len() == self.blocks * self.rows * self.quads * UNIT);
        assert!(self.lanes.bias.len() == lanes && self.lanes.factors.len() == lanes);
        assert!(pixels.taps.len() == self.rows && pixels.reach(self.row_len()));
        assert!(output == Some(out.len()) && residual.is_none_or(|r| r.bytes.len() == out.len()));
    }
}

impl PackedDepthwise {
    /// Packs `filter` for `kernels`; the rest is as in [`PackedConv::new`].
    pub fn new(kernels: &Kernels, filter: &Filter, factors: &[f32], zero: i32, code: Code) -> Self {
        let [_, rows, columns, channels] = filter.shape;
        let packing = &kernels.packing;
        let (group, beside) = (packing.depthwise_group, packing.depthwise_taps);
        let blocks = channels.div_ceil(LANES);
        let taps = (packing.depthwise_order)([rows, columns]);
        let filled = blocks.next_multiple_of(group);
        let of_lanes = channels_of_lanes(packing, filled, group, channels);
        let mut weights = vec![0; filled * LANES * taps.len()];
        for (at, channel) in of_lanes.iter().enumerate() {
            let Some(channel) = *channel else { continue };
            let (first, lane) = (at / (group * LANES), at % (group * LANES));
            for (i, &tap) in taps.iter().enumerate() {
                let together = first * (taps.len() / beside) + i / beside;
                let place = (together * group * LANES + lane) * beside + i % beside;
                // Repeated to fill up.
                if i == 0 || taps[i - 1] != tap {
                    weights[place] = filter.weights[tap * channels + channel];
                }
            }
        }
        let sum = |o: usize| {
            wrapping_sum((0..rows * columns).map(|tap| filter.weights[tap * channels + o]))
        };
        let lanes = Lanes::new(filter, &of_lanes, factors, zero, code, sum);
        let has_least = filter.weights.contains(&i8::MIN);
        Self { weights, lanes, taps, blocks, has_least }
    }

    /// Bytes of an input and of an output pixel.
    pub fn step(&self) -> usize {
        self.blocks * LANES
    }

    /// The taps that [`Pixels::taps`] must have, by their index in the window.
    pub fn taps(&self) -> &[usize] {
        &self.taps
    }

    /// Panics unless all that a kernel reads and writes is there.
    pub(super) fn check(&self, group: usize, pixels: &Pixels, out: &[u8]) {
        let lanes = self.blocks.next_multiple_of(group) * LANES;
        assert!(self.weights.len() == lanes * self.taps.len());
        assert!(self.lanes.bias.len() == lanes && self.lanes.factors.len() == lanes);
        assert!(pixels.taps.len() == self.taps.len() && pixels.reach(self.step()));
        assert!(pixels.count.checked_mul(self.step()) == Some(out.len()));
    }
}
