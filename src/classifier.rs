//! The shares that a crop's logits stand for, and the classifier that gives them.

use crate::cores::Cores;
use crate::engine::{Calibration, Model, ModelError};
use crate::expression::{Expression, Gender};
use crate::image::Grey;

/// Shares that one crop was given; each array sums to 1. An answer that the model does not know has
/// a share of 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// By [`Expression`].
    pub expression: [f32; 7],
    /// By [`Gender`]; none from a model that does not tell it.
    pub gender: Option<[f32; 2]>,
}

impl Scores {
    /// Softmax over each head's logits, seven expressions, then female and male, each head's
    /// divided by its temperature. Logits of −∞ are answers that the model does not give.
    pub fn from_logits(logits: &[f32; 9], calibration: &Calibration) -> Self {
        let (expression, gender) = logits.split_at(7);
        Self {
            expression: tempered_softmax(expression, calibration.temperature),
            gender: (gender[0] > f32::NEG_INFINITY)
                .then(|| tempered_softmax(gender, calibration.gender_temperature)),
        }
    }

    /// The strongest expression if its share is not below `unsure_below`, else none: unsure.
    pub fn answer(&self, unsure_below: f32) -> Option<Expression> {
        let (expression, share) = self.top_expression();
        (share >= unsure_below).then_some(expression)
    }

    /// The strongest expression and its share.
    pub fn top_expression(&self) -> (Expression, f32) {
        let i = argmax(&self.expression);
        (Expression::ALL[i], self.expression[i])
    }

    /// The stronger gender and its share, if gender is told.
    pub fn top_gender(&self) -> Option<(Gender, f32)> {
        self.gender.map(|shares| {
            let i = argmax(&shares);
            (Gender::ALL[i], shares[i])
        })
    }
}

/// Tells what cropped faces show.
pub struct Classifier {
    model: Model,
}

impl Classifier {
    /// Classifies by this model, several faces on as many threads as [`Cores::classifying`] says.
    pub fn new(mut model: Model) -> Self {
        model.set_threads(Cores::available().classifying());
        Self { model }
    }

    /// Side in pixels of the square crops it reads.
    pub fn side(&self) -> usize {
        self.model.side()
    }

    /// Scores of each crop, [`Classifier::side`] pixels square.
    pub fn classify(&self, crops: &[Grey]) -> Result<Vec<Scores>, ModelError> {
        let calibration = self.model.calibration();
        let scores = |logits| Scores::from_logits(&logits, &calibration);
        Ok(self.model.run(crops)?.iter().copied().map(scores).collect())
    }
}

/// Index of the first greatest value; 0 for none.
pub fn argmax(values: &[f32]) -> usize {
    let greater = |best: usize, i: usize| if values[i] > values[best] { i } else { best };
    (0..values.len()).fold(0, greater)
}

/// Softmax of `N` logits.
pub fn softmax<const N: usize>(logits: &[f32]) -> [f32; N] {
    tempered_softmax(logits, 1.0)
}

/// Softmax of `N` logits, each divided by `temperature`, above 0.
fn tempered_softmax<const N: usize>(logits: &[f32], temperature: f32) -> [f32; N] {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut shares = [0.0; N];
    for (share, logit) in shares.iter_mut().zip(logits) {
        *share = ((logit - max) / temperature).exp();
    }
    let sum: f32 = shares.iter().sum();
    shares.map(|share| share / sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_become_shares_of_each_head() {
        let logits = [0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 1.0, 1.0];
        let scores = Scores::from_logits(&logits, &Calibration::default());
        assert_eq!(scores.top_expression().0, Expression::Happy);
        assert!((scores.expression.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(scores.gender, Some([0.5, 0.5]));
    }

    #[test]
    fn what_a_model_does_not_tell_has_no_share() {
        const NONE: f32 = f32::NEG_INFINITY;
        let logits = [1.0, NONE, 1.0, NONE, NONE, NONE, NONE, NONE, NONE];
        let scores = Scores::from_logits(&logits, &Calibration::default());
        assert_eq!(scores.expression, [0.5, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!((scores.gender, scores.top_gender()), (None, None));
    }

    #[test]
    fn each_head_has_its_own_temperature() {
        let calibration =
            Calibration { temperature: 2.0, gender_temperature: 0.5, unsure_below: 0.0 };
        let logits = [0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        let scores = Scores::from_logits(&logits, &calibration);
        let e = 1f32.exp();
        assert!((scores.expression[3] - e / (e + 6.0)).abs() < 1e-6);
        assert!((scores.gender.unwrap()[1] - e.powi(2) / (e.powi(2) + 1.0)).abs() < 1e-6);
        // However cold, shares stay numbers.
        let cold = Calibration { temperature: f32::MIN_POSITIVE, ..calibration };
        assert_eq!(Scores::from_logits(&logits, &cold).expression[3], 1.0);
    }

    #[test]
    fn a_share_below_the_threshold_is_no_answer() {
        let expression = [0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1];
        let scores = Scores { expression, gender: None };
        assert_eq!(scores.answer(0.4), Some(Expression::Angry));
        assert_eq!(scores.answer(0.41), None);
    }
}
