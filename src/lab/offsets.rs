//! Offsets to a trained network's logits, fitted on validation faces and added to its head's bias.
//!
//! Soft labels, smoothing and class weights shift how often a network gives each class. One offset
//! a class undoes that: fitted together with a temperature by likelihood ("bias-corrected
//! temperature scaling", Alexandari et al. 2020), the shares average to how often each class is.
//! Classes that would still be missed too often are then given more, and the genders' offset is
//! set so that women and men are recognized alike. What that costs is part of the model's scores.

use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use super::loss::surprise;
use super::network::{EXPRESSION_LOGITS, LOGITS};
use crate::classifier::argmax;

/// What the offsets are to reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OffsetSettings {
    /// Recall that every expression should have on the validation faces; 0 leaves it to the
    /// likelihood.
    pub least_recall: f64,
}

impl Default for OffsetSettings {
    fn default() -> Self {
        // Two points above the 40 % that is wanted, for other faces will differ: recall on 310
        // validation faces of fear has a standard error of 2.8 points.
        Self { least_recall: 0.42 }
    }
}

impl OffsetSettings {
    /// What is wrong with the settings, if anything is.
    pub fn fault(&self) -> Option<String> {
        let least = self.least_recall;
        (!(0.0..=1.0).contains(&least)).then(|| format!("least_recall {least} is not 0 to 1"))
    }
}

/// Fewer faces of a head than this say too little: it gets no offsets.
pub const LEAST_FACES: usize = 200;
/// Newton's steps: the likelihood is convex and smooth, few are needed.
const STEPS: usize = 30;
/// Halvings of a step before it is given up: nothing is left to gain.
const HALVINGS: usize = 20;
/// Logit of a class that takes no part.
const NEVER: f32 = -1e6;
/// Least factor of the logits.
const LEAST_SLOPE: f64 = 0.01;
/// Keeps the offsets finite where the likelihood does not.
const RIDGE: f64 = 1e-6;
/// By how much a class's offset is raised at a time, in logits.
const RAISE: f32 = 0.02;
/// Most of these; a class that is missed all the same can't be had.
const RAISES: usize = 500;

/// The offsets of all logits. Labels are indices into [`crate::expression::Expression::ALL`] and
/// [`crate::expression::Gender::ALL`]; a head with fewer than
/// 200 faces gets zeros.
pub fn fit(
    settings: &OffsetSettings,
    expressions: (&[[f32; LOGITS]], &[usize]),
    genders: (&[[f32; LOGITS]], &[usize]),
) -> [f32; LOGITS] {
    let mut offsets = [0.0; LOGITS];
    let (logits, labels) = expressions;
    if labels.len() >= LEAST_FACES {
        let rows: Vec<[f32; EXPRESSION_LOGITS]> =
            logits.iter().map(|row| std::array::from_fn(|i| row[i])).collect();
        let mut fitted = by_likelihood(&rows, labels);
        raise(&mut fitted, &rows, labels, settings.least_recall);
        offsets[..EXPRESSION_LOGITS].copy_from_slice(&fitted);
    }
    let (logits, labels) = genders;
    if labels.len() >= LEAST_FACES {
        offsets[LOGITS - 1] = equal_recall(logits, labels);
    }
    offsets
}

/// Name of the note that says which offsets a checkpoint's logits have.
const NOTE: &str = "offsets";

/// Adds offsets to a checkpoint's logits, and a note that says so; gives the note.
pub fn apply(checkpoint: &mut Checkpoint, offsets: &[f32; LOGITS]) -> String {
    add(checkpoint, offsets);
    let note = offsets.map(|offset| offset.to_string()).join(" ");
    checkpoint.notes.insert(NOTE.into(), note.clone());
    note
}

/// Takes off what [`apply`] added: who learns from a network learns what it learnt.
pub fn take_off(checkpoint: &mut Checkpoint) {
    let Some(note) = checkpoint.notes.remove(NOTE) else { return };
    let offsets: Vec<f32> = note.split(' ').filter_map(|word| word.parse().ok()).collect();
    add(checkpoint, &offsets.iter().map(|offset| -offset).collect::<Vec<_>>());
}

fn add(checkpoint: &mut Checkpoint, offsets: &[f32]) {
    if let Some(bias) = checkpoint.params.get_mut("head.bias") {
        bias.data.iter_mut().zip(offsets).for_each(|(bias, offset)| *bias += offset);
    }
}

