//! A network on its way from Keras' layers.

use super::super::super::float::{Layer, LayerError, Layers};
use super::weights::Weights;

/// What has been read so far.
pub struct Network<'w> {
    /// The layers.
    pub layers: Layers,
    /// By value: whether Keras takes it for a list of numbers, not for a picture.
    is_flat: Vec<bool>,
    /// Of the file.
    pub weights: &'w Weights,
}

impl<'w> Network<'w> {
    /// One that so far is its input.
    pub fn new(layers: Layers, weights: &'w Weights) -> Self {
        Self { layers, is_flat: vec![false], weights }
    }

    /// Adds a layer, whose value is as flat as its input.
    pub fn push(
        &mut self,
        name: &str,
        layer: Layer,
        inputs: &[usize],
    ) -> Result<usize, LayerError> {
        let is_flat = inputs.first().is_some_and(|input| self.is_flat(*input));
        self.push_as(name, layer, inputs, is_flat)
    }

    /// Adds a layer, whose value is a list of numbers or a picture.
    pub fn push_as(
        &mut self,
        name: &str,
        layer: Layer,
        inputs: &[usize],
        is_flat: bool,
    ) -> Result<usize, LayerError> {
        let value = self.layers.push(name, layer, inputs)?;
        self.is_flat.push(is_flat);
        Ok(value)
    }

    /// Whether Keras takes a value for a list of numbers.
    pub fn is_flat(&self, value: usize) -> bool {
        self.is_flat.get(value).is_some_and(|is_flat| *is_flat)
    }
}
