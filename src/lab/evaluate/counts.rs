//! Answers counted against labels: accuracy, recall, precision, confusion matrix.

use serde::{Serialize, Serializer};

/// 97.5 % quantile of the normal distribution: for a two-sided interval of 95 %.
const Z_95: f64 = 1.959_963_985;

/// How a classifier did on labelled faces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Faces.
    pub n: usize,
    /// Share of faces whose answer is the label.
    pub accuracy: f64,
    /// Its 95 % interval, see [`wilson`].
    pub accuracy_interval: [f64; 2],
    /// Share of each class's faces that were given that class; none for a class without faces.
    pub per_class_recall: ByClass,
    /// Share of the faces given a class that are of that class; none for a class never given.
    pub per_class_precision: ByClass,
    /// Harmonic mean of precision and recall: `2 right / (labelled + answered)`.
    pub per_class_f1: ByClass,
    /// Names, in the order of `confusion`.
    pub classes: Vec<String>,
    /// Faces by label (row) and answer (column).
    pub confusion: Vec<Vec<usize>>,
}

/// A figure for each class, by its name; in JSON an object in the classes' order.
#[derive(Clone, Debug, PartialEq)]
pub struct ByClass(pub Vec<(String, Option<f64>)>);

impl ByClass {
    /// Figures in the classes' order.
    pub fn values(&self) -> impl Iterator<Item = Option<f64>> {
        self.0.iter().map(|(_, value)| *value)
    }
}

impl Serialize for ByClass {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Evaluation {
    /// Counts `answers` against `labels`, both indices into `classes`.
    pub fn new(classes: &[String], labels: &[usize], answers: &[usize]) -> Self {
        let mut confusion = vec![vec![0; classes.len()]; classes.len()];
        for (label, answer) in labels.iter().zip(answers) {
            confusion[*label][*answer] += 1;
        }
        let right = |i: usize| confusion[i][i];
        let labelled = |i: usize| confusion[i].iter().sum::<usize>();
        let answered = |i: usize| confusion.iter().map(|row| row[i]).sum::<usize>();
        let by_class = |figure: &dyn Fn(usize) -> Option<f64>| {
            ByClass(classes.iter().cloned().zip((0..classes.len()).map(figure)).collect())
        };
        let all_right = (0..classes.len()).map(right).sum();
        let f1 = |i| share(2 * right(i), labelled(i) + answered(i));
        Self {
            n: labels.len(),
            accuracy: share(all_right, labels.len()).unwrap_or(0.0),
            accuracy_interval: wilson(all_right, labels.len()),
            per_class_recall: by_class(&|i| share(right(i), labelled(i))),
            per_class_precision: by_class(&|i| share(right(i), answered(i))),
            per_class_f1: by_class(&f1),
            classes: classes.to_vec(),
            confusion,
        }
    }
}

/// `part / whole`; none of nothing.
pub fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// 95 % interval of a share of `right` in `n` (Wilson 1927, without continuity correction).
pub fn wilson(right: usize, n: usize) -> [f64; 2] {
    if n == 0 {
        return [0.0, 1.0];
    }
    let (p, n) = (right as f64 / n as f64, n as f64);
    let z2 = Z_95 * Z_95;
    let centre = p + z2 / (2.0 * n);
    let reach = Z_95 * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    [centre - reach, centre + reach].map(|end| (end / (1.0 + z2 / n)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::evaluate::Classes;

    #[test]
    fn answers_are_counted() {
        let evaluation = Evaluation::new(Classes::default().names(), &[0, 0, 3, 6], &[0, 3, 3, 6]);
        assert_eq!((evaluation.n, evaluation.accuracy), (4, 0.75));
        assert_eq!(evaluation.confusion[0][3], 1);
        let json = serde_json::to_value(&evaluation).unwrap();
        assert_eq!(json["per_class_recall"]["angry"], 0.5);
        assert_eq!(json["per_class_recall"]["fear"], serde_json::Value::Null);
        assert_eq!(json["per_class_precision"]["happy"], 0.5);
        assert_eq!(json["per_class_precision"]["angry"], 1.0);
        assert_eq!(json["per_class_f1"]["happy"], 2.0 / 3.0);
        assert_eq!(json["confusion"][0][3], 1);
    }

    /// Values of scipy's `binomtest(right, n).proportion_ci(method="wilson")`.
    #[test]
    fn the_interval_is_wilson_s() {
        for (right, n, expected) in [
            (8, 10, [0.490_162_5, 0.943_317_8]),
            (0, 10, [0.0, 0.277_532_8]),
            (10, 10, [0.722_467_2, 1.0]),
            (2270, 3579, [0.618_339_9, 0.649_883_0]),
        ] {
            let interval = wilson(right, n);
            for (got, want) in interval.iter().zip(expected) {
                assert!((got - want).abs() < 1e-6, "{right}/{n}: {interval:?}");
            }
        }
        assert_eq!(wilson(0, 0), [0.0, 1.0]);
    }
}
