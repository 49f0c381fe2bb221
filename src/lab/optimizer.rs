//! AdamW (Loshchilov & Hutter 2019) under a warm-up and cosine schedule, with clipped gradients,
//! and an exponential moving average of the weights.

use serde::{Deserialize, Serialize};

use super::executor::Weights;
use super::network::Graph;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;
/// The learning rate starts and ends at this share of its peak.
const RATE_FLOOR: f32 = 0.01;

/// How the weights are moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerSettings {
    /// Peak learning rate.
    pub learning_rate: f32,
    /// Share of all steps in which the learning rate rises; then it falls as a cosine does.
    pub warm_up: f32,
    /// Decay of convolution weights by one step, in learning rates.
    pub weight_decay: f32,
    /// Gradients are scaled down to this norm, all tensors together, where theirs is greater; 0
    /// leaves them.
    pub clip_norm: f32,
    /// The weights that are kept are a moving average over about so many steps; 1 is none.
    pub average_steps: f32,
}

impl Default for OptimizerSettings {
    fn default() -> Self {
        Self {
            learning_rate: 4e-3,
            warm_up: 0.15,
            weight_decay: 0.02,
            clip_norm: 1.0,
            average_steps: 1000.0,
        }
    }
}

impl OptimizerSettings {
    /// What is wrong with the settings, if anything is.
    pub fn fault(&self) -> Option<String> {
        let amounts = [self.learning_rate, self.weight_decay, self.clip_norm];
        if let Some(bad) = amounts.into_iter().find(|a| !(a.is_finite() && *a >= 0.0)) {
            return Some(format!("{bad} is not a number from 0 on"));
        }
        if !(0.0..1.0).contains(&self.warm_up) {
            return Some(format!("warm_up {} is not a share from 0 to below 1", self.warm_up));
        }
        let steps = self.average_steps;
        (!(1.0..f32::INFINITY).contains(&steps))
            .then(|| format!("average_steps {steps} is not a number from 1 on"))
    }
}

/// Moments of the gradients, and what each tensor is subject to.
pub struct AdamW {
    settings: OptimizerSettings,
    /// Steps of the whole schedule.
    total_steps: u64,
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
        settings: OptimizerSettings,
        total_steps: u64,
    ) -> Self {
        let kind = |name: &str| match name {
            "weight" => Kind::Decayed,
            "mean" | "variance" => Kind::Statistic,
            _ => Kind::Plain,
        };
        let kinds = |node| graph.tensors_of(node).iter().map(|(name, _)| kind(name)).collect();
        Self {
            settings,
            total_steps,
            first: weights.zeros_like(),
            second: weights.zeros_like(),
            kinds: graph.nodes.iter().map(kinds).collect(),
        }
    }

    /// Learning rate of step `step`, counted from 0.
    pub fn rate(&self, step: u64) -> f32 {
        let progress = (step as f32 + 0.5) / self.total_steps as f32;
        let warm_up = self.settings.warm_up;
        let share = if progress < warm_up {
            progress / warm_up
        } else {
            0.5 * (1.0 + (std::f32::consts::PI * (progress - warm_up) / (1.0 - warm_up)).cos())
        };
        self.settings.learning_rate * (RATE_FLOOR + (1.0 - RATE_FLOOR) * share)
    }

    /// Moves `weights` by one step.
    pub fn step(&mut self, step: u64, weights: &mut Weights, gradients: &Weights) {
        let rate = self.rate(step);
        let clip = self.clip_factor(gradients);
        let t = step as i32 + 1;
        let (correct1, correct2) = (1.0 - BETA1.powi(t), 1.0 - BETA2.powi(t));
        for (node, kinds) in self.kinds.iter().enumerate() {
            for (tensor, kind) in kinds.iter().enumerate() {
                if *kind == Kind::Statistic {
                    continue;
                }
                let keep = if *kind == Kind::Decayed {
                    1.0 - rate * self.settings.weight_decay
                } else {
                    1.0
                };
                let (first, second) =
                    (&mut self.first.0[node][tensor], &mut self.second.0[node][tensor]);
                let moments = first.iter_mut().zip(second);
                let values = weights.0[node][tensor].iter_mut().zip(&gradients.0[node][tensor]);
                for ((w, g), (m, v)) in values.zip(moments) {
                    let g = g * clip;
                    *m += (1.0 - BETA1) * (g - *m);
                    *v += (1.0 - BETA2) * (g * g - *v);
                    let move_by = (*m / correct1) / ((*v / correct2).sqrt() + EPSILON);
                    *w = *w * keep - rate * move_by;
                }
            }
        }
    }

    /// By what the gradients are multiplied so that their norm is at most `clip_norm`. A norm that
    /// is no number changes nothing: the loss tells of it.
    fn clip_factor(&self, gradients: &Weights) -> f32 {
        let limit = self.settings.clip_norm;
        let moved = gradients.0.iter().zip(&self.kinds).flat_map(|(tensors, kinds)| {
            tensors.iter().zip(kinds).filter(|(_, kind)| **kind != Kind::Statistic)
        });
        let squares = moved.flat_map(|(tensor, _)| tensor).map(|g| f64::from(*g).powi(2));
        let norm = squares.sum::<f64>().sqrt() as f32;
        if limit > 0.0 && norm > limit { limit / norm } else { 1.0 }
    }

    /// Moves `average` towards `weights`, by more in the first steps so that the start is
    /// forgotten.
    pub fn average(&self, step: u64, average: &mut Weights, weights: &Weights) {
        let slowest = 1.0 / self.settings.average_steps;
        // A tenth of the way so far, until that is more than `average_steps`.
        let share = slowest.max(10.0 / (step + 10) as f32).min(1.0);
        average_by(share, average, weights);
    }
}

fn average_by(share: f32, average: &mut Weights, weights: &Weights) {
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
        let settings = OptimizerSettings { learning_rate: 1.0, ..Default::default() };
        let optimizer = AdamW::new(&graph, &Weights(Vec::new()), settings, 1000);
        let rates: Vec<f32> = (0..1000).map(|step| optimizer.rate(step)).collect();
        assert!(rates[0] < 0.02 && rates[999] < 0.02);
        assert!(rates[..150].is_sorted() && rates[150..].is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn long_gradients_are_cut_to_the_limit_and_short_ones_left() {
        let graph = Graph::build(&Preset::named("slim").unwrap());
        let params = crate::lab::checkpoint::initialize(&graph, || 1.0);
        let weights = Weights::from_params(&graph, &params).unwrap();
        let settings = OptimizerSettings { clip_norm: 2.0, ..Default::default() };
        let optimizer = AdamW::new(&graph, &weights, settings, 10);
        let mut gradients = weights.zeros_like();
        assert_eq!(optimizer.clip_factor(&gradients), 1.0);
        gradients.0[1][0][..2].copy_from_slice(&[3.0, 4.0]);
        assert!((optimizer.clip_factor(&gradients) - 0.4).abs() < 1e-6);
    }
}
