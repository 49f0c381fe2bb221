//! Removes channels from graph and weights.
//!
//! The cut is exact: a channel that reads as zero adds nothing to the products it is left out of,
//! so that without such channels the network gives the same logits.

use ndarray::{ArrayView, Axis};

use super::super::checkpoint::{Checkpoint, Params, Tensor};
use super::super::network::{Graph, Node, Op};
use super::groups::Groups;

/// The graph and its tensors with the channels `kept` of each group, numbered from 0 and in order.
///
/// # Panics
///
/// If `params` lack a tensor of the graph or a number is none of its group's.
pub fn cut(
    graph: &Graph,
    groups: &Groups,
    params: &Params,
    kept: &[Vec<usize>],
) -> (Graph, Params) {
    let mut narrow = graph.clone();
    kept.iter().enumerate().for_each(|(g, kept)| groups.set_width(&mut narrow, g, kept.len()));
    let kept_of = |node: usize| groups.of_node[node].map(|group| &kept[group][..]);
    let mut left = Params::new();
    for (i, node) in graph.nodes.iter().enumerate() {
        for (name, _) in graph.tensors_of(node) {
            let name = format!("{}.{name}", node.name);
            let mut tensor = params[&name].clone();
            if let Some(kept) = kept_of(i) {
                tensor = select(&tensor, own_axis(node, &tensor), kept);
            }
            let is_filter = matches!(node.op, Op::Conv { .. }) && tensor.shape.len() == 4;
            if let Some(kept) = kept_of(node.inputs[0]).filter(|_| is_filter) {
                tensor = select(&tensor, INPUT_AXIS, kept);
            }
            left.insert(name, tensor);
        }
    }
    (narrow, left)
}

/// A checkpoint with the channels `kept` of each of its network's `groups`, under a name of its
/// own. Its notes stay.
///
/// # Panics
///
/// As [`cut`].
pub fn cut_checkpoint(
    checkpoint: &Checkpoint,
    groups: &Groups,
    kept: &[Vec<usize>],
    name: String,
) -> Checkpoint {
    let (graph, params) = cut(&Graph::build(&checkpoint.preset), groups, &checkpoint.params, kept);
    let mut preset = checkpoint.preset.narrowed_to(&graph);
    preset.name = name;
    Checkpoint { preset, params, notes: checkpoint.notes.clone() }
}

/// The axis of a convolution's weight [out, k, k, in] along which it reads channels.
const INPUT_AXIS: usize = 3;

/// The axis of one of a node's tensors along which the node's own channels lie.
fn own_axis(node: &Node, tensor: &Tensor) -> usize {
    match node.op {
        Op::Depthwise { .. } => tensor.shape.len() - 1, // [k, k, channels], or [channels]
        _ => 0,
    }
}

fn select(tensor: &Tensor, axis: usize, kept: &[usize]) -> Tensor {
    let view = ArrayView::from_shape(&tensor.shape[..], &tensor.data)
        .expect("a tensor's values are as many as its shape says");
    let left = view.select(Axis(axis), kept);
    Tensor { shape: left.shape().into(), data: left.iter().copied().collect() }
}