/// Offsets of greatest likelihood, at the temperature that goes with them: minimizes
/// `−ln softmax(a·z + b)` over a and b by Newton's method, with steps halved until they help, and
/// gives `b / a`, their mean taken off. A class without faces takes no part and keeps b = 0.
fn by_likelihood(
    logits: &[[f32; EXPRESSION_LOGITS]],
    labels: &[usize],
) -> [f32; EXPRESSION_LOGITS] {
    const N: usize = EXPRESSION_LOGITS + 1; // b, then a
    let present: [bool; EXPRESSION_LOGITS] = std::array::from_fn(|class| labels.contains(&class));
    let masked = |row: &[f32; EXPRESSION_LOGITS]| {
        std::array::from_fn(|class| if present[class] { row[class] } else { NEVER })
    };
    let logits: &[[f32; EXPRESSION_LOGITS]] = &logits.iter().map(masked).collect::<Vec<_>>();
    let mut at = [0.0; N];
    at[N - 1] = 1.0;
    let mut loss = mean_loss(logits, labels, &at);
    'steps: for _ in 0..STEPS {
        let (gradient, hessian) = slopes::<N>(logits, labels, &at);
        let mut step = solve(hessian, gradient);
        for _ in 0..HALVINGS {
            let next: [f64; N] = std::array::from_fn(|i| at[i] - step[i]);
            let next_loss = mean_loss(logits, labels, &next);
            // A network worse than chance would turn its answers round.
            if next_loss < loss && next[N - 1] > LEAST_SLOPE {
                (at, loss) = (next, next_loss);
                continue 'steps;
            }
            step.iter_mut().for_each(|step| *step /= 2.0);
        }
        break;
    }
    let a = at[N - 1];
    let mean = at[..N - 1].iter().sum::<f64>() / (N - 1) as f64;
    std::array::from_fn(|i| ((at[i] - mean) / a) as f32)
}

/// Mean of `−ln softmax(a·z + b)` at the labels.
fn mean_loss<const N: usize>(
    logits: &[[f32; EXPRESSION_LOGITS]],
    labels: &[usize],
    at: &[f64; N],
) -> f64 {
    let of_row = |(row, &label): (&[f32; EXPRESSION_LOGITS], &usize)| {
        surprise(row.iter().zip(at).map(|(&z, b)| at[N - 1] * f64::from(z) + b), label)
    };
    logits.iter().zip(labels).map(of_row).sum::<f64>() / labels.len() as f64
}

/// Gradient and Hessian of the mean loss by (b, a).
fn slopes<const N: usize>(
    logits: &[[f32; EXPRESSION_LOGITS]],
    labels: &[usize],
    at: &[f64; N],
) -> ([f64; N], [[f64; N]; N]) {
    let classes = N - 1;
    let mut gradient = [0.0; N];
    let mut hessian = [[0.0; N]; N];
    for (row, label) in logits.iter().zip(labels) {
        let z = row.map(f64::from);
        let scaled: Vec<f64> = (0..classes).map(|i| at[classes] * z[i] + at[i]).collect();
        let max = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = scaled.iter().map(|s| (s - max).exp()).collect();
        let sum: f64 = powers.iter().sum();
        // The derivative of the scaled logits by (b, a) is the unit matrix, then z.
        let shares: Vec<f64> = powers.iter().map(|p| p / sum).collect();
        let mean_z: f64 = shares.iter().zip(z).map(|(p, z)| p * z).sum();
        for i in 0..classes {
            gradient[i] += shares[i];
            for j in 0..classes {
                let own = if i == j { shares[i] } else { 0.0 };
                hessian[i][j] += own - shares[i] * shares[j];
            }
            let mixed = shares[i] * (z[i] - mean_z);
            hessian[i][classes] += mixed;
            hessian[classes][i] += mixed;
            hessian[classes][classes] += shares[i] * (z[i] - mean_z).powi(2);
        }
        gradient[*label] -= 1.0;
        gradient[classes] += mean_z - z[*label];
    }
    let n = labels.len() as f64;
    gradient.iter_mut().for_each(|g| *g /= n);
    hessian.iter_mut().flatten().for_each(|h| *h /= n);
    for i in 0..N {
        gradient[i] += if i < classes { RIDGE * at[i] } else { 0.0 };
        hessian[i][i] += RIDGE;
    }
    (gradient, hessian)
}

