//! Every set of kernels that this CPU runs against the plainest loops, on random filters.

use super::elementwise;
use super::*;
use crate::engine::network::Filter;
use crate::engine::window::{Activation, Padding, Window};

/// A filter and what one row of pixels of it reads, as codes.
struct Case {
    filter: Filter,
    factors: Vec<f32>,
    input_zero: i8,
    output_zero: i8,
    /// Least and greatest code.
    limits: [i8; 2],
    pixels: usize,
    /// As many rows as the window has, margins of zeros at their ends.
    inputs: Vec<i8>,
    residual: Option<(Vec<i8>, [i8; 2])>,
}

fn code(rng: &mut fastrand::Rng, extreme: bool) -> i8 {
    match extreme {
        true => [i8::MIN, i8::MAX, -127, 0][rng.usize(..4)],
        false => rng.i8(..),
    }
}

fn case(rng: &mut fastrand::Rng, depthwise: bool, least_weight: i8) -> Case {
    let [rows, columns] = [rng.usize(1..=5), rng.usize(1..=5)];
    // Miri takes a thousand times as long.
    let [channels, outputs, pixels] = if cfg!(miri) { [6, 34, 3] } else { [13, 140, 15] };
    let channels = [1, 2, 3, 4, 7, 15, 16, 17, 24, 33, 64, 65, 112][rng.usize(..channels)];
    let outputs = if depthwise { channels } else { rng.usize(1..=outputs) };
    let pixels = rng.usize(1..=pixels);
    let (extreme_weights, extreme_inputs) = (rng.u8(..4) == 0, rng.u8(..4) == 0);
    let taps = rows * columns;
    let each = if depthwise { taps } else { taps * channels };
    let weights = if extreme_weights {
        (0..outputs * each).map(|_| [least_weight, 127][rng.usize(..2)]).collect()
    } else {
        (0..outputs * each).map(|_| rng.i8(least_weight..)).collect()
    };
    let big = rng.u8(..8) == 0;
    let bias = |rng: &mut fastrand::Rng| if big { rng.i32(..) } else { rng.i32(-90_000..90_000) };
    let factor = |rng: &mut fastrand::Rng| match rng.u8(..16) {
        0 => f32::MAX,
        1 => f32::MIN_POSITIVE / 8.0,
        // Halves: ties.
        2 => 0.5,
        _ => rng.f32() * 40.0 / (each as f32 * 127.0),
    };
    let output_zero = rng.i8(..);
    let limits = [[-128, 127], [output_zero, 127], [output_zero, output_zero.saturating_add(50)]];
    let limits = limits[rng.usize(..3)];
    let residual = (!depthwise && rng.bool()).then(|| {
        let bytes = (0..pixels * outputs).map(|_| code(rng, extreme_inputs)).collect();
        (bytes, [output_zero.saturating_sub(rng.i8(0..9)), output_zero.saturating_add(90)])
    });
    // Windows that share columns, that touch, and that leave some out.
    let stride = rng.usize(1..=columns + 1);
    let width = (pixels - 1) * stride + columns;
    let [left, right] = [rng.usize(..=columns / 2), rng.usize(..=columns / 2)];
    let top = rng.usize(..=rows / 2);
    let input_zero = code(rng, extreme_inputs);
    let mut inputs = Vec::with_capacity(rows * width * channels);
    for place in 0..rows * width {
        let (row, column) = (place / width, place % width);
        let is_margin = row < top || column < left || column + right >= width;
        inputs.extend((0..channels).map(|_| match is_margin {
            true => input_zero,
            false => code(rng, extreme_inputs),
        }));
    }
    Case {
        factors: (0..outputs).map(|_| factor(rng)).collect(),
        input_zero,
        output_zero,
        limits,
        pixels,
        inputs,
        residual,
        filter: Filter {
            shape: [if depthwise { 1 } else { outputs }, rows, columns, channels],
            weights,
            scales: vec![1.0; outputs],
            bias: (0..outputs).map(|_| bias(rng)).collect(),
            window: Window {
                kernel: [rows, columns],
                stride: [1, stride],
                padding: Padding::Valid,
            },
            activation: Activation::None,
        },
    }
}

