//! This project's checkpoints in both forms.

use super::super::checkpoint::Checkpoint;
use super::super::network::{Graph, NORM_EPSILON, Op};
use super::graph::FloatGraph;
use super::layers::{Filter, Layer, LayerError, Layers};
use super::lower::lower;
use super::window::{Activation, Padding, Window};

impl Layers {
    /// The network of a checkpoint.
    pub fn of_checkpoint(checkpoint: &Checkpoint) -> Result<Self, LayerError> {
        let graph = Graph::build(&checkpoint.preset);
        let mut layers = Self::new(&graph.nodes[0].name, graph.nodes[0].shape)?;
        // Where each node's value is: an activation of its own comes after some.
        let mut place = vec![0];
        for node in &graph.nodes[1..] {
            let tensor =
                |name: &str| checkpoint.params[&format!("{}.{name}", node.name)].data.clone();
            let filter = |kernel: usize, stride: usize, bias: bool, relu: bool| Filter {
                weights: tensor("weight"),
                bias: bias.then(|| tensor("bias")),
                window: Window { kernel: [kernel; 2], stride: [stride; 2], padding: Padding::Same },
                activation: if relu { Activation::Relu } else { Activation::None },
            };
            let mut relu_follows = false;
            let layer = match node.op {
                Op::Input => continue,
                Op::Conv { kernel, stride, bias, relu } => {
                    Layer::Conv(filter(kernel, stride, bias, relu))
                }
                Op::Depthwise { kernel, stride, bias, relu } => {
                    Layer::Depthwise(filter(kernel, stride, bias, relu))
                }
                Op::BatchNorm { relu } => {
                    relu_follows = relu;
                    let tensors = ["gamma", "beta", "mean", "variance"].map(tensor);
                    Layer::batch_norm(&tensors, NORM_EPSILON)
                }
                Op::MaxPool => Layer::MaxPool(Window {
                    kernel: [3, 3],
                    stride: [2, 2],
                    padding: Padding::Same,
                }),
                Op::Add { relu } => {
                    relu_follows = relu;
                    Layer::Add
                }
                Op::Dropout { .. } | Op::FakeQuant(_) => Layer::Identity,
                Op::GlobalAveragePool => Layer::GlobalAveragePool,
            };
            let inputs: Vec<usize> = node.inputs.iter().map(|&input| place[input]).collect();
            let mut value = layers.push(&node.name, layer, &inputs)?;
            if relu_follows {
                let name = format!("{}_relu", node.name);
                value = layers.push(&name, Layer::Activation(Activation::Relu), &[value])?;
            }
            place.push(value);
        }
        Ok(layers)
    }
}

impl FloatGraph {
    /// The lowered network of a checkpoint.
    pub fn of_checkpoint(checkpoint: &Checkpoint) -> Result<Self, LayerError> {
        lower(&Layers::of_checkpoint(checkpoint)?)
    }
}
