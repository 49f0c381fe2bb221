//! Whether a model is right as often as it says: calibration, and what "unsure" buys.

use serde::Serialize;

use crate::classifier::Scores;
use crate::engine::{Calibration, LOGITS};

/// Bins of equal width over confidence, as in Guo et al. 2017.
pub const BINS: usize = 15;
/// Thresholds of the coverage curve: this many, evenly from 0.
const CURVE_POINTS: usize = 50;

/// One answer, and whether it was right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Share given to the answer, 0…1.
    pub confidence: f32,
    /// Whether the answer is the label.
    pub right: bool,
}

/// The expressions' answers to rows of logits, read as `calibration` says, held against labels.
pub fn judge_expressions(
    logits: &[[f32; LOGITS]],
    labels: &[usize],
    calibration: &Calibration,
) -> Vec<Judged> {
    let judge = |(row, label): (&[f32; LOGITS], &usize)| {
        let (answer, confidence) = Scores::from_logits(row, calibration).top_expression();
        Judged { confidence, right: answer as usize == *label }
    };
    logits.iter().zip(labels).map(judge).collect()
}

/// Answers of about the same confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// Confidence above this (the first bin: from this on) …
    pub above: f64,
    /// … and up to this.
    pub up_to: f64,
    /// Answers.
    pub n: usize,
    /// Their mean confidence; none without answers.
    pub confidence: Option<f64>,
    /// Share of them that was right.
    pub accuracy: Option<f64>,
}

/// How far confidence and accuracy lie apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reliability {
    /// Expected calibration error: the distance of confidence and accuracy in a bin, averaged
    /// over answers (Guo et al. 2017, eq. 3).
    pub expected_calibration_error: f64,
    /// [`BINS`] bins.
    pub bins: Vec<Bin>,
}

/// What is answered, and how well, where answers below a threshold are held back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Coverage {
    /// Least confidence of an answer.
    pub threshold: f64,
    /// Share of faces that get an answer.
    pub coverage: f64,
    /// Share of the answers that is right; none without answers.
    pub accuracy: Option<f64>,
}

/// Sorts answers into bins by confidence.
pub fn reliability(judged: &[Judged]) -> Reliability {
    let mut sums = [(0, 0.0, 0); BINS];
    for &Judged { confidence, right } in judged {
        let bin = (f64::from(confidence) * BINS as f64).ceil() as usize;
        let (n, confidences, rights) = &mut sums[bin.clamp(1, BINS) - 1];
        *n += 1;
        *confidences += f64::from(confidence);
        *rights += usize::from(right);
    }
    let bins = sums.iter().enumerate().map(|(i, &(n, confidences, rights))| Bin {
        above: i as f64 / BINS as f64,
        up_to: (i + 1) as f64 / BINS as f64,
        n,
        confidence: (n > 0).then(|| confidences / n as f64),
        accuracy: (n > 0).then(|| rights as f64 / n as f64),
    });
    let apart: f64 =
        sums.iter().map(|&(_, confidences, rights)| (confidences - rights as f64).abs()).sum();
    Reliability {
        expected_calibration_error: apart / judged.len().max(1) as f64,
        bins: bins.collect(),
    }
}

/// What holding back answers below `threshold` gives.
pub fn coverage_at(judged: &[Judged], threshold: f32) -> Coverage {
    let given = || judged.iter().filter(|judged| judged.confidence >= threshold);
    let (n, right) = (given().count(), given().filter(|judged| judged.right).count());
    Coverage {
        threshold: (f64::from(threshold) * 1e6).round() / 1e6,
        coverage: n as f64 / judged.len().max(1) as f64,
        accuracy: (n > 0).then(|| right as f64 / n as f64),
    }
}

/// [`coverage_at`] thresholds from 0 to 0.98.
pub fn coverage_curve(judged: &[Judged]) -> Vec<Coverage> {
    (0..CURVE_POINTS).map(|i| coverage_at(judged, i as f32 / CURVE_POINTS as f32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calibration_error_is_the_mean_distance_of_confidence_and_accuracy() {
        let at = |confidence, right| Judged { confidence, right };
        // One bin: confidence 0.9, half right; another: 0.5, all right.
        let judged = [at(0.9, true), at(0.9, false), at(0.5, true), at(0.5, true)];
        let reliability = reliability(&judged);
        assert!((reliability.expected_calibration_error - (0.4 + 0.5) / 2.0).abs() < 1e-6);
        assert_eq!(reliability.bins.len(), BINS);
        assert_eq!(reliability.bins[13].n, 2, "0.9 lies in (13/15, 14/15]");
        assert_eq!(reliability.bins[13].accuracy, Some(0.5));
        assert_eq!(reliability.bins[0].accuracy, None);
    }

    #[test]
    fn the_ends_of_confidence_have_a_bin() {
        let judged = [0.0, 1.0].map(|confidence| Judged { confidence, right: true });
        let bins = reliability(&judged).bins;
        assert_eq!((bins[0].n, bins[BINS - 1].n), (1, 1));
        assert_eq!(reliability(&[]).expected_calibration_error, 0.0);
    }

    #[test]
    fn holding_back_the_unsure_answers_is_counted() {
        let judged = [(0.3, false), (0.4, true), (0.8, true), (0.9, false)];
        let judged = judged.map(|(confidence, right)| Judged { confidence, right });
        let half = coverage_at(&judged, 0.4);
        assert_eq!((half.coverage, half.accuracy), (0.75, Some(2.0 / 3.0)));
        assert_eq!(coverage_at(&judged, 0.95).accuracy, None);
        let curve = coverage_curve(&judged);
        assert_eq!((curve[0].coverage, curve[0].accuracy), (1.0, Some(0.5)));
        assert!(curve.windows(2).all(|pair| pair[0].coverage >= pair[1].coverage));
    }
}