impl Case {
    /// Columns of the rows that it reads, and those from a pixel's window to the next one's.
    fn columns(&self) -> [usize; 2] {
        let Window { kernel: [_, columns], stride: [_, stride], .. } = self.filter.window;
        [(self.pixels - 1) * stride + columns, stride]
    }

    /// One loop per index, sums modulo 2³², each product with the zero point taken off.
    fn plain(&self, depthwise: bool) -> Vec<i8> {
        let Self { filter, input_zero, output_zero, .. } = self;
        let [_, rows, columns, channels] = filter.shape;
        let ([width, stride], taps) = (self.columns(), rows * columns);
        let mut codes = Vec::new();
        for pixel in 0..self.pixels {
            for (o, &bias) in filter.bias.iter().enumerate() {
                let mut sum = bias;
                for tap in 0..taps {
                    let inputs = if depthwise { o..o + 1 } else { 0..channels };
                    for i in inputs {
                        let weight = match depthwise {
                            true => filter.weights[tap * channels + i],
                            false => filter.weights[(o * taps + tap) * channels + i],
                        };
                        let column = pixel * stride + tap % columns;
                        let input = self.inputs[(tap / columns * width + column) * channels + i];
                        let input = i32::from(input) - i32::from(*input_zero);
                        sum = sum.wrapping_add(input * i32::from(weight));
                    }
                }
                let scaled = (sum as f32 * self.factors[o]).round_ties_even() as i32;
                let code = scaled.saturating_add(i32::from(*output_zero));
                let [low, high] = self.limits.map(i32::from);
                let mut code = code.clamp(low, high);
                if let Some((residual, limits)) = &self.residual {
                    let [low, high] = limits.map(i32::from);
                    let other = i32::from(residual[pixel * filter.bias.len() + o]);
                    code = (code + other - i32::from(*output_zero)).clamp(low, high);
                }
                codes.push(code as i8);
            }
        }
        codes
    }

    fn fast(&self, kernels: &Kernels, depthwise: bool) -> Vec<i8> {
        let flip = kernels.flip;
        let stored = |code: i8| i32::from(code) + i32::from(flip);
        let code = |[low, high]: [i8; 2]| Code {
            zero: stored(self.output_zero),
            low: stored(low),
            high: stored(high),
        };
        let [_, rows, columns, channels] = self.filter.shape;
        let outputs = self.filter.bias.len();
        let step = if depthwise { channels.next_multiple_of(LANES) } else { channels };
        let [width, stride] = self.columns();
        // What fills pixels up is noise, which must not matter.
        let mut bytes = vec![0x5A; rows * width * step + QUAD];
        for (to, from) in bytes.chunks_exact_mut(step).zip(self.inputs.chunks_exact(channels)) {
            for (to, from) in to.iter_mut().zip(from) {
                *to = from.cast_unsigned() ^ flip;
            }
        }
        let filled = outputs.next_multiple_of(LANES);
        let mut out = vec![0; self.pixels * filled];
        let (zero, code_out) = (stored(self.input_zero), code(self.limits));
        if depthwise {
            let packed = PackedDepthwise::new(kernels, &self.filter, &self.factors, zero, code_out);
            let place = |tap: &usize| (tap / columns * width + tap % columns) * step;
            let taps: Vec<usize> = packed.taps().iter().map(place).collect();
            let pixels =
                Pixels { bytes: &bytes, taps: &taps, step: stride * step, count: self.pixels };
            (kernels.depthwise)(&packed, &pixels, &mut out);
        } else {
            let packed = PackedConv::new(kernels, &self.filter, &self.factors, zero, code_out);
            let taps: Vec<usize> = (0..rows).map(|row| row * width * step).collect();
            let pixels =
                Pixels { bytes: &bytes, taps: &taps, step: stride * step, count: self.pixels };
            let filled_up = self.residual.as_ref().map(|(codes, limits)| {
                let mut bytes = vec![0xA5; self.pixels * filled];
                for (to, from) in bytes.chunks_exact_mut(filled).zip(codes.chunks_exact(outputs)) {
                    for (to, from) in to.iter_mut().zip(from) {
                        *to = from.cast_unsigned() ^ flip;
                    }
                }
                (bytes, code(*limits))
            });
            let residual = filled_up.as_ref().map(|(bytes, code)| Residual { bytes, code: *code });
            (kernels.conv)(&packed, &pixels, residual.as_ref(), &mut out);
        }
        let pixels = out.chunks_exact(filled).flat_map(|pixel| &pixel[..outputs]);
        pixels.map(|byte| (byte ^ flip).cast_signed()).collect()
    }
}

