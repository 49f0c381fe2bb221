//! The loss of a batch: cross-entropy or focal loss against soft labels, each head over the faces
//! that are labelled for it.

use serde::{Deserialize, Serialize};

use super::network::{EXPRESSION_LOGITS, GENDER_LOGITS, LOGITS};
use crate::classifier::softmax;

/// What a training face is labelled with: shares of the seven expressions, of female and male.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Target {
    /// None where the expression is not known.
    pub expression: Option<[f32; EXPRESSION_LOGITS]>,
    /// None where the gender is not known.
    pub gender: Option<[f32; GENDER_LOGITS]>,
}

impl Target {
    /// A face of which only the expression is known.
    pub fn expression(shares: [f32; EXPRESSION_LOGITS]) -> Self {
        Self { expression: Some(shares), gender: None }
    }

    /// A face of which only the gender is known.
    pub fn gender(shares: [f32; GENDER_LOGITS]) -> Self {
        Self { expression: None, gender: Some(shares) }
    }

    /// Where both are known, `share` of `other` and the rest of this one (mixup).
    pub fn mixed(&self, other: &Self, share: f32) -> Self {
        Self {
            expression: mixed(self.expression, other.expression, share),
            gender: mixed(self.gender, other.gender, share),
        }
    }
}

fn mixed<const N: usize>(a: Option<[f32; N]>, b: Option<[f32; N]>, share: f32) -> Option<[f32; N]> {
    let (a, b) = (a?, b?);
    Some(std::array::from_fn(|i| (1.0 - share) * a[i] + share * b[i]))
}

/// What is minimized.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossSettings {
    /// Share of every expression label that is spread evenly over the classes (Szegedy et al.
    /// 2016).
    pub label_smoothing: f32,
    /// The same for gender: FairFace's labels are judgements, some of them wrong.
    pub gender_smoothing: f32,
    /// A face counts by its class's frequency to the power of minus this: 0 as frequent, 1 every
    /// class alike.
    pub class_balance: f32,
    /// Exponent γ of the focal loss (Lin et al. 2017): how little sure answers count. 0 is
    /// cross-entropy.
    pub focal_gamma: f32,
    /// Weight of the gender loss beside the expression loss.
    pub gender_weight: f32,
}

impl Default for LossSettings {
    fn default() -> Self {
        Self {
            label_smoothing: 0.0,
            gender_smoothing: 0.05,
            class_balance: 0.0,
            focal_gamma: 0.0,
            gender_weight: 0.5,
        }
    }
}

impl LossSettings {
    /// What is wrong with the settings, if anything is.
    pub fn fault(&self) -> Option<String> {
        let shares = [self.label_smoothing, self.gender_smoothing];
        if let Some(share) = shares.into_iter().find(|share| !(0.0..1.0).contains(share)) {
            return Some(format!("smoothing {share} is not a share from 0 to below 1"));
        }
        let amounts = [self.class_balance, self.focal_gamma, self.gender_weight];
        let bad = amounts.into_iter().find(|amount| !(amount.is_finite() && *amount >= 0.0));
        bad.map(|amount| format!("{amount} is not a number from 0 on"))
    }
}

/// Mean losses of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// Mean over faces labelled with an expression, in nats.
    pub expression: f32,
    /// Mean over faces labelled with a gender, in nats.
    pub gender: f32,
}

/// The settings, with the weight of each class worked out.
#[derive(Clone, Debug)]
pub struct Loss {
    settings: LossSettings,
    class_weights: [f32; EXPRESSION_LOGITS],
}

impl Loss {
    /// A loss for faces of which `frequencies` is the sum of the expression labels.
    pub fn new(settings: LossSettings, frequencies: [f32; EXPRESSION_LOGITS]) -> Self {
        let total: f32 = frequencies.iter().sum();
        let raw = frequencies.map(|n| n.max(1.0).powf(-settings.class_balance));
        // Over the faces the weights average to 1.
        let mean = raw.iter().zip(frequencies).map(|(w, n)| w * n).sum::<f32>() / total.max(1.0);
        let class_weights = raw.map(|weight| if mean > 0.0 { weight / mean } else { 1.0 });
        Self { settings, class_weights }
    }

    /// Losses of `logits` [n, 9], and in `dlogits` the gradient of
    /// `expression loss + gender_weight · gender loss`.
    pub fn of(&self, logits: &[f32], targets: &[Target], dlogits: &mut [f32]) -> Losses {
        let LossSettings { label_smoothing, gender_smoothing, focal_gamma, gender_weight, .. } =
            self.settings;
        let expressions = targets.iter().filter(|t| t.expression.is_some()).count();
        let genders = targets.iter().filter(|t| t.gender.is_some()).count();
        let per_expression = 1.0 / expressions.max(1) as f32;
        let per_gender = 1.0 / genders.max(1) as f32;
        let mut losses = Losses::default();
        dlogits.fill(0.0);
        let rows = logits.chunks_exact(LOGITS).zip(dlogits.chunks_exact_mut(LOGITS));
        for ((logits, dlogits), target) in rows.zip(targets) {
            let (expression, gender) = logits.split_at(EXPRESSION_LOGITS);
            let (dexpression, dgender) = dlogits.split_at_mut(EXPRESSION_LOGITS);
            if let Some(target) = &target.expression {
                let weight: f32 = target.iter().zip(self.class_weights).map(|(t, w)| t * w).sum();
                let target = smoothed(target, label_smoothing);
                let scale = per_expression * weight;
                losses.expression +=
                    scale * head(expression, &target, focal_gamma, scale, dexpression);
            }
            if let Some(target) = &target.gender {
                let target = smoothed(target, gender_smoothing);
                losses.gender +=
                    per_gender * head(gender, &target, 0.0, per_gender * gender_weight, dgender);
            }
        }
        losses
    }
}

