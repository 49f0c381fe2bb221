//! A network as frameworks describe it: what a reader hands over.
//!
//! Activations are height × width × channels, whatever the file's order; a reader that finds
//! another order turns the weights. Each layer is checked as it is added, so that nothing later has
//! to doubt shapes or sizes.

use super::super::network::Shape;
use super::window::{Activation, Margins, Window};

/// Most values of one activation: none of the networks meant comes near, and a forged file can't
/// ask for all memory.
pub const MAX_VALUE_LEN: usize = 1 << 24;
/// Most layers.
const MAX_LAYERS: usize = 4096;

/// A network, layer by layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layers {
    nodes: Vec<LayerNode>,
}

/// A layer and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNode {
    /// As the file has it.
    pub name: String,
    /// What it computes.
    pub layer: Layer,
    /// Values it reads: indices of earlier layers.
    pub inputs: Vec<usize>,
    /// Height, width and channels of what it gives.
    pub shape: Shape,
}

/// What a layer computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// The picture, as it was normalized for training.
    Input,
    /// Convolution; weights `[out, height, width, in]`.
    Conv(Filter),
    /// Depthwise convolution; weights `[height, width, channels]`.
    Depthwise(Filter),
    /// Every output from every input; weights `[out, in]`. It reads what has neither height nor
    /// width left.
    Dense(Filter),
    /// `scale · x + shift` by channel: a batch norm after training.
    Affine {
        /// By channel.
        scale: Vec<f32>,
        /// By channel.
        shift: Vec<f32>,
    },
    /// An activation by itself.
    Activation(Activation),
    /// Greatest value under a window.
    MaxPool(Window),
    /// Mean of the values under a window, without those beyond the edge.
    AveragePool(Window),
    /// Mean over the picture.
    GlobalAveragePool,
    /// Zeros around.
    Pad(Margins),
    /// Sum of two values of one shape.
    Add,
    /// All inputs' channels, one after the other.
    Concat,
    /// All values as channels of one pixel, row by row, pixel by pixel.
    Flatten,
    /// Shares of the channels; only at the end.
    Softmax,
    /// The same values: a dropout after training, a reshape that changes nothing.
    Identity,
}

impl Layer {
    /// A batch norm after training, from its gamma, beta, mean and variance by channel.
    pub fn batch_norm([gamma, beta, mean, variance]: &[Vec<f32>; 4], epsilon: f32) -> Self {
        let scale: Vec<f32> =
            gamma.iter().zip(variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
        let shift = beta.iter().zip(mean).zip(&scale).map(|((b, m), s)| b - s * m).collect();
        Self::Affine { scale, shift }
    }
}

/// Weights, and how they are used.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// See [`Layer`].
    pub weights: Vec<f32>,
    /// By output channel.
    pub bias: Option<Vec<f32>>,
    /// Where it looks; of a dense layer, [`Window::PIXEL`].
    pub window: Window,
    /// What follows.
    pub activation: Activation,
}

/// A layer that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("layer `{layer}`: {why}")]
pub struct LayerError {
    /// Its name.
    pub layer: String,
    /// What is wrong, and what to do.
    pub why: String,
}

impl LayerError {
    /// Of this layer.
    pub fn new(layer: &str, why: impl Into<String>) -> Self {
        Self { layer: layer.into(), why: why.into() }
    }
}

impl Layers {
    /// A network that so far is its input.
    pub fn new(name: &str, input: Shape) -> Result<Self, LayerError> {
        if value_len(input).is_none() {
            return Err(LayerError::new(name, format!("a picture of {input:?} can't be used")));
        }
        let node =
            LayerNode { name: name.into(), layer: Layer::Input, inputs: Vec::new(), shape: input };
        Ok(Self { nodes: vec![node] })
    }

    /// All layers; the last one is the output.
    pub fn nodes(&self) -> &[LayerNode] {
        &self.nodes
    }

    /// Shape of value `index`.
    pub fn shape(&self, index: usize) -> Shape {
        self.nodes[index].shape
    }

