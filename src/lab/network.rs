//! The network family: one definition, its presets, and the graph they expand to.
//!
//! A [`Preset`] holds widths and strides; [`Graph::build`] expands it to a list of [`Node`]s in
//! execution order, node `i` computing value `i`. Trainer, quantizer and cost figures all read
//! that one list. Activations are NHWC; `SAME` padding is TensorFlow's (the odd row and column
//! of padding goes below and to the right), so that the int8 file computes what was trained.

use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::engine::Quantization;
pub use crate::engine::network::Shape;
pub use crate::engine::window::{same_pad_before, same_side};

/// Side of the square grey input in pixels, as in FER2013.
pub const INPUT_SIDE: usize = crate::face::FACE_SIDE;
/// Logits of the expression head, in FER2013's order.
pub const EXPRESSION_LOGITS: usize = 7;
/// Logits of the gender head: female, male.
pub const GENDER_LOGITS: usize = 2;
/// All logits the network gives: expressions first.
pub const LOGITS: usize = EXPRESSION_LOGITS + GENDER_LOGITS;

/// Added to a batch norm's variance before its root is taken (Keras' default).
pub const NORM_EPSILON: f32 = 1e-3;

/// Widths and strides of one member of the family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Name in commands and files.
    pub name: String,
    /// Filters of the 3×3 convolutions A and B.
    pub stem: [usize; 2],
    /// Stride of A.
    #[serde(default = "one")]
    pub stem_stride: usize,
    /// Put batch norm after the ReLU in A and B (the blog post's order), not before it.
    pub stem_norm_after_relu: bool,
    /// Max-pool B's output 3×3/2.
    pub stem_pool: bool,
    /// The residual separable blocks (the post's C+D, E+F).
    pub blocks: Vec<Block>,
    /// Put a ReLU after the sum that ends each block.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub relu_after_add: bool,
    /// Share of the head's input channels dropped in training.
    pub dropout: f32,
}

/// One residual block of depthwise-separable convolutions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Output channels.
    pub width: usize,
    /// Separable convolutions on the main path; ReLU follows all but the last.
    pub depth: usize,
    /// How the block halves its resolution, if it does.
    pub down: Down,
    /// Output channels of all separable convolutions but the last, `depth − 1` of them; empty where
    /// they are `width` too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inner: Vec<usize>,
    /// The shortcut is a convolution even where the input could be added as it is: a block whose
    /// input and output were pruned to one width keeps the one it had.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub projection: bool,
}

impl Block {
    /// A block of one width.
    pub fn new(width: usize, depth: usize, down: Down) -> Self {
        Self { width, depth, down, inner: Vec::new(), projection: false }
    }

    /// Output channels of the separable convolution `i`, counted from 1.
    fn width_of(&self, i: usize) -> usize {
        if i == self.depth { self.width } else { *self.inner.get(i - 1).unwrap_or(&self.width) }
    }
}

fn one() -> usize {
    1
}

/// How a block halves its resolution. Its shortcut is then a 1×1 convolution of stride 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Down {
    /// It keeps the resolution.
    No,
    /// 3×3/2 max pooling after the last separable convolution, as in the post.
    MaxPool,
    /// Stride 2 in the last depthwise convolution.
    Stride,
}

impl Preset {
    /// Names that [`Preset::named`] knows.
    pub const NAMES: [&str; 2] = ["reference", "slim"];

