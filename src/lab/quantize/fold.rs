//! Folds batch norm away, exactly.
//!
//! `BatchNorm(z) = s·z + t` per channel, with `s = γ / √(variance + ε)` and `t = β − s·mean`.
//!
//! - After a convolution: its weights take the factor `s` per output channel, and its bias
//!   becomes `s·bias + t`. The norm's ReLU becomes the convolution's.
//! - After a ReLU: it can't move into the next convolution, whose zero padding would have to
//!   become `−t/s`. It stays as a 1×1 depthwise convolution with weight `s` and bias `t`.
//!
//! Dropout is the identity and goes.

use super::super::checkpoint::{Params, Tensor};
use super::super::network::{Graph, NORM_EPSILON, Node, Op};

/// The same function without batch norm and dropout; every convolution has a bias.
pub fn fold(graph: &Graph, params: &Params) -> (Graph, Params) {
    let mut folded = Folded { graph: Graph { nodes: Vec::new() }, params: Params::new() };
    // Where each value of `graph` is in the folded graph.
    let mut place = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let inputs: Vec<usize> = node.inputs.iter().map(|&input| place[input]).collect();
        let index = match node.op {
            Op::BatchNorm { relu } => {
                let affine = Affine::of_norm(node, params);
                let alone = consumers(graph, node.inputs[0]) == 1;
                match folded.graph.nodes[inputs[0]].op {
                    Op::Conv { relu: false, .. } | Op::Depthwise { relu: false, .. } if alone => {
                        folded.absorb(inputs[0], &affine, relu)
                    }
                    _ => folded.push_norm(node, inputs, affine, relu),
                }
            }
            Op::Dropout { .. } => inputs[0],
            _ => folded.push(node, inputs, params),
        };
        place.push(index);
    }
    (folded.graph, folded.params)
}

/// How many nodes read a value.
fn consumers(graph: &Graph, value: usize) -> usize {
    graph.nodes.iter().flat_map(|node| &node.inputs).filter(|&&input| input == value).count()
}

/// `scale · x + shift`, per channel.
struct Affine {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Affine {
    fn of_norm(node: &Node, params: &Params) -> Self {
        let tensor = |name: &str| &params[&format!("{}.{name}", node.name)].data;
        let scale: Vec<f32> = (tensor("gamma").iter().zip(tensor("variance")))
            .map(|(gamma, variance)| gamma / (variance + NORM_EPSILON).sqrt())
            .collect();
        let shift = (tensor("beta").iter().zip(tensor("mean")).zip(&scale))
            .map(|((beta, mean), scale)| beta - scale * mean)
            .collect();
        Self { scale, shift }
    }
}

struct Folded {
    graph: Graph,
    params: Params,
}

impl Folded {
    /// Copies a node, adding a zero bias where a convolution had none.
    fn push(&mut self, node: &Node, inputs: Vec<usize>, params: &Params) -> usize {
        let op = match node.op {
            Op::Conv { kernel, stride, relu, .. } => Op::Conv { kernel, stride, bias: true, relu },
            Op::Depthwise { kernel, stride, relu, .. } => {
                Op::Depthwise { kernel, stride, bias: true, relu }
            }
            other => other,
        };
        let node = Node { op, inputs, ..node.clone() };
        self.graph.nodes.push(node.clone());
        for (tensor, shape) in self.graph.tensors_of(&node) {
            let name = format!("{}.{tensor}", node.name);
            let zeros = || Tensor { data: vec![0.0; shape.iter().product()], shape };
            let data = params.get(&name).cloned().unwrap_or_else(zeros);
            self.params.insert(name, data);
        }
        self.graph.nodes.len() - 1
    }

    /// Lets the convolution at `index` compute `affine` of what it did.
    fn absorb(&mut self, index: usize, affine: &Affine, relu: bool) -> usize {
        let node = &mut self.graph.nodes[index];
        let channels = node.shape[2];
        let weight = &mut tensor_mut(&mut self.params, node, "weight").data;
        match &mut node.op {
            Op::Conv { relu: r, .. } => {
                *r = relu;
                let per_output = weight.len() / channels;
                for (filter, scale) in weight.chunks_exact_mut(per_output).zip(&affine.scale) {
                    filter.iter_mut().for_each(|w| *w *= scale);
                }
            }
            Op::Depthwise { relu: r, .. } => {
                *r = relu;
                for tap in weight.chunks_exact_mut(channels) {
                    tap.iter_mut().zip(&affine.scale).for_each(|(w, scale)| *w *= scale);
                }
            }
            _ => unreachable!("only convolutions absorb a batch norm"),
        }
        let bias = &mut tensor_mut(&mut self.params, node, "bias").data;
        for ((bias, scale), shift) in bias.iter_mut().zip(&affine.scale).zip(&affine.shift) {
            *bias = *bias * scale + shift;
        }
        index
    }

    /// Appends a batch norm as a 1×1 depthwise convolution.
    fn push_norm(&mut self, node: &Node, inputs: Vec<usize>, affine: Affine, relu: bool) -> usize {
        let channels = node.shape[2];
        let op = Op::Depthwise { kernel: 1, stride: 1, bias: true, relu };
        let weight = Tensor { shape: vec![1, 1, channels], data: affine.scale };
        let bias = Tensor { shape: vec![channels], data: affine.shift };
        self.params.insert(format!("{}.weight", node.name), weight);
        self.params.insert(format!("{}.bias", node.name), bias);
        self.graph.nodes.push(Node { op, inputs, ..node.clone() });
        self.graph.nodes.len() - 1
    }
}

/// A tensor of a folded node.
pub fn tensor_mut<'p>(params: &'p mut Params, node: &Node, name: &str) -> &'p mut Tensor {
    let key = format!("{}.{name}", node.name);
    params.get_mut(&key).expect("every convolution of a folded graph has weight and bias")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, random_checkpoint, random_pictures};
    use super::*;
    use crate::lab::network::Preset;
    use crate::lab::reference;

    /// Folding must not change what the network computes, beyond rounding.
    #[test]
    fn folded_networks_give_the_same_logits() {
        for name in Preset::NAMES {
            let checkpoint = random_checkpoint(Preset::named(name).unwrap(), 1);
            let graph = Graph::build(&checkpoint.preset);
            let (folded, folded_params) = fold(&graph, &checkpoint.params);
            assert!(!folded.nodes.iter().any(|n| matches!(n.op, Op::BatchNorm { .. })));
            let pictures = random_pictures(1, 2);
            let want = reference::activations(&graph, &checkpoint.params, &pictures);
            let got = reference::activations(&folded, &folded_params, &pictures);
            assert_close(got.last().unwrap(), want.last().unwrap(), 1e-4);
        }
    }
}
