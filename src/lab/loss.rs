//! The loss of a batch: cross-entropy against soft labels, each head masked where a face has no
//! label for it.

use super::network::{EXPRESSION_LOGITS, LOGITS};
use crate::expression::softmax;

/// What a training face is labelled with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Shares of the seven expressions; gender unknown.
    Expression([f32; 7]),
    /// Shares of female and male; expression unknown.
    Gender([f32; 2]),
}

/// Mean losses of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// Mean over faces labelled with an expression, in nats.
    pub expression: f32,
    /// Mean over faces labelled with a gender, in nats.
    pub gender: f32,
}

/// Losses of `logits` [n, 9], and in `dlogits` the gradient of
/// `expression loss + gender_weight · gender loss`.
pub fn cross_entropy(
    logits: &[f32],
    targets: &[Target],
    gender_weight: f32,
    dlogits: &mut [f32],
) -> Losses {
    let genders = targets.iter().filter(|t| matches!(t, Target::Gender(_))).count();
    let per_expression = 1.0 / (targets.len() - genders).max(1) as f32;
    let per_gender = 1.0 / genders.max(1) as f32;
    let mut losses = Losses::default();
    dlogits.fill(0.0);
    let rows = logits.chunks_exact(LOGITS).zip(dlogits.chunks_exact_mut(LOGITS));
    for ((logits, dlogits), target) in rows.zip(targets) {
        let (expression, gender) = logits.split_at(EXPRESSION_LOGITS);
        let (dexpression, dgender) = dlogits.split_at_mut(EXPRESSION_LOGITS);
        match target {
            Target::Expression(target) => {
                losses.expression +=
                    per_expression * head(expression, target, per_expression, dexpression);
            }
            Target::Gender(target) => {
                losses.gender +=
                    per_gender * head(gender, target, per_gender * gender_weight, dgender);
            }
        }
    }
    losses
}

/// Cross-entropy of one head of one face; its gradient times `weight` in `dlogits`.
fn head<const N: usize>(
    logits: &[f32],
    target: &[f32; N],
    weight: f32,
    dlogits: &mut [f32],
) -> f32 {
    let shares: [f32; N] = softmax(logits);
    for (d, (share, target)) in dlogits.iter_mut().zip(shares.iter().zip(target)) {
        *d = weight * (share - target);
    }
    // `clamp`, unlike `max`, lets NaN through, by which a diverged run is known.
    let log_share = |share: f32| share.clamp(f32::MIN_POSITIVE, 1.0).ln();
    -target.iter().zip(shares).map(|(target, share)| target * log_share(share)).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_the_losses_slope() {
        let mut logits: Vec<f32> = (0..27).map(|i| (i as f32 * 0.7).sin()).collect();
        let targets = [
            Target::Expression([0.1, 0.0, 0.2, 0.5, 0.0, 0.2, 0.0]),
            Target::Gender([1.0, 0.0]),
            Target::Expression([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
        ];
        let mut dlogits = [0.0; 27];
        cross_entropy(&logits, &targets, 0.5, &mut dlogits);
        for i in 0..27 {
            let mut loss_at = |logit: f32| {
                let before = std::mem::replace(&mut logits[i], logit);
                let losses = cross_entropy(&logits, &targets, 0.5, &mut [0.0; 27]);
                logits[i] = before;
                losses.expression + 0.5 * losses.gender
            };
            let logit = (i as f32 * 0.7).sin();
            let slope = (loss_at(logit + 1e-2) - loss_at(logit - 1e-2)) / 2e-2;
            assert!((dlogits[i] - slope).abs() < 1e-3, "{i}: {} is not {slope}", dlogits[i]);
        }
    }
}
