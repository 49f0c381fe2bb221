//! Quantization-aware training: passes whose weights and values are rounded as the int8 file will
//! round them, so that training makes up for it (Jacob et al. 2018, arXiv 1712.05877).
//!
//! Rounding has no gradient to speak of; it is taken to be 1 where the code reaches and 0 beyond
//! (the straight-through estimator, arXiv 1308.3432). Batch norm need not be folded for this: its
//! scale is one a channel, and so is the weights' code, so that rounding before or after it is the
//! same.

use std::collections::HashMap;

use rand_pcg::Pcg64;

use super::super::device::{DeviceError, Passes};
use super::super::executor::Weights;
use super::super::float::graph::channel_weights;
use super::super::network::{Graph, Node, Op};
use super::super::tflite::Int8Network;
use super::integer::WEIGHT_MAX;
use super::{Ranges, Rounding, Settings};
use crate::engine::Quantization;

/// By which the network is quantized whose codes training rounds to: what it leaves out would move the
/// weights that are trained.
pub const SETTINGS: Settings = Settings {
    ranges: Ranges::Mse,
    equalize: false,
    rounding: Rounding::Nearest,
    correct_bias: false,
};

/// The graph with a [`Op::FakeQuant`] behind each value that `network`, quantized from a checkpoint
/// of it, keeps in int8.
pub fn with_rounded_values(graph: &Graph, network: &Int8Network) -> Graph {
    let codes: HashMap<&str, Quantization> =
        network.values.iter().map(|value| (&*value.name, value.quantization)).collect();
    let mut rounded = Graph { nodes: Vec::new() };
    // Where the rounded value of each node is.
    let mut place = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let inputs = node.inputs.iter().map(|&input| place[input]).collect();
        rounded.nodes.push(Node { inputs, ..node.clone() });
        if let Some(code) = code_of(graph, index, &codes) {
            let name = format!("{}_int8", node.name);
            let inputs = vec![rounded.nodes.len() - 1];
            let op = Op::FakeQuant(code);
            rounded.nodes.push(Node { name, op, inputs, shape: node.shape });
        }
        place.push(rounded.nodes.len() - 1);
    }
    rounded
}

/// The code of a node's value; none if int8 holds only what follows from it. Lowering folds a batch
/// norm into the convolution before it, whose name it keeps, unless a ReLU lies between.
fn code_of(
    graph: &Graph,
    index: usize,
    codes: &HashMap<&str, Quantization>,
) -> Option<Quantization> {
    let node = &graph.nodes[index];
    let of = |node: &Node| codes.get(&*node.name).copied();
    let folded = graph.nodes.iter().find(|next| {
        matches!(next.op, Op::BatchNorm { .. }) && next.inputs == [index] && of(next).is_none()
    });
    match node.op {
        // Standardized faces are multiples of the code's step already.
        Op::Input | Op::Dropout { .. } | Op::FakeQuant(_) => None,
        Op::BatchNorm { .. } => of(node).or_else(|| of(&graph.nodes[node.inputs[0]])),
        _ if folded.is_some() => None,
        _ => of(node),
    }
}

/// Passes with rounded weights; gradients are those of the weights as they are.
pub struct RoundedPasses {
    passes: Box<dyn Passes>,
    rounded: Weights,
}

impl RoundedPasses {
    /// Rounds what `passes` compute with.
    pub fn new(passes: Box<dyn Passes>) -> Self {
        Self { passes, rounded: Weights(Vec::new()) }
    }
}

impl Passes for RoundedPasses {
    fn graph(&self) -> &Graph {
        self.passes.graph()
    }

    fn train_forward(
        &mut self,
        weights: &mut Weights,
        pictures: &[f32],
        rng: &mut Pcg64,
    ) -> Result<&[f32], DeviceError> {
        self.rounded.0.clone_from(&weights.0);
        let graph = self.passes.graph();
        for (node, tensors) in graph.nodes.iter().zip(&mut self.rounded.0) {
            round_weights(node, tensors);
        }
        // Running statistics move in the rounded copy.
        let statistics: Vec<usize> = (graph.nodes.iter().enumerate())
            .filter(|(_, node)| matches!(node.op, Op::BatchNorm { .. }))
            .map(|(index, _)| index)
            .collect();
        let logits = self.passes.train_forward(&mut self.rounded, pictures, rng)?;
        for index in statistics {
            weights.0[index].clone_from(&self.rounded.0[index]);
        }
        Ok(logits)
    }

    fn backward(
        &mut self,
        _: &Weights,
        dlogits: &[f32],
        gradients: &mut Weights,
    ) -> Result<(), DeviceError> {
        self.passes.backward(&self.rounded, dlogits, gradients)
    }
}