/// Solves `matrix · x = right` by Gauss' elimination with pivots.
fn solve<const N: usize>(mut matrix: [[f64; N]; N], mut right: [f64; N]) -> [f64; N] {
    for column in 0..N {
        let below = (column..N).map(|row| matrix[row][column].abs());
        let pivot = below.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        let pivot = column + pivot.map_or(0, |(offset, _)| offset);
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        for row in column + 1..N {
            let factor = matrix[row][column] / matrix[column][column];
            let above = matrix[column];
            matrix[row].iter_mut().zip(above).skip(column).for_each(|(m, a)| *m -= factor * a);
            right[row] -= factor * right[column];
        }
    }
    for row in (0..N).rev() {
        let known: f64 = (row + 1..N).map(|k| matrix[row][k] * right[k]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right
}

/// Raises the offsets of classes whose recall is below `least`, the worst first. Where raising one
/// only makes another the worst, the offsets whose worst recall is best are kept.
fn raise(
    offsets: &mut [f32; EXPRESSION_LOGITS],
    logits: &[[f32; EXPRESSION_LOGITS]],
    labels: &[usize],
    least: f64,
) {
    let mut at = *offsets;
    let mut best = f64::NEG_INFINITY;
    for _ in 0..RAISES {
        let (class, recall) = worst_recall(&at, logits, labels);
        if recall > best {
            (best, *offsets) = (recall, at);
        }
        if recall >= least {
            return;
        }
        at[class] += RAISE;
    }
}

/// The class of least recall among those with faces, and that recall.
fn worst_recall(
    offsets: &[f32; EXPRESSION_LOGITS],
    logits: &[[f32; EXPRESSION_LOGITS]],
    labels: &[usize],
) -> (usize, f64) {
    let (mut right, mut of) = ([0usize; EXPRESSION_LOGITS], [0u32; EXPRESSION_LOGITS]);
    for (row, label) in logits.iter().zip(labels) {
        let shifted: [f32; EXPRESSION_LOGITS] = std::array::from_fn(|i| row[i] + offsets[i]);
        of[*label] += 1;
        right[*label] += usize::from(argmax(&shifted) == *label);
    }
    let present = (0..EXPRESSION_LOGITS).filter(|class| of[*class] > 0);
    let recalls = present.map(|class| (class, right[class] as f64 / f64::from(of[class])));
    recalls.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 1.0))
}

/// The offset of male at which the recalls of female and male are closest.
fn equal_recall(logits: &[[f32; LOGITS]], labels: &[usize]) -> f32 {
    let margin = |row: &[f32; LOGITS]| row[LOGITS - 1] - row[LOGITS - 2];
    -equal_recall_border(&logits.iter().map(margin).collect::<Vec<_>>(), labels)
}