/// `−ln softmax` of the logits at a label, in nats.
pub fn surprise(logits: impl Iterator<Item = f64> + Clone, label: usize) -> f64 {
    let max = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    let at_label = logits.clone().nth(label).unwrap_or(f64::NEG_INFINITY);
    logits.map(|logit| (logit - max).exp()).sum::<f64>().ln() + max - at_label
}

fn smoothed<const N: usize>(target: &[f32; N], share: f32) -> [f32; N] {
    target.map(|t| (1.0 - share) * t + share / N as f32)
}

/// Focal loss `−Σ t (1 − p)^γ ln p` of one head of one face; its gradient times `scale` in
/// `dlogits`.
///
/// With `h = t·((1 − p)^γ − γ·p·(1 − p)^(γ−1)·ln p)` by class, the gradient by logit k is
/// `p_k·Σh − h_k`; at γ = 0 that is cross-entropy's `p_k − t_k`.
fn head<const N: usize>(
    logits: &[f32],
    target: &[f32; N],
    gamma: f32,
    scale: f32,
    dlogits: &mut [f32],
) -> f32 {
    let shares: [f32; N] = softmax(logits);
    // `clamp`, unlike `max`, lets NaN through, by which a diverged run is known.
    let ln = |share: f32| share.clamp(f32::MIN_POSITIVE, 1.0).ln();
    let mut loss = 0.0;
    let mut h = [0.0; N];
    for ((h, p), t) in h.iter_mut().zip(shares).zip(target) {
        // A tiny floor keeps (1 − p)^(γ−1) finite for γ below 1.
        let rest = (1.0 - p).max(1e-6);
        let fade = if gamma == 0.0 { 1.0 } else { rest.powf(gamma) };
        *h = t * (fade - gamma * p * fade / rest * ln(p));
        loss -= t * fade * ln(p);
    }
    let sum: f32 = h.iter().sum();
    for ((d, p), h) in dlogits.iter_mut().zip(shares).zip(h) {
        *d = scale * (p * sum - h);
    }
    loss
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: [Target; 3] = [
        Target { expression: Some([0.1, 0.0, 0.2, 0.5, 0.0, 0.2, 0.0]), gender: None },
        Target { expression: None, gender: Some([1.0, 0.0]) },
        Target {
            expression: Some([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
            gender: Some([0.25, 0.75]),
        },
    ];

    fn logits() -> Vec<f32> {
        (0..27).map(|i| (i as f32 * 0.7).sin()).collect()
    }

    #[test]
    fn the_gradient_is_the_losses_slope() {
        let all = LossSettings {
            label_smoothing: 0.1,
            gender_smoothing: 0.05,
            class_balance: 0.7,
            focal_gamma: 1.5,
            gender_weight: 0.5,
        };
        for settings in [LossSettings::default(), all] {
            let gender_weight = settings.gender_weight;
            let loss = Loss::new(settings, [5.0, 1.0, 3.0, 9.0, 2.0, 4.0, 6.0]);
            let mut dlogits = [0.0; 27];
            loss.of(&logits(), &TARGETS, &mut dlogits);
            for i in 0..27 {
                let loss_at = |step: f32| {
                    let mut logits = logits();
                    logits[i] += step;
                    let losses = loss.of(&logits, &TARGETS, &mut [0.0; 27]);
                    losses.expression + gender_weight * losses.gender
                };
                let slope = (loss_at(1e-2) - loss_at(-1e-2)) / 2e-2;
                assert!((dlogits[i] - slope).abs() < 1e-3, "{i}: {} is not {slope}", dlogits[i]);
            }
        }
    }

    #[test]
    fn rare_classes_count_for_more_and_the_faces_for_one_on_average() {
        let frequencies = [100.0, 1.0, 50.0, 200.0, 80.0, 60.0, 90.0];
        let settings = LossSettings { class_balance: 0.5, ..LossSettings::default() };
        let Loss { class_weights, .. } = Loss::new(settings, frequencies);
        assert!((class_weights[1] / class_weights[0] - 10.0).abs() < 1e-3);
        let sum: f32 = class_weights.iter().zip(frequencies).map(|(w, n)| w * n).sum();
        assert!((sum / frequencies.iter().sum::<f32>() - 1.0).abs() < 1e-4);
    }

    #[test]
    fn focal_loss_makes_sure_answers_count_less() {
        let of = |focal_gamma| {
            let settings = LossSettings { focal_gamma, ..LossSettings::default() };
            let mut logits = [0.0; LOGITS];
            logits[3] = 4.0;
            let mut target = [0.0; 7];
            target[3] = 1.0;
            let loss = Loss::new(settings, [1.0; 7]);
            loss.of(&logits, &[Target::expression(target)], &mut [0.0; LOGITS]).expression
        };
        assert!(of(2.0) < 0.1 * of(0.0), "{} {}", of(2.0), of(0.0));
    }

    #[test]
    fn mixing_blends_what_both_faces_are_labelled_with() {
        let [a, b, c] = TARGETS;
        let mixed = a.mixed(&c, 0.25);
        assert_eq!(mixed.gender, None);
        assert_eq!(mixed.expression.unwrap()[6], 0.25);
        assert_eq!(b.mixed(&c, 0.5).gender, Some([0.625, 0.375]));
    }
}