/// Rounds each output channel's weights to 127 steps of its greatest.
fn round_weights(node: &Node, tensors: &mut [Vec<f32>]) {
    let channels = node.shape[2];
    let is_depthwise = matches!(node.op, Op::Depthwise { .. });
    if let (Op::Conv { .. } | Op::Depthwise { .. }, [weights, ..]) = (node.op, tensors) {
        let len = weights.len();
        for channel in 0..channels {
            let of_channel = || channel_weights(is_depthwise, len, channels, channel);
            let greatest = of_channel().map(|i| weights[i].abs()).fold(0.0, f32::max);
            let scale = greatest / WEIGHT_MAX;
            if scale > 0.0 {
                for i in of_channel() {
                    weights[i] = (weights[i] / scale).round() * scale;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::super::interpret::interpret;
    use super::super::quantize;
    use super::super::tests::{STANDARDIZED, lowered, random_checkpoint, random_pictures};
    use super::*;
    use crate::lab::checkpoint::Checkpoint;
    use crate::lab::executor::Executor;
    use crate::lab::network::{Block, Down, Preset};

    /// The int8 network that training from a checkpoint sees.
    fn int8(checkpoint: &Checkpoint, pictures: &[f32]) -> Int8Network {
        quantize(lowered(checkpoint), STANDARDIZED, SETTINGS, pictures, <_>::default())
            .unwrap()
            .network
    }

    #[test]
    fn each_value_of_the_file_is_rounded_by_its_code() {
        for name in Preset::NAMES {
            let checkpoint = random_checkpoint(Preset::named(name).unwrap(), 11);
            let network = int8(&checkpoint, &random_pictures(4, 12));
            let graph = with_rounded_values(&Graph::build(&checkpoint.preset), &network);
            let rounded = graph.nodes.iter().filter_map(|node| match node.op {
                Op::FakeQuant(code) => Some(code),
                _ => None,
            });
            // All but the input's, in the same order but for the branches of a sum.
            let key = |code: &Quantization| (code.scale.to_bits(), code.zero_point);
            let mut rounded: Vec<_> = rounded.map(|code| key(&code)).collect();
            let values = network.values[1..].iter();
            let mut values: Vec<_> = values.map(|value| key(&value.quantization)).collect();
            rounded.sort_unstable();
            values.sort_unstable();
            assert_eq!(rounded, values, "{name}");
        }
    }

    /// Layer by layer the deeper ones drift apart, for a hair's breadth turns a rounding; so only
    /// networks of the first convolutions are compared, several together.
    #[test]
    fn rounded_passes_compute_what_the_int8_file_does() {
        let block = Block::new(8, 1, Down::Stride);
        for stem_norm_after_relu in [false, true] {
            let preset = Preset {
                stem_norm_after_relu,
                stem: [4, 6],
                blocks: vec![block.clone()],
                ..Preset::reference()
            };
            let errors = (11..16).map(|seed| errors(&random_checkpoint(preset.clone(), seed)));
            let [of_float, of_rounded] = errors.fold([0.0; 2], |[a, b], [c, d]| [a + c, b + d]);
            assert!(of_rounded < 0.5 * of_float, "{of_rounded} against {of_float}");
        }
    }

    /// How far from the int8 file's logits those of the float network are, and those of the
    /// rounded passes.
    fn errors(checkpoint: &Checkpoint) -> [f32; 2] {
        let pictures = random_pictures(8, 12);
        let network = int8(checkpoint, &pictures);
        let code = network.values[network.input].quantization;
        let codes: Vec<i8> = pictures.iter().map(|&p| code.quantize(p)).collect();
        let output = network.values[network.output].quantization;
        let int8 = codes.chunks_exact(48 * 48).flat_map(|codes| interpret(&network, codes));
        let int8: Vec<f32> = int8.map(|code| output.dequantize(code)).collect();

        let graph = Graph::build(&checkpoint.preset);
        let pictures: Vec<f32> = codes.iter().map(|&c| code.dequantize(c)).collect();
        let mut weights = Weights::from_params(&graph, &checkpoint.params).unwrap();
        let float = Executor::new(graph.clone()).infer(&weights, &pictures).to_vec();
        for (node, tensors) in graph.nodes.iter().zip(&mut weights.0) {
            round_weights(node, tensors);
        }
        let aware = with_rounded_values(&graph, &network);
        let weights = Weights::from_params(&aware, &weights.to_params(&graph)).unwrap();
        let rounded = Executor::new(aware).infer(&weights, &pictures).to_vec();
        let distance = |a: &[f32]| -> f32 {
            a.iter().zip(&int8).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
        };
        [distance(&float), distance(&rounded)]
    }

    #[test]
    fn gradients_go_through_where_the_code_reaches() {
        let code = Quantization { scale: 0.5, zero_point: -128 };
        let shape = [48, 48, 1];
        let node = |name: &str, op, inputs: &[usize], shape| Node {
            name: name.into(),
            op,
            inputs: inputs.into(),
            shape,
        };
        let conv = Op::Conv { kernel: 1, stride: 1, bias: false, relu: false };
        let graph = Graph {
            nodes: vec![
                node("input", Op::Input, &[], shape),
                node("conv", conv, &[0], shape),
                node("rounded", Op::FakeQuant(code), &[1], shape),
                node("logits", Op::GlobalAveragePool, &[2], [1, 1, 1]),
            ],
        };
        let mut weights = Weights(vec![vec![], vec![vec![1.0]], vec![], vec![]]);
        let mut gradients = weights.zeros_like();
        let mut passes = RoundedPasses::new(Box::new(Executor::new(graph)));
        let mut rng = Pcg64::seed_from_u64(1);
        // Below, just within, rounded up, and above what the code reaches: 0 to 127.5.
        let mut pictures = vec![0.0; 48 * 48];
        pictures[..4].copy_from_slice(&[-0.3, -0.2, 0.3, 128.0]);
        let logits = passes.train_forward(&mut weights, &pictures, &mut rng).unwrap();
        assert!((logits[0] * 48.0 * 48.0 - 128.0).abs() < 1e-3, "{logits:?}");
        passes.backward(&weights, &[48.0 * 48.0], &mut gradients).unwrap();
        assert!((gradients.0[1][0][0] - (-0.2 + 0.3)).abs() < 1e-4, "{gradients:?}");
    }
}