fn assert_same(depthwise: bool) {
    for seed in 0..if cfg!(miri) { 4 } else { 600 } {
        for least_weight in [-127, -128] {
            let case = case(&mut fastrand::Rng::with_seed(seed), depthwise, least_weight);
            let plain = case.plain(depthwise);
            for kernels in available() {
                let fast = case.fast(kernels, depthwise);
                let name = kernels.name;
                assert_eq!(fast, plain, "{name}, seed {seed}, {:?}", case.filter.shape);
            }
        }
    }
}

#[test]
fn convolutions_are_the_plain_ones() {
    assert_same(false);
}

#[test]
fn depthwise_convolutions_are_the_plain_ones() {
    assert_same(true);
}

#[test]
fn the_greatest_is_the_plain_one() {
    let mut rng = fastrand::Rng::with_seed(1);
    // Two windows of two rows by three pixels of 16 channels, two pixels apart.
    let (step, row) = (16, 5 * 16);
    let codes: Vec<i8> = (0..2 * row).map(|_| rng.i8(..)).collect();
    for flip in [0, 0x80] {
        let bytes: Vec<u8> = codes.iter().map(|code| code.cast_unsigned() ^ flip).collect();
        let (mut out, mut columns) = (vec![0; 2 * step], vec![1; row]);
        let pixels = Pixels { bytes: &bytes, taps: &[0, row], step: 2 * step, count: 2 };
        elementwise::max_pool(flip, step, 3, &pixels, &mut columns, &mut out);
        for (i, byte) in out.iter().enumerate() {
            let first = i / step * 2 * step + i % step;
            let taps =
                [0, 1, 2].map(|x| codes[first + x * step].max(codes[row + first + x * step]));
            assert_eq!(Some((byte ^ flip).cast_signed()), taps.into_iter().max());
        }
    }
}

#[test]
fn sums_are_the_plain_ones() {
    let mut rng = fastrand::Rng::with_seed(1);
    let codes: Vec<i8> = (0..3 * 32).map(|_| rng.i8(..)).collect();
    for flip in [0, 0x80] {
        let bytes: Vec<u8> = codes.iter().map(|code| code.cast_unsigned() ^ flip).collect();
        let mut out = vec![0; 64];
        let stored = |code: i32| code + i32::from(flip);
        let code = Code { zero: stored(-7), low: stored(-7), high: stored(100) };
        elementwise::add(flip, &bytes[..64], &bytes[32..], code, &mut out);
        for (i, byte) in out.iter().enumerate() {
            let sum = i32::from(codes[i]) + i32::from(codes[i + 32]) + 7;
            assert_eq!(i32::from((byte ^ flip).cast_signed()), sum.clamp(-7, 100));
        }
    }
}

#[test]
#[should_panic(expected = "reach")]
fn a_kernel_refuses_pixels_that_are_not_there() {
    let case = case(&mut fastrand::Rng::with_seed(3), false, -127);
    let short = Case { inputs: Vec::new(), pixels: case.pixels, ..case };
    let kernels = select();
    let code = Code { zero: 0, low: 0, high: 0 };
    let packed = PackedConv::new(kernels, &short.filter, &short.factors, 0, code);
    let taps = vec![0; short.filter.shape[1]];
    let pixels = Pixels { bytes: &[], taps: &taps, step: 1, count: short.pixels };
    let mut out = vec![0; short.pixels * packed.output_step()];
    (kernels.conv)(&packed, &pixels, None, &mut out);
}

#[test]
fn a_set_is_chosen_by_name_and_the_fastest_without() {
    let sets = available();
    for set in &sets {
        assert_eq!(choose(&sets, Some(set.name)).name, set.name);
    }
    for unknown in [None, Some("MMX")] {
        assert_eq!(choose(&sets, unknown).name, sets[0].name);
    }
}
