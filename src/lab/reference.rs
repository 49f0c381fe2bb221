//! The network's arithmetic, written plainly: what faster code is tested against.
//!
//! One loop per index, sums in f64, no regard to speed.

use super::checkpoint::Params;
use super::network::{Graph, INPUT_SIDE, NORM_EPSILON, Node, Op, Shape, same_pad_before};

/// Every node's value for each picture of `pictures` ([n, 48, 48], standardized): by node,
/// [n, height, width, channels]. Batch norm uses its running statistics.
///
/// # Panics
///
/// If `params` lacks one of the graph's tensors.
pub fn activations(graph: &Graph, params: &Params, pictures: &[f32]) -> Vec<Vec<f32>> {
    let mut values: Vec<Vec<f32>> = vec![Vec::new(); graph.nodes.len()];
    for picture in pictures.chunks_exact(INPUT_SIDE * INPUT_SIDE) {
        let mut of_picture: Vec<Vec<f32>> = Vec::with_capacity(graph.nodes.len());
        for node in &graph.nodes {
            let inputs: Vec<&[f32]> = node.inputs.iter().map(|&i| &of_picture[i][..]).collect();
            let in_shape = node.inputs.first().map_or(node.shape, |&i| graph.nodes[i].shape);
            let value = match node.op {
                Op::Input => picture.to_vec(),
                _ => evaluate(node, params, in_shape, &inputs),
            };
            of_picture.push(value);
        }
        for (all, one) in values.iter_mut().zip(of_picture) {
            all.extend(one);
        }
    }
    values
}

fn evaluate(node: &Node, params: &Params, in_shape: Shape, inputs: &[&[f32]]) -> Vec<f32> {
    let tensor = |name: &str| &params[&format!("{}.{name}", node.name)].data[..];
    let x = inputs[0];
    let [in_h, in_w, in_c] = in_shape;
    let at = |y: usize, x: usize, c: usize| (y * in_w + x) * in_c + c;
    match node.op {
        Op::Input => unreachable!("the input has no inputs"),
        Op::Conv { kernel, stride, bias, relu } => {
            let weight = tensor("weight");
            let bias = bias.then(|| tensor("bias"));
            each_output(node.shape, |oy, ox, o| {
                let mut sum = bias.map_or(0.0, |bias| f64::from(bias[o]));
                for (tap, iy, ix) in taps([in_h, in_w], kernel, stride, oy, ox) {
                    for c in 0..in_c {
                        let w = weight[(o * kernel * kernel + tap) * in_c + c];
                        sum += f64::from(w) * f64::from(x[at(iy, ix, c)]);
                    }
                }
                rectified(sum as f32, relu)
            })
        }
        Op::Depthwise { kernel, stride, bias, relu } => {
            let weight = tensor("weight");
            let bias = bias.then(|| tensor("bias"));
            each_output(node.shape, |oy, ox, c| {
                let mut sum = bias.map_or(0.0, |bias| f64::from(bias[c]));
                for (tap, iy, ix) in taps([in_h, in_w], kernel, stride, oy, ox) {
                    sum += f64::from(weight[tap * in_c + c]) * f64::from(x[at(iy, ix, c)]);
                }
                rectified(sum as f32, relu)
            })
        }
        Op::BatchNorm { relu } => {
            let [gamma, beta, mean, variance] = ["gamma", "beta", "mean", "variance"].map(tensor);
            each_output(node.shape, |oy, ox, c| {
                let unit = (x[at(oy, ox, c)] - mean[c]) / (variance[c] + NORM_EPSILON).sqrt();
                rectified(gamma[c] * unit + beta[c], relu)
            })
        }
        Op::MaxPool => each_output(node.shape, |oy, ox, c| {
            taps([in_h, in_w], 3, 2, oy, ox)
                .map(|(_, iy, ix)| x[at(iy, ix, c)])
                .fold(f32::NEG_INFINITY, f32::max)
        }),
        Op::Add { relu } => x.iter().zip(inputs[1]).map(|(a, b)| rectified(a + b, relu)).collect(),
        Op::Dropout { .. } => x.to_vec(),
        Op::FakeQuant(code) => x.iter().map(|&x| code.dequantize(code.quantize(x))).collect(),
        Op::GlobalAveragePool => each_output(node.shape, |_, _, c| {
            let channel = x.iter().skip(c).step_by(in_c);
            (channel.map(|&v| f64::from(v)).sum::<f64>() / (in_h * in_w) as f64) as f32
        }),
    }
}

/// Fills a value by calling `f(y, x, channel)` for each of its elements.
fn each_output([h, w, c]: Shape, f: impl Fn(usize, usize, usize) -> f32) -> Vec<f32> {
    (0..h * w * c).map(|i| f(i / c / w, i / c % w, i % c)).collect()
}

/// The taps of a `SAME` window at output (`oy`, `ox`) that fall on the picture:
/// (index in the window, input row, input column).
fn taps(
    [h, w]: [usize; 2],
    kernel: usize,
    stride: usize,
    oy: usize,
    ox: usize,
) -> impl Iterator<Item = (usize, usize, usize)> {
    let (above, left) = (same_pad_before(h, kernel, stride), same_pad_before(w, kernel, stride));
    (0..kernel * kernel).filter_map(move |tap| {
        let iy = (oy * stride + tap / kernel).checked_sub(above).filter(|&iy| iy < h)?;
        let ix = (ox * stride + tap % kernel).checked_sub(left).filter(|&ix| ix < w)?;
        Some((tap, iy, ix))
    })
}

fn rectified(value: f32, relu: bool) -> f32 {
    if relu { value.max(0.0) } else { value }
}
