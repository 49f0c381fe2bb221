//! The int8 network's arithmetic, written plainly: what every faster way to run a file is held to.
//!
//! One loop per index, sums in int32, each requantization as LiteRT's default kernels do it: the sum
//! times `s_x · s_w / s_y` in single precision, rounded to the nearest integer, halves to even. Average
//! pools divide integers, halves away from zero; sums of other codes are a [`PairRule`]'s.

use super::arithmetic::mean::{self, Mean};
use super::arithmetic::pairs::PairRule;
use super::network::{Filter, Int8Network, Int8Op, Shape, Step, Value};
use super::window::{Activation, Window};

/// The output codes for one picture's input codes [height, width, channels].
pub fn interpret(network: &Int8Network, input: &[i8]) -> Vec<i8> {
    let mut values: Vec<Vec<i8>> = vec![Vec::new(); network.values.len()];
    values[network.input] = input.to_vec();
    for step in &network.steps {
        values[step.output] = run(network, step, &values);
    }
    values.swap_remove(network.output)
}

fn run(network: &Int8Network, step: &Step, values: &[Vec<i8>]) -> Vec<i8> {
    let output = &network.values[step.output];
    // A constant reads nothing; its own output stands in.
    let first = step.inputs.first().copied().unwrap_or(step.output);
    let (x, input) = (&values[first], &network.values[first]);
    match &step.op {
        Int8Op::Conv(filter) => {
            let [_, kh, kw, c] = filter.shape;
            convolved(filter, x, input, output, |tap, o| {
                (0..c).map(move |i| (i, (o * kh * kw + tap) * c + i))
            })
        }
        Int8Op::Depthwise(filter) => {
            let c = filter.shape[3];
            convolved(filter, x, input, output, |tap, o| std::iter::once((o, tap * c + o)))
        }
        Int8Op::MaxPool(window, activation) => {
            pooled(*window, *activation, x, input, output, |codes| {
                codes.max().unwrap_or_else(|| i8::MIN.into())
            })
        }
        Int8Op::AveragePool(window, activation) => {
            pooled(*window, *activation, x, input, output, |codes| {
                let (sum, count) = codes.fold((0, 0), |(sum, count), code| (sum + code, count + 1));
                mean::of_window(sum, count)
            })
        }
        Int8Op::Mean => {
            let c = input.shape[2];
            let mean = Mean::new(input, output);
            let sum = |channel: usize| {
                x.iter().skip(channel).step_by(c).map(|&code| i32::from(code)).sum()
            };
            (0..c).map(|channel| mean.of(sum(channel))).collect()
        }
        Int8Op::Pad(margins) => {
            let [height, width, c] = input.shape;
            each(output.shape, |[row, column], channel| {
                let row = row.checked_sub(margins.top).filter(|row| *row < height);
                let column = column.checked_sub(margins.left).filter(|column| *column < width);
                match (row, column) {
                    (Some(row), Some(column)) => x[(row * width + column) * c + channel],
                    _ => output.quantization.zero_point,
                }
            })
        }
        Int8Op::Space([down, along]) => {
            let [_, width, c] = input.shape;
            each(output.shape, |[row, column], channel| {
                match row.is_multiple_of(*down) && column.is_multiple_of(*along) {
                    true => x[(row / down * width + column / along) * c + channel],
                    false => output.quantization.zero_point,
                }
            })
        }
        Int8Op::Add(_) | Int8Op::Subtract(_) | Int8Op::Multiply(_) | Int8Op::Prelu => {
            let codes = [0, 1].map(|i| network.values[step.inputs[i]].quantization);
            let rule = PairRule::new(&step.op, codes, output.quantization);
            let rule = rule.expect("readers and quantizers make none of codes so far apart");
            let others = values[step.inputs[1]].iter().cycle();
            x.iter().zip(others).map(|(a, b)| rule.of(*a, *b)).collect()
        }
        Int8Op::Unary(unary) => {
            let table = unary.table(input.quantization, output.quantization);
            let table = table.expect("readers make no functions of codes so far apart");
            x.iter().map(|&code| table[usize::from(code.abs_diff(i8::MIN))]).collect()
        }
        Int8Op::Constant(codes) => codes.clone(),
        Int8Op::Reshape => x.clone(),
        Int8Op::InTract(operator) => {
            let inputs = step
                .inputs
                .iter()
                .map(|&input| (values[input].iter().copied(), network.values[input].quantization));
            operator.run(inputs, output.quantization)
        }
        Int8Op::Concat => {
            let pixels = output.shape[0] * output.shape[1];
            let of_pixel = |pixel: usize| {
                step.inputs.iter().flat_map(move |&input| {
                    let c = network.values[input].shape[2];
                    values[input][pixel * c..][..c].iter().copied()
                })
            };
            (0..pixels).flat_map(of_pixel).collect()
        }
    }
}

/// A convolution's output; `pairs(tap, o)` gives, for output channel `o`, the input channels under
/// a tap and their weights' places.
fn convolved<P: Iterator<Item = (usize, usize)>>(
    filter: &Filter,
    x: &[i8],
    input: &Value,
    output: &Value,
    pairs: impl Fn(usize, usize) -> P,
) -> Vec<i8> {
    let [h, w, c] = input.shape;
    let window: &Window = &filter.window;
    let zero = i32::from(input.quantization.zero_point);
    let limits = filter.activation.limits(output.quantization);
    each(output.shape, |at, o| {
        let mut sum = filter.bias[o];
        for (tap, row, column) in window.taps([h, w], at) {
            for (i, weight) in pairs(tap, o) {
                let x = i32::from(x[(row * w + column) * c + i]) - zero;
                sum = sum.wrapping_add(x * i32::from(filter.weights[weight]));
            }
        }
        let factor = input.quantization.scale * filter.scales[o] / output.quantization.scale;
        requantized(sum, factor, output, limits)
    })
}

fn requantized(sum: i32, factor: f32, output: &Value, [low, high]: [i32; 2]) -> i8 {
    let scaled = (sum as f32 * factor).round_ties_even() as i32;
    scaled.saturating_add(i32::from(output.quantization.zero_point)).clamp(low, high) as i8
}

/// What `of` makes of the codes of a channel under each window that lie within the picture.
fn pooled(
    window: Window,
    activation: Activation,
    x: &[i8],
    input: &Value,
    output: &Value,
    of: impl Fn(&mut dyn Iterator<Item = i32>) -> i32,
) -> Vec<i8> {
    let [h, w, c] = input.shape;
    let [low, high] = activation.limits(output.quantization);
    each(output.shape, |at, channel| {
        let taps = window.taps([h, w], at);
        let mut codes = taps.map(|(_, row, column)| x[(row * w + column) * c + channel].into());
        of(&mut codes).clamp(low, high) as i8
    })
}

fn each([h, w, c]: Shape, f: impl Fn([usize; 2], usize) -> i8) -> Vec<i8> {
    (0..h * w * c).map(|i| f([i / c / w, i / c % w], i % c)).collect()
}
