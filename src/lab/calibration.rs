//! Chooses on validation faces how a model's logits are to be read: the temperature of each head,
//! and the share below which the device says "unsure".

use super::evaluate::reliability::{Judged, coverage_at, judge_expressions};
use super::loss::surprise;
use super::network::{EXPRESSION_LOGITS, LOGITS};
use crate::engine::Calibration;

/// Temperatures that are considered; a fit at an end says that the data tells nothing, and leaves the
/// logits as they are.
const TEMPERATURES: [f64; 2] = [0.05, 20.0];
/// A logarithm of a temperature this near to an end of [`TEMPERATURES`] is at it.
const END: f64 = 0.01;
/// Width at which the search for the logarithm of a temperature ends.
const LOG_TEMPERATURE_STEP: f64 = 1e-4;

/// Share of the answers given that should be right; the threshold is the lowest that reaches it.
pub const WANTED_ACCURACY: f64 = 0.75;
/// At least this share of the faces gets an answer, whatever that does to [`WANTED_ACCURACY`]: a
/// device that is mostly unsure is of no use.
pub const LEAST_COVERAGE: f64 = 0.5;
/// Thresholds are multiples of one such part.
const THRESHOLD_PARTS: u32 = 1000;

/// Fits both temperatures and the threshold. Labels are indices into
/// [`crate::expression::Expression::ALL`] and [`crate::expression::Gender::ALL`]; a head without
/// faces keeps the default.
pub fn fit(
    expressions: (&[[f32; LOGITS]], &[usize]),
    genders: (&[[f32; LOGITS]], &[usize]),
) -> Calibration {
    let mut calibration = Calibration::default();
    let (logits, labels) = genders;
    if !labels.is_empty() {
        let rows = logits.iter().map(|row| &row[EXPRESSION_LOGITS..]);
        calibration.gender_temperature = temperature(&rows.collect::<Vec<_>>(), labels);
    }
    let (logits, labels) = expressions;
    if !labels.is_empty() {
        let rows = logits.iter().map(|row| &row[..EXPRESSION_LOGITS]);
        calibration.temperature = temperature(&rows.collect::<Vec<_>>(), labels);
        calibration.unsure_below = threshold(&judge_expressions(logits, labels, &calibration));
    }
    calibration
}

/// The temperature of least negative log-likelihood, by golden-section search over its logarithm:
/// the likelihood is concave in the temperature's inverse, so it has one maximum.
fn temperature(logits: &[&[f32]], labels: &[usize]) -> f32 {
    let loss = |log_t: f64| mean_negative_log_likelihood(logits, labels, log_t.exp());
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let [mut low, mut high] = TEMPERATURES.map(f64::ln);
    let (mut a, mut b) = (high - golden * (high - low), low + golden * (high - low));
    let (mut loss_a, mut loss_b) = (loss(a), loss(b));
    while high - low > LOG_TEMPERATURE_STEP {
        if loss_a < loss_b {
            (high, b, loss_b) = (b, a, loss_a);
            a = high - golden * (high - low);
            loss_a = loss(a);
        } else {
            (low, a, loss_a) = (a, b, loss_b);
            b = low + golden * (high - low);
            loss_b = loss(b);
        }
    }
    let log_t = (low + high) / 2.0;
    let [least, greatest] = TEMPERATURES.map(f64::ln);
    if log_t - least < END || greatest - log_t < END {
        return 1.0;
    }
    // Four digits: more would be noise.
    ((log_t.exp() * 1e4).round() / 1e4) as f32
}

fn mean_negative_log_likelihood(logits: &[&[f32]], labels: &[usize], temperature: f64) -> f64 {
    let of_row = |(row, &label): (&&[f32], &usize)| {
        surprise(row.iter().map(|&logit| f64::from(logit) / temperature), label)
    };
    let sum: f64 = logits.iter().zip(labels).map(of_row).sum();
    sum / labels.len() as f64
}

/// The lowest threshold at which [`WANTED_ACCURACY`] of the answers given are right; where that
/// would leave less than [`LEAST_COVERAGE`] of the faces with an answer, the highest that does not.
fn threshold(judged: &[Judged]) -> f32 {
    let mut chosen = 0.0;
    for part in 0..=THRESHOLD_PARTS {
        let threshold = part as f32 / THRESHOLD_PARTS as f32;
        let point = coverage_at(judged, threshold);
        if point.coverage < LEAST_COVERAGE {
            break;
        }
        chosen = threshold;
        if point.accuracy.is_some_and(|accuracy| accuracy >= WANTED_ACCURACY) {
            break;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;
    use crate::classifier::Scores;

    /// Labels drawn from the softmax of logits that are then made `sharper` times as great: the
    /// right temperature is `sharper`.
    fn overconfident(sharper: f32) -> (Vec<[f32; LOGITS]>, Vec<usize>, Vec<usize>) {
        let mut rng = Pcg64::seed_from_u64(7);
        let (mut logits, mut expressions, mut genders) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..4000 {
            let row: [f32; LOGITS] = std::array::from_fn(|_| 4.0 * rng.random::<f32>());
            let scores = Scores::from_logits(&row, &Calibration::default());
            let mut draw = |shares: &[f32]| {
                let mut left = rng.random::<f32>();
                let passed = |share: &&f32| {
                    left -= **share;
                    left > 0.0
                };
                shares.iter().take_while(passed).count().min(shares.len() - 1)
            };
            expressions.push(draw(&scores.expression));
            genders.push(draw(&scores.gender.unwrap()));
            logits.push(row.map(|logit| sharper * logit));
        }
        (logits, expressions, genders)
    }

    #[test]
    fn the_temperature_undoes_overconfidence() {
        for sharper in [0.5, 1.0, 2.5] {
            let (logits, expressions, genders) = overconfident(sharper);
            let fitted = fit((&logits, &expressions), (&logits, &genders));
            assert!((fitted.temperature / sharper - 1.0).abs() < 0.06, "{fitted:?}");
            assert!((fitted.gender_temperature / sharper - 1.0).abs() < 0.06, "{fitted:?}");
        }
        // All answers right, or none: no temperature is the best.
        let sure = vec![[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]; 50];
        for label in [0, 1] {
            let fitted = fit((&sure, &[label; 50]), (&sure, &[label; 50]));
            assert_eq!((fitted.temperature, fitted.gender_temperature), (1.0, 1.0));
        }
        let nothing = fit((&[], &[]), (&[], &[]));
        assert_eq!(nothing, Calibration::default());
    }

    /// `rights[i]` of ten faces at each confidence are right.
    fn judged(rights: &[(f32, usize)]) -> Vec<Judged> {
        let ten = |&(confidence, right): &(f32, usize)| {
            (0..10).map(move |i| Judged { confidence, right: i < right })
        };
        rights.iter().flat_map(ten).collect()
    }

    #[test]
    fn the_threshold_is_the_lowest_that_makes_answers_right_often_enough() {
        assert_eq!(threshold(&judged(&[(0.3, 8), (0.9, 9)])), 0.0, "good enough as it is");
        // All: 21 of 40 right; without the least sure: 20 of 30; the surest two: 16 of 20.
        let mixed = [(0.3, 1), (0.5, 4), (0.7, 7), (0.9, 9)];
        assert_eq!(threshold(&judged(&mixed)), 0.501);
        // Only the surest are right often enough, but they are too few: half must be answered.
        let hard = [(0.3, 1), (0.5, 2), (0.7, 3), (0.9, 9)];
        assert_eq!(threshold(&judged(&hard)), 0.7);
    }
}