    /// The preset of this name. (Tests build smaller ones by hand.)
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "reference" => Some(Self::reference()),
            "slim" => Some(Self::slim()),
            _ => None,
        }
    }

    /// What is wrong with the sizes, if anything is.
    pub fn fault(&self) -> Option<String> {
        let of_blocks =
            self.blocks.iter().flat_map(|block| block.inner.iter().chain([&block.width]));
        let widths = self.stem.iter().chain(of_blocks);
        let depths = self.blocks.iter().map(|block| block.depth);
        if let Some(width) = widths.into_iter().find(|width| !(1..=1024).contains(*width)) {
            return Some(format!("a width of {width} channels is not 1 to 1024"));
        }
        if let Some(depth) = depths.into_iter().find(|depth| !(1..=16).contains(depth)) {
            return Some(format!("a block of depth {depth} is not of 1 to 16"));
        }
        let uneven = |block: &&Block| ![0, block.depth - 1].contains(&block.inner.len());
        if let Some(Block { depth, inner, .. }) = self.blocks.iter().find(uneven) {
            let (found, needed) = (inner.len(), depth - 1);
            return Some(format!(
                "a block of depth {depth} has {found} inner widths, not {needed} or none"
            ));
        }
        if self.blocks.len() > 64 {
            return Some(format!("{} blocks are more than 64", self.blocks.len()));
        }
        if !(1..=2).contains(&self.stem_stride) {
            return Some(format!("stem_stride {} is not 1 or 2", self.stem_stride));
        }
        let share = (0.0..1.0).contains(&self.dropout);
        (!share).then(|| format!("dropout {} is not a share from 0 to below 1", self.dropout))
    }

    /// This preset with the channels of `graph`, which is its own with some of them removed.
    pub fn narrowed_to(&self, graph: &Graph) -> Self {
        let node = |name: &str| graph.nodes.iter().find(|node| node.name == name);
        let width = |name: &str, own| node(name).map_or(own, |node| node.shape[2]);
        let [a, b] = self.stem;
        let stem = [width("a", a), width("b", b)];
        let mut input = stem[1];
        let mut blocks = self.blocks.clone();
        for (i, block) in blocks.iter_mut().enumerate() {
            let name = format!("block{}", i + 1);
            let of = |i| width(&format!("{name}_pointwise{i}"), block.width_of(i));
            let inner: Vec<usize> = (1..block.depth).map(of).collect();
            block.width = of(block.depth);
            let is_even = inner.iter().all(|width| *width == block.width);
            block.inner = if is_even { Vec::new() } else { inner };
            block.projection = block.down == Down::No
                && block.width == input
                && node(&format!("{name}_residual")).is_some();
            input = block.width;
        }
        Self { stem, blocks, ..self.clone() }
    }

    /// The blog post's network at full width. The post's listing has no activation after B; without
    /// one all that follows is linear but for its two max pools, so each block ends in a ReLU here.
    pub fn reference() -> Self {
        let block = |width| Block::new(width, 1, Down::MaxPool);
        Self {
            name: "reference".into(),
            stem: [64, 64],
            stem_stride: 1,
            stem_norm_after_relu: true,
            stem_pool: false,
            blocks: vec![block(128), block(256)],
            relu_after_add: true,
            dropout: 0.0,
        }
    }

    /// The deeper, thinner member that ships.
    pub fn slim() -> Self {
        let block = |width, down| Block::new(width, 2, down);
        Self {
            name: "slim".into(),
            stem: [16, 24],
            stem_stride: 1,
            stem_norm_after_relu: false,
            stem_pool: true,
            blocks: vec![
                block(64, Down::Stride),
                block(64, Down::No),
                block(64, Down::No),
                block(64, Down::No),
                block(128, Down::Stride),
                block(128, Down::No),
                block(128, Down::No),
                block(128, Down::No),
                block(112, Down::Stride),
                block(112, Down::No),
            ],
            relu_after_add: false,
            dropout: 0.1,
        }
    }
}

/// A name that is no preset's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no network {name:?}; there are {}", Preset::NAMES.join(", "))]
pub struct UnknownPreset {
    name: String,
}

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        Self::named(name).ok_or_else(|| UnknownPreset { name: name.into() })
    }
}

/// Reads a preset: its name, or all of its fields.
pub fn preset_or_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Preset, D::Error> {
    struct NameOrFields;

    impl<'de> Visitor<'de> for NameOrFields {
        type Value = Preset;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a network's name or a table of its sizes")
        }

        fn visit_str<E: de::Error>(self, name: &str) -> Result<Preset, E> {
            name.parse().map_err(E::custom)
        }

        // Not an untagged enum, whose error would not say which field is wrong.
        fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Preset, A::Error> {
            Preset::deserialize(MapAccessDeserializer::new(fields))
        }
    }

    deserializer.deserialize_any(NameOrFields)
}

/// What a node computes. Weights and statistics live in a [`super::checkpoint::Params`] under
/// `{node name}.{tensor}`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// The standardized picture, 48×48×1.
    Input,
    /// Convolution, `SAME`: `weight` [out, k, k, in], with `bias` [out] if `bias`.
    Conv { kernel: usize, stride: usize, bias: bool, relu: bool },
    /// Depthwise convolution, `SAME`: `weight` [k, k, channels], with `bias` [channels] if `bias`.
    Depthwise { kernel: usize, stride: usize, bias: bool, relu: bool },
    /// Batch normalization: `gamma`, `beta`, `mean`, `variance` [channels].
    BatchNorm { relu: bool },
    /// 3×3 max pooling of stride 2, `SAME`.
    MaxPool,
    /// Sum of its two inputs.
    Add { relu: bool },
    /// Drops whole channels in training, the identity otherwise.
    Dropout { rate: f32 },
    /// Mean over height and width, to 1×1×channels.
    GlobalAveragePool,
    /// What is left of a value in int8; its gradient goes through where the code reaches. In no
    /// preset: [`super::quantize::aware`] puts it between nodes.
    FakeQuant(Quantization),
}