    /// Adds a layer and gives the index of its value.
    pub fn push(
        &mut self,
        name: &str,
        layer: Layer,
        inputs: &[usize],
    ) -> Result<usize, LayerError> {
        let wrong = |why: String| LayerError::new(name, why);
        if self.nodes.len() == MAX_LAYERS {
            return Err(wrong(format!("it is one of more than {MAX_LAYERS}")));
        }
        if inputs.is_empty() || inputs.iter().any(|input| *input >= self.nodes.len()) {
            return Err(wrong("it reads what no earlier layer gives".into()));
        }
        let shapes: Vec<Shape> = inputs.iter().map(|input| self.nodes[*input].shape).collect();
        let shape = output_shape(&layer, &shapes).map_err(wrong)?;
        if value_len(shape).is_none() {
            return Err(wrong(format!("what it gives, {shape:?}, can't be used")));
        }
        let node = LayerNode { name: name.into(), layer, inputs: inputs.into(), shape };
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }
}

/// Elements of a value, if it is one that can be used.
pub(super) fn value_len(shape: Shape) -> Option<usize> {
    let len = shape.iter().try_fold(1usize, |len, &side| len.checked_mul(side))?;
    (1..=MAX_VALUE_LEN).contains(&len).then_some(len)
}

/// Shape of what a layer gives, if it fits its inputs.
fn output_shape(layer: &Layer, inputs: &[Shape]) -> Result<Shape, String> {
    let [h, w, c] = inputs[0];
    let several = matches!(layer, Layer::Add | Layer::Concat);
    if (inputs.len() > 1) != several && !matches!(layer, Layer::Concat) {
        return Err(format!("it reads {} values", inputs.len()));
    }
    match layer {
        Layer::Input => Err("there is an input already".into()),
        Layer::Conv(filter) => {
            let out = outputs(filter, filter.window.kernel[0] * filter.window.kernel[1] * c)?;
            Ok(with_channels(slid(&filter.window, [h, w])?, out))
        }
        Layer::Depthwise(filter) => {
            expect_len(
                "weights",
                &filter.weights,
                filter.window.kernel.iter().product::<usize>() * c,
            )?;
            expect_bias(filter, c)?;
            Ok(with_channels(slid(&filter.window, [h, w])?, c))
        }
        Layer::Dense(filter) => {
            if [h, w] != [1, 1] {
                return Err(format!(
                    "it reads {h}×{w} pixels; a Flatten or a pooling must come first"
                ));
            }
            Ok([1, 1, outputs(filter, c)?])
        }
        Layer::Affine { scale, shift } => {
            expect_len("scales", scale, c)?;
            expect_len("shifts", shift, c)?;
            Ok(inputs[0])
        }
        Layer::Activation(_) | Layer::Softmax | Layer::Identity => Ok(inputs[0]),
        Layer::MaxPool(window) | Layer::AveragePool(window) => {
            Ok(with_channels(slid(window, [h, w])?, c))
        }
        Layer::GlobalAveragePool => Ok([1, 1, c]),
        Layer::Pad(Margins { top, bottom, left, right }) => {
            let side = |side: usize, before: &usize, after: &usize| {
                side.checked_add(*before)?.checked_add(*after)
            };
            match (side(h, top, bottom), side(w, left, right)) {
                (Some(h), Some(w)) => Ok([h, w, c]),
                _ => Err("its padding can't be used".into()),
            }
        }
        Layer::Add if inputs.len() == 2 && inputs[0] == inputs[1] => Ok(inputs[0]),
        Layer::Add => Err(format!("it adds {inputs:?}; two values of one shape can be")),
        Layer::Concat => {
            if inputs.iter().any(|[oh, ow, _]| [*oh, *ow] != [h, w]) {
                return Err(format!("it joins {inputs:?}, whose heights and widths differ"));
            }
            let channels = inputs.iter().try_fold(0usize, |sum, [_, _, c]| sum.checked_add(*c));
            Ok([h, w, channels.ok_or("it joins too much")?])
        }
        Layer::Flatten => Ok([1, 1, h * w * c]),
    }
}

