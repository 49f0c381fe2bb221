//! Scores on labelled faces: accuracy, recall by class, confusion matrix.

use std::collections::BTreeMap;

use serde::Serialize;

use super::executor::{Executor, Weights};
use super::network::{EXPRESSION_LOGITS, LOGITS};
use super::train::Sample;
use crate::expression::{Expression, argmax};

/// How a classifier did on labelled faces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Faces.
    pub n: usize,
    /// Share of faces whose strongest expression is the label.
    pub accuracy: f64,
    /// Share of each class's faces that were given that class; none for a class without faces.
    pub per_class_recall: BTreeMap<&'static str, Option<f64>>,
    /// Faces by label (row) and answer (column), in FER2013's order.
    pub confusion: [[usize; 7]; 7],
}

impl Evaluation {
    /// Counts `answers` against `labels`, both indices into [`Expression::ALL`].
    pub fn new(labels: &[usize], answers: &[usize]) -> Self {
        let mut confusion = [[0; 7]; 7];
        for (label, answer) in labels.iter().zip(answers) {
            confusion[*label][*answer] += 1;
        }
        let n = labels.len();
        let right: usize = (0..7).map(|i| confusion[i][i]).sum();
        let recall = |i: usize| {
            let of_class: usize = confusion[i].iter().sum();
            (of_class > 0).then(|| confusion[i][i] as f64 / of_class as f64)
        };
        Self {
            n,
            accuracy: right as f64 / n.max(1) as f64,
            per_class_recall: Expression::ALL
                .iter()
                .map(|e| (e.name(), recall(*e as usize)))
                .collect(),
            confusion,
        }
    }
}

/// Faces run at a time.
const BATCH: usize = 64;

/// The float network's logits of each sample.
pub fn float_logits(
    executor: &mut Executor,
    weights: &Weights,
    samples: &[Sample],
    mut on_batch: impl FnMut(usize),
) -> Vec<[f32; LOGITS]> {
    let mut logits = Vec::with_capacity(samples.len());
    for batch in samples.chunks(BATCH) {
        let pictures: Vec<f32> = batch.iter().flat_map(|sample| &sample.face).copied().collect();
        let rows = executor.infer(weights, &pictures).as_chunks::<LOGITS>().0;
        logits.extend_from_slice(rows);
        on_batch(batch.len());
    }
    logits
}

/// Strongest expression of each row of logits.
pub fn expression_answers(logits: &[[f32; LOGITS]]) -> Vec<usize> {
    logits.iter().map(|row| argmax(&row[..EXPRESSION_LOGITS])).collect()
}

/// Stronger gender of each row of logits, an index into [`crate::expression::Gender::ALL`].
pub fn gender_answers(logits: &[[f32; LOGITS]]) -> Vec<usize> {
    logits.iter().map(|row| argmax(&row[EXPRESSION_LOGITS..])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted() {
        let evaluation = Evaluation::new(&[0, 0, 3, 6], &[0, 3, 3, 6]);
        assert_eq!((evaluation.n, evaluation.accuracy), (4, 0.75));
        assert_eq!(evaluation.per_class_recall["angry"], Some(0.5));
        assert_eq!(evaluation.per_class_recall["fear"], None);
        assert_eq!(evaluation.confusion[0][3], 1);
    }
}