/// One step of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique in its graph; prefix of its tensors' names.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Values it reads (indices of earlier nodes).
    pub inputs: Vec<usize>,
    /// Shape of the value it gives.
    pub shape: Shape,
}

/// A network as a list of nodes in execution order; the last one gives the logits.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Node `i` computes value `i`.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// Expands a preset.
    pub fn build(preset: &Preset) -> Self {
        let mut graph = Graph { nodes: Vec::new() };
        let input = graph.push("input", Op::Input, &[]);
        let norm_last = preset.stem_norm_after_relu;
        let mut x = graph.stem_conv("a", input, preset.stem[0], preset.stem_stride, norm_last);
        x = graph.stem_conv("b", x, preset.stem[1], 1, norm_last);
        if preset.stem_pool {
            x = graph.push("b_pool", Op::MaxPool, &[x]);
        }
        for (i, block) in preset.blocks.iter().enumerate() {
            x = graph.block(&format!("block{}", i + 1), x, block, preset.relu_after_add);
        }
        if preset.dropout > 0.0 {
            x = graph.push("dropout", Op::Dropout { rate: preset.dropout }, &[x]);
        }
        x = graph.conv("head", x, 3, 1, LOGITS, true, false);
        graph.push("logits", Op::GlobalAveragePool, &[x]);
        graph
    }

    fn stem_conv(
        &mut self,
        name: &str,
        x: usize,
        filters: usize,
        stride: usize,
        norm_last: bool,
    ) -> usize {
        let x = self.conv(name, x, 3, stride, filters, norm_last, norm_last);
        self.push(&format!("{name}_norm"), Op::BatchNorm { relu: !norm_last }, &[x])
    }

    fn block(&mut self, name: &str, input: usize, block: &Block, relu: bool) -> usize {
        let stride = if block.down == Down::No { 1 } else { 2 };
        let mut x = input;
        for i in 1..=block.depth {
            let last = i == block.depth;
            let stride = if last && block.down == Down::Stride { 2 } else { 1 };
            let depthwise = Op::Depthwise { kernel: 3, stride, bias: false, relu: false };
            x = self.push(&format!("{name}_depthwise{i}"), depthwise, &[x]);
            let width = block.width_of(i);
            x = self.conv(&format!("{name}_pointwise{i}"), x, 1, 1, width, false, false);
            x = self.push(&format!("{name}_norm{i}"), Op::BatchNorm { relu: !last }, &[x]);
        }
        if block.down == Down::MaxPool {
            x = self.push(&format!("{name}_pool"), Op::MaxPool, &[x]);
        }
        let fits = stride == 1 && self.nodes[input].shape[2] == block.width;
        let shortcut = if fits && !block.projection {
            input
        } else {
            let r =
                self.conv(&format!("{name}_residual"), input, 1, stride, block.width, false, false);
            self.push(&format!("{name}_residual_norm"), Op::BatchNorm { relu: false }, &[r])
        };
        self.push(&format!("{name}_add"), Op::Add { relu }, &[x, shortcut])
    }

    #[allow(clippy::too_many_arguments)] // one argument per field of the operation
    fn conv(
        &mut self,
        name: &str,
        x: usize,
        kernel: usize,
        stride: usize,
        filters: usize,
        bias: bool,
        relu: bool,
    ) -> usize {
        let [h, w, _] = self.nodes[x].shape;
        let shape = [same_side(h, stride), same_side(w, stride), filters];
        self.push_shaped(name, Op::Conv { kernel, stride, bias, relu }, &[x], shape)
    }

    /// Appends a node whose output shape follows from its input's.
    fn push(&mut self, name: &str, op: Op, inputs: &[usize]) -> usize {
        let shape = match op {
            Op::Input => [INPUT_SIDE, INPUT_SIDE, 1],
            _ => {
                let [h, w, c] = self.nodes[inputs[0]].shape;
                match op {
                    Op::Depthwise { stride, .. } => [same_side(h, stride), same_side(w, stride), c],
                    Op::MaxPool => [same_side(h, 2), same_side(w, 2), c],
                    Op::GlobalAveragePool => [1, 1, c],
                    _ => [h, w, c],
                }
            }
        };
        self.push_shaped(name, op, inputs, shape)
    }

    fn push_shaped(&mut self, name: &str, op: Op, inputs: &[usize], shape: Shape) -> usize {
        self.nodes.push(Node { name: name.into(), op, inputs: inputs.into(), shape });
        self.nodes.len() - 1
    }

    /// Shapes of the tensors that a node owns, by tensor name.
    pub fn tensors_of(&self, node: &Node) -> Vec<(&'static str, Vec<usize>)> {
        let channels = node.shape[2];
        let bias_if = |bias: bool| bias.then(|| ("bias", vec![channels]));
        match node.op {
            Op::Conv { kernel, bias, .. } => {
                let inputs = self.nodes[node.inputs[0]].shape[2];
                let weight = ("weight", vec![channels, kernel, kernel, inputs]);
                std::iter::once(weight).chain(bias_if(bias)).collect()
            }
            Op::Depthwise { kernel, bias, .. } => {
                let weight = ("weight", vec![kernel, kernel, channels]);
                std::iter::once(weight).chain(bias_if(bias)).collect()
            }
            Op::BatchNorm { .. } => {
                ["gamma", "beta", "mean", "variance"].map(|name| (name, vec![channels])).to_vec()
            }
            _ => Vec::new(),
        }
    }

    /// Multiply-accumulates of one picture in convolutions (batch norm folds away; pooling and
    /// additions are not counted).
    pub fn macs(&self) -> u64 {
        let of = |node: &Node| {
            let [h, w, c] = node.shape;
            let taps = match node.op {
                Op::Conv { kernel, .. } => kernel * kernel * self.nodes[node.inputs[0]].shape[2],
                Op::Depthwise { kernel, .. } => kernel * kernel,
                _ => 0,
            };
            (h * w * c * taps) as u64
        };
        self.nodes.iter().map(of).sum()
    }

    /// Output channels of all convolutions but the depthwise ones, which hand on those that they read.
    pub fn channels(&self) -> u64 {
        let convolutions = self.nodes.iter().filter(|node| matches!(node.op, Op::Conv { .. }));
        convolutions.map(|node| node.shape[2] as u64).sum()
    }

    /// Bytes of its int8 file, estimated: of each convolution one a weight, 12 an output channel
    /// for the bias and the scales of both, and 512 for names and structure. (The shipped file is
    /// 333 kB, its estimate as much.)
    pub fn int8_bytes(&self) -> u64 {
        let of = |node: &Node| match node.op {
            Op::Conv { .. } | Op::Depthwise { .. } => {
                let weights = self.tensors_of(node)[0].1.iter().product::<usize>();
                weights + 12 * node.shape[2] + 512
            }
            _ => 0,
        };
        self.nodes.iter().map(|node| of(node) as u64).sum()
    }

    /// Trained parameters (batch norm's gamma and beta included, its statistics not).
    pub fn parameters(&self) -> u64 {
        self.nodes
            .iter()
            .flat_map(|node| self.tensors_of(node))
            .filter(|(name, _)| !matches!(*name, "mean" | "variance"))
            .map(|(_, shape)| shape.iter().product::<usize>() as u64)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures of the blog post's network with one separable convolution a block, and the
    /// budget of the one that ships.
    #[test]
    fn presets_cost_what_they_should() {
        let reference = Graph::build(&Preset::named("reference").unwrap());
        assert!((137..=141).contains(&(reference.macs() / 1_000_000)), "{}", reference.macs());
        let slim = Graph::build(&Preset::named("slim").unwrap());
        assert!((19..=25).contains(&(slim.macs() / 1_000_000)), "{}", slim.macs());
        // With 12 bytes a channel of scales and biases the file stays within 350 kB.
        assert!(slim.parameters() < 280_000, "{}", slim.parameters());
        let shipped = include_bytes!("../../models/mien-slim.tflite").len() as u64;
        assert!(slim.int8_bytes().abs_diff(shipped) < shipped / 50, "{}", slim.int8_bytes());
    }

    /// What was written before inner widths came reads as it did, and is still written alike.
    #[test]
    fn inner_widths_are_written_only_where_there_are_some() {
        let text = serde_json::to_string(&Preset::slim()).unwrap();
        assert!(!text.contains("inner") && !text.contains("projection"), "{text}");
        assert_eq!(serde_json::from_str::<Preset>(&text).unwrap(), Preset::slim());
        let mut uneven = Preset::slim();
        uneven.blocks[2].inner = vec![40];
        uneven.blocks[3].projection = true;
        let text = serde_json::to_string(&uneven).unwrap();
        assert_eq!(serde_json::from_str::<Preset>(&text).unwrap(), uneven);
        let graph = Graph::build(&uneven);
        let shape = |name: &str| graph.nodes.iter().find(|node| node.name == name).unwrap().shape;
        assert_eq!((shape("block3_pointwise1")[2], shape("block3_pointwise2")[2]), (40, 64));
        assert_eq!(shape("block4_residual")[2], 64);
    }

    #[test]
    fn inner_widths_that_do_not_fit_are_refused() {
        let fault = |inner: &[usize]| {
            let mut preset = Preset::slim();
            preset.blocks[0].inner = inner.into();
            preset.fault()
        };
        assert_eq!(fault(&[40]), None);
        assert!(fault(&[0]).unwrap().contains("width of 0"));
        assert!(fault(&[40, 40]).unwrap().contains("2 inner widths, not 1"));
    }
}