fn with_channels([h, w]: [usize; 2], channels: usize) -> Shape {
    [h, w, channels]
}

fn slid(window: &Window, sides: [usize; 2]) -> Result<[usize; 2], String> {
    let Window { kernel, stride, .. } = window;
    window.output(sides).ok_or_else(|| {
        let [h, w] = sides;
        format!("a window of {kernel:?} and stride {stride:?} can't slide over {h}×{w} pixels")
    })
}

/// Output channels of a filter with so many weights each.
fn outputs(filter: &Filter, each: usize) -> Result<usize, String> {
    if each == 0 || filter.weights.is_empty() || !filter.weights.len().is_multiple_of(each) {
        return Err(format!("{} weights are not {each} for each output", filter.weights.len()));
    }
    expect_len("weights", &filter.weights, filter.weights.len())?;
    let outputs = filter.weights.len() / each;
    expect_bias(filter, outputs)?;
    Ok(outputs)
}

fn expect_bias(filter: &Filter, channels: usize) -> Result<(), String> {
    filter.bias.as_ref().map_or(Ok(()), |bias| expect_len("biases", bias, channels))
}

fn expect_len(what: &str, values: &[f32], len: usize) -> Result<(), String> {
    if values.len() != len {
        return Err(format!("it has {} {what}, not {len}", values.len()));
    }
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(()),
        false => Err(format!("its {what} hold values that are no numbers")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::window::Padding;
    use super::*;

    fn filter(weights: usize, bias: Option<usize>, window: Window) -> Filter {
        let bias = bias.map(|n| vec![0.0; n]);
        Filter { weights: vec![0.5; weights], bias, window, activation: Activation::None }
    }

    fn three() -> Window {
        Window { kernel: [3, 3], stride: [2, 2], padding: Padding::Same }
    }

    #[test]
    fn shapes_follow_the_layers() {
        let mut layers = Layers::new("in", [48, 48, 1]).unwrap();
        let a = layers.push("a", Layer::Conv(filter(9 * 4, Some(4), three())), &[0]).unwrap();
        assert_eq!(layers.shape(a), [24, 24, 4]);
        let b = layers.push("b", Layer::Depthwise(filter(36, None, three())), &[a]).unwrap();
        let c = layers.push("c", Layer::Concat, &[b, b, b]).unwrap();
        assert_eq!(layers.shape(c), [12, 12, 12]);
        let d = layers.push("d", Layer::Flatten, &[c]).unwrap();
        let weights = 3 * 12 * 12 * 12;
        let e = layers.push("e", Layer::Dense(filter(weights, Some(3), Window::PIXEL)), &[d]);
        assert_eq!(layers.shape(e.unwrap()), [1, 1, 3]);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let layers = Layers::new("in", [48, 48, 2]).unwrap();
        let refused = |layer: Layer, inputs: &[usize]| {
            layers.clone().push("l7", layer, inputs).unwrap_err().to_string()
        };
        let nan = Filter { weights: vec![f32::NAN; 18], ..filter(18, None, three()) };
        let far = Margins { top: usize::MAX, ..Margins::default() };
        for (error, word) in [
            (refused(Layer::Conv(filter(17, None, three())), &[0]), "17 weights"),
            (refused(Layer::Conv(filter(18, Some(2), three())), &[0]), "2 biases"),
            (refused(Layer::Conv(nan), &[0]), "no numbers"),
            (refused(Layer::Add, &[0]), "1 values"),
            (refused(Layer::Softmax, &[0, 0]), "2 values"),
            (refused(Layer::Softmax, &[1]), "no earlier layer"),
            (refused(Layer::Dense(filter(8, None, Window::PIXEL)), &[0]), "Flatten"),
            (refused(Layer::Pad(far), &[0]), "padding"),
            (refused(Layer::Affine { scale: vec![1.0], shift: vec![0.0; 2] }, &[0]), "1 scales"),
        ] {
            assert!(error.starts_with("layer `l7`: ") && error.contains(word), "{error}");
        }
        assert!(Layers::new("in", [usize::MAX, 2, 1]).is_err());
    }
}
