//! The int8 network's arithmetic, written plainly: what every faster way to run a file is held to.
//!
//! One loop per index, sums in int32, each requantization as LiteRT's default kernels do it: the sum
//! times `s_x · s_w / s_y` in single precision, rounded to the nearest integer, halves to even.

use super::network::{Filter, Int8Network, Int8Op, Shape, Step, Value};
use super::window::Window;

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
    let (x, input) = (&values[step.inputs[0]], &network.values[step.inputs[0]]);
    let output = &network.values[step.output];
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
        Int8Op::MaxPool(window) => {
            let [h, w, c] = input.shape;
            let greatest = |at, channel| {
                let taps = window.taps([h, w], at);
                taps.map(|(_, row, column)| x[(row * w + column) * c + channel]).max()
            };
            each(output.shape, |at, channel| greatest(at, channel).unwrap_or(i8::MIN))
        }
        Int8Op::Add(activation) => {
            let zero = i32::from(output.quantization.zero_point);
            let [low, high] = activation.limits(output.quantization);
            let sum =
                |(a, b): (&i8, &i8)| (i32::from(*a) + i32::from(*b) - zero).clamp(low, high) as i8;
            x.iter().zip(&values[step.inputs[1]]).map(sum).collect()
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
    let [low, high] = filter.activation.limits(output.quantization);
    each(output.shape, |at, o| {
        let mut sum = filter.bias[o];
        for (tap, row, column) in window.taps([h, w], at) {
            for (i, weight) in pairs(tap, o) {
                let x = i32::from(x[(row * w + column) * c + i]) - zero;
                sum = sum.wrapping_add(x * i32::from(filter.weights[weight]));
            }
        }
        let factor = input.quantization.scale * filter.scales[o] / output.quantization.scale;
        let scaled = (sum as f32 * factor).round_ties_even() as i32;
        scaled.saturating_add(i32::from(output.quantization.zero_point)).clamp(low, high) as i8
    })
}

fn each([h, w, c]: Shape, f: impl Fn([usize; 2], usize) -> i8) -> Vec<i8> {
    (0..h * w * c).map(|i| f([i / c / w, i / c % w], i % c)).collect()
}
