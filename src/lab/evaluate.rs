//! Scores on labelled faces: accuracy, recall by class, confusion matrix.

use serde::{Serialize, Serializer};

use super::network::{EXPRESSION_LOGITS, LOGITS};
use crate::expression::{Expression, argmax};

/// How a classifier did on labelled faces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Faces.
    pub n: usize,
    /// Share of faces whose strongest expression is the label.
    pub accuracy: f64,
    /// Share of each class's faces that were given that class, in FER2013's order; none for a
    /// class without faces.
    #[serde(serialize_with = "by_name")]
    pub per_class_recall: [Option<f64>; 7],
    /// Faces by label (row) and answer (column), in FER2013's order.
    pub confusion: [[usize; 7]; 7],
}

fn by_name<S: Serializer>(values: &[Option<f64>; 7], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(Expression::ALL.iter().map(|e| e.name()).zip(values))
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
        let per_class_recall = std::array::from_fn(|i| {
            let of_class: usize = confusion[i].iter().sum();
            (of_class > 0).then(|| confusion[i][i] as f64 / of_class as f64)
        });
        Self { n, accuracy: right as f64 / n.max(1) as f64, per_class_recall, confusion }
    }
}

/// Strongest expression of each row of logits, an index into [`Expression::ALL`].
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
        assert_eq!(evaluation.per_class_recall[0], Some(0.5));
        assert_eq!(evaluation.per_class_recall[2], None);
        assert_eq!(evaluation.confusion[0][3], 1);
        let json = serde_json::to_value(&evaluation).unwrap();
        assert_eq!(json["per_class_recall"]["happy"], 1.0);
    }
}
