//! What each channel of a group is worth.

use serde::{Deserialize, Serialize};

use super::super::executor::{GAMMA, Weights};
use super::super::network::{Graph, Op};
use super::groups::{Group, Groups};

/// How a channel's worth is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Importance {
    /// By how much the loss would change without it, to first order (Molchanov et al. 2019).
    Taylor,
    /// By the sum of its filters' absolute weights (Li et al. 2017).
    L1,
    /// By its batch norms' scales (Liu et al. 2017, "network slimming").
    Scale,
}

/// The worth of each channel, by group.
#[derive(Clone, Debug, PartialEq)]
pub struct Worth {
    /// By group, then by channel; from 0 on.
    pub of: Vec<Vec<f64>>,
    /// Whether channels of different groups can be compared as they are. If not, a channel counts
    /// by its share in what is left of its group.
    pub comparable: bool,
}

impl Worth {
    /// By [`Importance::L1`].
    pub fn by_filters(groups: &Groups, weights: &Weights) -> Self {
        let of = |group: &Group| {
            let mut worth = vec![0.0; group.channels];
            for &maker in &group.makers {
                let weight = &weights.0[maker][0];
                let filters = weight.chunks_exact(weight.len() / group.channels);
                for (worth, filter) in worth.iter_mut().zip(filters) {
                    *worth += filter.iter().map(|w| f64::from(w.abs())).sum::<f64>();
                }
            }
            worth
        };
        Self { of: groups.groups.iter().map(of).collect(), comparable: false }
    }

    /// By [`Importance::Scale`]. In a group without batch norm all channels are worth 0.
    pub fn by_scales(graph: &Graph, groups: &Groups, weights: &Weights) -> Self {
        let of = |group: &Group| {
            let mut worth = vec![0.0; group.channels];
            for &node in &group.nodes {
                if let Op::BatchNorm { .. } = graph.nodes[node].op {
                    let scales = &weights.0[node][GAMMA];
                    worth
                        .iter_mut()
                        .zip(scales)
                        .for_each(|(w, scale)| *w += f64::from(scale.abs()));
                }
            }
            worth
        };
        Self { of: groups.groups.iter().map(of).collect(), comparable: false }
    }
}

/// Gathers [`Importance::Taylor`] over training batches.
///
/// Were a channel multiplied by `z`, the loss `L` would change from `z = 1` to 0, where the channel
/// is gone, by about `−∂L/∂z`. As only convolutions read what leaves a group, `∂L/∂z` is the sum of
/// `w · ∂L/∂w` over their weights for this channel: the trainer's own gradients say it, whatever
/// lies in between. Its square is averaged over the batches.
pub struct Taylor {
    squares: Vec<Vec<f64>>,
    batches: usize,
}

impl Taylor {
    /// Before the first batch.
    pub fn new(groups: &Groups) -> Self {
        let squares = groups.groups.iter().map(|group| vec![0.0; group.channels]).collect();
        Self { squares, batches: 0 }
    }

    /// Adds a batch, of which `gradients` are the gradients of the mean loss by `weights`.
    pub fn add(&mut self, groups: &Groups, weights: &Weights, gradients: &Weights) {
        for (squares, group) in self.squares.iter_mut().zip(&groups.groups) {
            let mut slopes = vec![0.0; group.channels];
            for &reader in &group.readers {
                let weight = weights.0[reader][0].chunks_exact(group.channels);
                let gradient = gradients.0[reader][0].chunks_exact(group.channels);
                for (weight, gradient) in weight.zip(gradient) {
                    for (slope, (w, g)) in slopes.iter_mut().zip(weight.iter().zip(gradient)) {
                        *slope += f64::from(*w) * f64::from(*g);
                    }
                }
            }
            squares.iter_mut().zip(slopes).for_each(|(square, slope)| *square += slope * slope);
        }
        self.batches += 1;
    }

    /// The mean over the batches.
    pub fn worth(self) -> Worth {
        let n = self.batches.max(1) as f64;
        let mean = |squares: Vec<f64>| squares.into_iter().map(|square| square / n).collect();
        Worth { of: self.squares.into_iter().map(mean).collect(), comparable: true }
    }
}
