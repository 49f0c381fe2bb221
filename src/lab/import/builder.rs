//! What readers build a network with.

use std::collections::HashSet;

use super::super::float::window::Margins;
use super::super::float::{Layer, LayerError, Layers, Padding};
use super::super::network::Shape;

/// Most weights and biases of a network, those included that lowering makes of pools and
/// activations. A short file can refer to the same long tensor many times.
const MAX_PARAMETERS: usize = 1 << 26;
/// Longest side, stride or margin of a window.
pub const MAX_SIDE: usize = 4096;

/// A network being built: each layer's name is made unique, and what all need is limited.
pub struct Builder {
    layers: Layers,
    names: HashSet<String>,
    parameters: usize,
}

impl Builder {
    /// A network that so far is its input.
    pub fn new(name: &str, input: Shape) -> Result<Self, LayerError> {
        let names = HashSet::from([name.to_string()]);
        Ok(Self { layers: Layers::new(name, input)?, names, parameters: 0 })
    }

    /// Height, width and channels of a value that this builder gave.
    pub fn shape(&self, value: usize) -> Shape {
        self.layers.shape(value)
    }

    /// Adds a layer and gives its value.
    pub fn push(
        &mut self,
        name: &str,
        layer: Layer,
        inputs: &[usize],
    ) -> Result<usize, LayerError> {
        let shape = inputs.first().map_or([0; 3], |input| self.shape(*input));
        self.parameters = self.parameters.saturating_add(parameters(&layer, shape));
        if self.parameters > MAX_PARAMETERS {
            let why = format!("the network has more than {MAX_PARAMETERS} weights; use a smaller");
            return Err(LayerError::new(name, why));
        }
        let name = self.unique(name);
        self.layers.push(&name, layer, inputs)
    }

    /// Adds `constant · x` and the like, as [`Arithmetic`] says.
    pub fn push_affine(
        &mut self,
        name: &str,
        arithmetic: Arithmetic,
        constant: &[f32],
        input: usize,
    ) -> Result<usize, LayerError> {
        let [_, _, channels] = self.shape(input);
        // Before anything of that length is made.
        if self.parameters.saturating_add(2 * channels) > MAX_PARAMETERS {
            return Err(LayerError::new(name, "the network has too many channels; use a smaller"));
        }
        let constant = match constant {
            [one] => vec![*one; channels],
            _ => constant.to_vec(),
        };
        self.push(name, arithmetic.with(constant), &[input])
    }

    /// The network whose output is this value.
    pub fn finish(mut self, output: usize) -> Result<Layers, LayerError> {
        if output + 1 != self.layers.nodes().len() {
            self.push("output", Layer::Identity, &[output])?;
        }
        Ok(self.layers)
    }

    fn unique(&mut self, name: &str) -> String {
        let taken = |name: &String| self.names.contains(name);
        let first = self.layers.nodes().len();
        let mut unique = name.to_string();
        for n in first.. {
            if !taken(&unique) {
                break;
            }
            unique = format!("{name}_{n}");
        }
        self.names.insert(unique.clone());
        unique
    }
}

/// Weights and biases that the lowered form of a layer needs.
fn parameters(layer: &Layer, [h, w, c]: Shape) -> usize {
    match layer {
        Layer::Conv(filter) | Layer::Depthwise(filter) | Layer::Dense(filter) => {
            filter.weights.len().saturating_add(filter.bias.as_ref().map_or(0, Vec::len))
        }
        Layer::Affine { .. } | Layer::Activation(_) => 2 * c,
        Layer::AveragePool(window) => {
            window.kernel.iter().fold(c, |len, side| len.saturating_mul(*side))
        }
        Layer::GlobalAveragePool => h * w * c,
        _ => 0,
    }
}

/// What is done with a value and a constant.
#[derive(Clone, Copy)]
pub enum Arithmetic {
    /// `x + constant`.
    Add,
    /// `x − constant`.
    Subtract,
    /// `x · constant`.
    Multiply,
    /// `x / constant`.
    Divide,
}

impl Arithmetic {
    fn with(self, constant: Vec<f32>) -> Layer {
        let shift_by = |shift: Vec<f32>| Layer::Affine { scale: vec![1.0; shift.len()], shift };
        let scale_by = |scale: Vec<f32>| Layer::Affine { shift: vec![0.0; scale.len()], scale };
        match self {
            Self::Add => shift_by(constant),
            Self::Subtract => shift_by(constant.iter().map(|value| -value).collect()),
            Self::Multiply => scale_by(constant),
            Self::Divide => scale_by(constant.iter().map(|value| 1.0 / value).collect()),
        }
    }
}

/// A side, stride or margin as files have it.
pub fn side(value: i64) -> Option<usize> {
    usize::try_from(value).ok().filter(|side| *side <= MAX_SIDE)
}

/// Sides or strides, height first: at least 1 each.
pub fn sides(values: &[i64]) -> Option<[usize; 2]> {
    let &[h, w] = values else { return None };
    let sides = [side(h)?, side(w)?];
    (!sides.contains(&0)).then_some(sides)
}

/// Padding of these margins.
pub fn explicit(margins: Margins) -> Padding {
    if margins.is_none() { Padding::Valid } else { Padding::Explicit(margins) }
}

/// Order in which a file has values that this project has by height, width, channels: for each of
/// these, its place in a file that has channels first.
pub fn channels_first([h, w, c]: Shape) -> impl Iterator<Item = usize> {
    (0..h * w).flat_map(move |pixel| (0..c).map(move |channel| channel * h * w + pixel))
}

#[cfg(test)]
mod tests {
    use super::super::super::float::layers::Filter;
    use super::super::super::float::{Activation, Window};
    use super::*;

    #[test]
    fn names_are_made_unique() {
        let mut builder = Builder::new("x", [4, 4, 1]).unwrap();
        let mut value = 0;
        for name in ["a", "x", "a", "a_3"] {
            value = builder.push(name, Layer::Identity, &[value]).unwrap();
        }
        let layers = builder.finish(2).unwrap();
        let names: HashSet<&str> = layers.nodes().iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names.len(), 6, "{names:?}");
        assert_eq!(layers.nodes()[5].inputs, [2]);
    }

    #[test]
    fn a_tensor_used_over_and_over_is_refused_in_time() {
        let mut builder = Builder::new("x", [1, 1, 1 << 10]).unwrap();
        let filter = || Filter {
            weights: vec![0.0; 1 << 20],
            bias: None,
            window: Window::PIXEL,
            activation: Activation::None,
        };
        let error = (0..100)
            .try_fold(0, |value, _| builder.push("dense", Layer::Dense(filter()), &[value]))
            .unwrap_err();
        assert!(error.to_string().contains("weights"), "{error}");
    }

    #[test]
    fn channels_first_is_turned() {
        // Two channels of 1×3 pixels: 0 1 2 and 3 4 5.
        assert_eq!(channels_first([1, 3, 2]).collect::<Vec<_>>(), [0, 3, 1, 4, 2, 5]);
    }
}
