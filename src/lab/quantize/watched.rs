//! Calibration pictures, and how far looking at them is.

use super::super::float::FloatGraph;

/// Calibration pictures, [n, height, width, channels], and who is told how many were looked at.
pub struct Watched<'w> {
    /// Normalized.
    pub pictures: &'w [f32],
    /// Called with how many.
    pub watch: &'w mut dyn FnMut(usize),
}

impl Watched<'_> {
    /// Pictures.
    pub fn count(&self, graph: &FloatGraph) -> usize {
        self.pictures.len() / graph.input_len()
    }

    /// As [`FloatGraph::for_each_batch`].
    pub fn for_each_batch(&mut self, graph: &FloatGraph, mut observe: impl FnMut(&[Vec<f32>])) {
        graph.for_each_batch(self.pictures, |values| {
            observe(values);
            (self.watch)(values[0].len() / graph.input_len());
        });
    }
}