/// The border at which the recalls of female, whose margins are below, and male are closest; 0 where
/// either has no face. A margin is by how much male's logit is above female's.
pub fn equal_recall_border(margins: &[f32], labels: &[usize]) -> f32 {
    let margins_of = |gender: usize| -> Vec<f32> {
        let own = margins.iter().zip(labels).filter(|(_, label)| **label == gender);
        let mut margins: Vec<f32> = own.map(|(margin, _)| *margin).collect();
        margins.sort_by(f32::total_cmp);
        margins
    };
    let (female, male) = (margins_of(0), margins_of(1));
    if female.is_empty() || male.is_empty() {
        return 0.0;
    }
    let below = |margins: &[f32], at: f32| {
        margins.partition_point(|margin| *margin < at) as f64 / margins.len() as f64
    };
    // Recall of female is the share of its margins below the border, of male that above.
    let gap = |at: f32| (below(&female, at) - (1.0 - below(&male, at))).abs();
    let borders = female.iter().chain(&male).copied();
    let border = borders.min_by(|a, b| gap(*a).total_cmp(&gap(*b)));
    border.unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::softmax;

    /// 7,000 faces whose labels are drawn from the softmax of their logits, 0 to `spread`.
    fn honest(spread: f32) -> (Vec<[f32; LOGITS]>, Vec<usize>) {
        let mut random = fastrand::Rng::with_seed(1);
        let mut draw = || {
            let logits: [f32; LOGITS] = std::array::from_fn(|_| spread * random.f32());
            let mut left = random.f32();
            let shares: [f32; EXPRESSION_LOGITS] = softmax(&logits[..EXPRESSION_LOGITS]);
            let passed = |share: &&f32| {
                left -= **share;
                left > 0.0
            };
            let label = shares.iter().take_while(passed).count().min(EXPRESSION_LOGITS - 1);
            (logits, label)
        };
        (0..7000).map(|_| draw()).unzip()
    }

    #[test]
    fn the_likelihood_undoes_a_shift_at_any_temperature() {
        let (mut logits, labels) = honest(3.0);
        let shift = [0.6, -0.9, 0.3, 0.0, 0.0, -0.2, 0.2, 0.0, 0.0];
        for row in &mut logits {
            // Twice as sure, and shifted.
            row.iter_mut().zip(shift).for_each(|(logit, shift)| *logit = 2.0 * *logit + shift);
        }
        let settings = OffsetSettings { least_recall: 0.0 };
        let offsets = fit(&settings, (&logits, &labels), (&[], &[]));
        for (offset, shift) in offsets.iter().zip(shift) {
            assert!((offset + shift).abs() < 0.25, "{offsets:?}");
        }
    }

    #[test]
    fn a_class_that_is_missed_is_given_more_and_the_others_are_not() {
        let (mut logits, labels) = honest(9.0);
        logits.iter_mut().for_each(|row| row[2] *= 0.2);
        let recall = |offsets: &[f32; LOGITS]| {
            let of = || logits.iter().zip(&labels).filter(|(_, label)| **label == 2);
            let right = of().filter(|(row, _)| {
                let shifted: [f32; 7] = std::array::from_fn(|i| row[i] + offsets[i]);
                argmax(&shifted) == 2
            });
            right.count() as f64 / of().count() as f64
        };
        let plain = fit(&OffsetSettings { least_recall: 0.0 }, (&logits, &labels), (&[], &[]));
        let raised = fit(&OffsetSettings { least_recall: 0.4 }, (&logits, &labels), (&[], &[]));
        assert!(recall(&plain) < 0.4 && recall(&raised) >= 0.4, "{}", recall(&plain));
        for class in (0..7).filter(|class| *class != 2) {
            assert_eq!(plain[class], raised[class], "{class}");
        }
    }

    #[test]
    fn a_recall_that_cannot_be_had_is_come_as_close_to_as_can_be() {
        let (logits, labels) = honest(3.0);
        let of_least = |least_recall| {
            let offsets = fit(&OffsetSettings { least_recall }, (&logits, &labels), (&[], &[]));
            let rows: Vec<[f32; 7]> =
                logits.iter().map(|row| std::array::from_fn(|i| row[i])).collect();
            let seven = std::array::from_fn(|i| offsets[i]);
            worst_recall(&seven, &rows, &labels).1
        };
        let (plain, most) = (of_least(0.0), of_least(1.0));
        assert!(most >= plain && most > 0.2, "{plain} {most}");
    }

    #[test]
    fn genders_are_recognized_alike() {
        let mut random = fastrand::Rng::with_seed(2);
        let mut logits = vec![[0.0; LOGITS]; 2000];
        let labels: Vec<usize> = (0..2000).map(|i| i % 2).collect();
        for (row, label) in logits.iter_mut().zip(&labels) {
            // Men stand out less than women do, and all lean to female.
            row[8] = random.f32() + [-1.2, -0.4][*label];
        }
        let offsets = fit(&OffsetSettings::default(), (&[], &[]), (&logits, &labels));
        assert_eq!(offsets[..8], [0.0; 8]);
        let recall = |gender: usize| {
            let of = logits.iter().zip(&labels).filter(|(_, label)| **label == gender);
            of.filter(|(row, _)| usize::from(row[8] + offsets[8] > row[7]) == gender).count()
        };
        assert!(recall(0).abs_diff(recall(1)) <= 10, "{} {}", recall(0), recall(1));
    }

    #[test]
    fn a_class_without_faces_is_left_to_the_network() {
        let (logits, labels) = honest(3.0);
        let seen = logits.iter().zip(&labels).filter(|(_, label)| **label != 4);
        let (logits, labels): (Vec<[f32; LOGITS]>, Vec<usize>) = seen.unzip();
        let settings = OffsetSettings { least_recall: 0.0 };
        let offsets = fit(&settings, (&logits, &labels), (&logits, &vec![0; labels.len()]));
        assert!(offsets.iter().all(|offset| offset.abs() < 1.0), "{offsets:?}");
    }

    #[test]
    fn few_faces_and_wild_logits_move_nothing_far() {
        let (logits, labels) = honest(3.0);
        let few = (&logits[..LEAST_FACES - 1], &labels[..LEAST_FACES - 1]);
        assert_eq!(fit(&OffsetSettings::default(), few, few), [0.0; LOGITS]);
        let wild: Vec<[f32; LOGITS]> = logits.iter().map(|row| row.map(|z| 1e4 * z)).collect();
        let offsets = fit(&OffsetSettings::default(), (&wild, &labels), (&[], &[]));
        // In proportion to the logits that is little.
        assert!(offsets.iter().all(|offset| offset.abs() < 1e4), "{offsets:?}");
    }

    #[test]
    fn settings_out_of_range_are_told() {
        assert_eq!(OffsetSettings::default().fault(), None);
        assert!(OffsetSettings { least_recall: f64::NAN }.fault().is_some());
    }
}
