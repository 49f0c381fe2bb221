//! AdamW (Loshchilov & Hutter 2019) under a warm-up and cosine schedule, and an exponential
//! moving average of the weights.

use super::executor::Weights;
use super::network::Graph;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;
/// Share of all steps in which the learning rate rises.
const WARM_UP: f32 = 0.15;
/// The learning rate starts and ends at this share of its peak.
const RATE_FLOOR: f32 = 0.01;

/// Moments of the gradients, and what each tensor is subject to.
pub struct AdamW {
    /// Peak learning rate.
    pub peak_rate: f32,
    /// Decay of convolution weights by one step, in learning rates.
    pub weight_decay: f32,
    /// Steps of the whole schedule.
    pub total_steps: u64,
    /// Running mean of the gradients.
    pub first: Weights,
    /// Running mean of the squared gradients.
    pub second: Weights,
    kinds: Vec<Vec<Kind>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Decayed,
    Plain,
    /// Batch-norm statistics, which the forward pass moves.
    Statistic,
}

impl AdamW {
    /// An optimizer at rest.
    pub fn new(
        graph: &Graph,
        weights: &Weights,
        peak_rate: f32,
        weight_decay: f32,
        total_steps: u64,
    ) -> Self {
        let kind = |name: &str| match name {
            "weight" => Kind::Decayed,
            "mean" | "variance" => Kind::Statistic,
            _ => Kind::Plain,
        };
        let kinds = |node| graph.tensors_of(node).iter().map(|(name, _)| kind(name)).collect();
        Self {
            peak_rate,
            weight_decay,
            total_steps,
            first: weights.zeros_like(),
            second: weights.zeros_like(),
            kinds: graph.nodes.iter().map(kinds).collect(),
        }
    }

    /// Learning rate of step `step`, counted from 0.
    pub fn rate(&self, step: u64) -> f32 {
        let progress = (step as f32 + 0.5) / self.total_steps as f32;
        let share = if progress < WARM_UP {
            progress / WARM_UP
        } else {
            0.5 * (1.0 + (std::f32::consts::PI * (progress - WARM_UP) / (1.0 - WARM_UP)).cos())
        };
        self.peak_rate * (RATE_FLOOR + (1.0 - RATE_FLOOR) * share)
    }

    /// Moves `weights` by one step.
    pub fn step(&mut self, step: u64, weights: &mut Weights, gradients: &Weights) {
        let rate = self.rate(step);
        let t = step as i32 + 1;
        let (correct1, correct2) = (1.0 - BETA1.powi(t), 1.0 - BETA2.powi(t));
        for (node, kinds) in self.kinds.iter().enumerate() {
            for (tensor, kind) in kinds.iter().enumerate() {
                if *kind == Kind::Statistic {
                    continue;
                }
                let keep =
                    if *kind == Kind::Decayed { 1.0 - rate * self.weight_decay } else { 1.0 };
                let (first, second) =
                    (&mut self.first.0[node][tensor], &mut self.second.0[node][tensor]);
                let moments = first.iter_mut().zip(second);
                let values = weights.0[node][tensor].iter_mut().zip(&gradients.0[node][tensor]);
                for ((w, g), (m, v)) in values.zip(moments) {
                    *m += (1.0 - BETA1) * (g - *m);
                    *v += (1.0 - BETA2) * (g * g - *v);
                    let move_by = (*m / correct1) / ((*v / correct2).sqrt() + EPSILON);
                    *w = *w * keep - rate * move_by;
                }
            }
        }
    }
}

/// Moves `average` towards `weights`, by more in the first steps so that the start is forgotten.
pub fn average_weights(step: u64, average: &mut Weights, weights: &Weights) {
    /// About the last 500 steps count.
    const SLOWEST: f32 = 0.002;
    let share = SLOWEST.max(1.0 / (step + 1) as f32).min(1.0);
    for (average, weights) in average.0.iter_mut().flatten().zip(weights.0.iter().flatten()) {
        average.iter_mut().zip(weights).for_each(|(a, w)| *a += share * (w - *a));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::network::{Graph, Preset};

    #[test]
    fn the_rate_rises_then_falls() {
        let graph = Graph::build(&Preset::named("slim").unwrap());
        let optimizer = AdamW::new(&graph, &Weights(Vec::new()), 1.0, 0.0, 1000);
        let rates: Vec<f32> = (0..1000).map(|step| optimizer.rate(step)).collect();
        assert!(rates[0] < 0.02 && rates[999] < 0.02);
        assert!(rates[..150].is_sorted() && rates[150..].is_sorted_by(|a, b| a >= b));
    }
}
