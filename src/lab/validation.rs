//! Scores of a run after each epoch, on faces kept back from it.

use super::checkpoint::Checkpoint;
use super::evaluate::{expression_answers, gender_answers};
use super::executor::{Executor, Weights};
use super::mixture::Mixture;
use super::network::{EXPRESSION_LOGITS, Graph, LOGITS};
use super::offsets::{self, OffsetSettings};
use super::preprocessing::Preprocessing;
use super::samples::kept_back_gender;
use crate::classifier::softmax;
use crate::image::Grey;

/// Prepared faces and their labels.
pub struct Validation {
    expression: Part,
    gender: Part,
}

/// What a network scored; none where there are no such faces.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// Mean cross-entropy against the expressions' labels, in nats.
    pub loss: Option<f64>,
    /// Share of the expressions answered right.
    pub accuracy: Option<f64>,
    /// Share of the genders answered right.
    pub gender_accuracy: Option<f64>,
}

/// Faces [n, 48, 48] of one label.
struct Part {
    pictures: Vec<f32>,
    labels: Vec<usize>,
}

impl Part {
    fn new(preprocessing: &Preprocessing, faces: impl Iterator<Item = (Grey, usize)>) -> Self {
        let (faces, labels): (Vec<Grey>, Vec<usize>) = faces.unzip();
        let pictures = faces.iter().flat_map(|face| preprocessing.prepare(face)).collect();
        Self { pictures, labels }
    }

    /// Mean over the faces; none where there are none.
    fn mean(&self, values: impl Iterator<Item = f64>) -> Option<f64> {
        (!self.labels.is_empty()).then(|| values.sum::<f64>() / self.labels.len() as f64)
    }

    fn accuracy(&self, answers: &[usize]) -> Option<f64> {
        let pairs = answers.iter().zip(&self.labels);
        self.mean(pairs.map(|(answer, label)| f64::from(u8::from(answer == label))))
    }

    fn loss(&self, logits: &[[f32; LOGITS]]) -> Option<f64> {
        let surprise = |(logits, label): (&[f32; LOGITS], &usize)| {
            let shares: [f32; EXPRESSION_LOGITS] = softmax(&logits[..EXPRESSION_LOGITS]);
            -f64::from(shares[*label].max(f32::MIN_POSITIVE)).ln()
        };
        self.mean(logits.iter().zip(&self.labels).map(surprise))
    }
}

impl Validation {
    /// The mixture's faces to choose by.
    pub fn new(preprocessing: &Preprocessing, mixture: &Mixture) -> Self {
        let expressions = mixture.expressions_kept_back.iter();
        let expressions = expressions.map(|labelled| (labelled.face.clone(), labelled.label));
        let genders = mixture.genders_kept_back.iter().map(kept_back_gender);
        Self {
            expression: Part::new(preprocessing, expressions),
            gender: Part::new(preprocessing, genders),
        }
    }

    /// Scores a run's weights.
    ///
    /// # Panics
    ///
    /// If the checkpoint lacks one of its network's tensors, which none of a run does.
    pub fn score(&self, checkpoint: &Checkpoint) -> Scores {
        let [expression, gender] = self.logits(checkpoint);
        Scores {
            loss: self.expression.loss(&expression),
            accuracy: self.expression.accuracy(&expression_answers(&expression)),
            gender_accuracy: self.gender.accuracy(&gender_answers(&gender)),
        }
    }

    /// Offsets to the logits of a run's weights, fitted on these faces.
    ///
    /// # Panics
    ///
    /// As [`Self::score`].
    pub fn offsets(&self, settings: &OffsetSettings, checkpoint: &Checkpoint) -> [f32; LOGITS] {
        let [expression, gender] = self.logits(checkpoint);
        let (expressions, genders) = (&self.expression.labels, &self.gender.labels);
        offsets::fit(settings, (&expression, expressions), (&gender, genders))
    }

    /// Of the faces labelled with an expression, and of those labelled with a gender.
    fn logits(&self, checkpoint: &Checkpoint) -> [Vec<[f32; LOGITS]>; 2] {
        let mut executor = Executor::new(Graph::build(&checkpoint.preset));
        let weights = Weights::from_params(executor.graph(), &checkpoint.params)
            .expect("a run's checkpoint is whole");
        [&self.expression, &self.gender].map(|part| executor.logits(&weights, &part.pictures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::FACE_SIDE;
    use crate::lab::checkpoint::initialize;
    use crate::lab::dataset::{LabelledFace, Usage};
    use crate::lab::network::Preset;

    /// A network whose weights are zero answers its bias: here expression 3, sure by a factor of
    /// e over each other.
    fn of_expression_3() -> Checkpoint {
        let preset = Preset::slim();
        let mut params = initialize(&Graph::build(&preset), || 0.0);
        params.get_mut("head.bias").unwrap().data[3] = 1.0;
        Checkpoint { preset, params, notes: Default::default() }
    }

    #[test]
    fn loss_and_accuracy_are_means_over_the_faces() {
        let face = |label| LabelledFace {
            face: Grey::zeros((FACE_SIDE, FACE_SIDE)),
            label,
            usage: Usage::Training,
            votes: None,
        };
        let mixture =
            Mixture { expressions_kept_back: [3, 3, 3, 0].map(face).into(), ..Default::default() };
        let scores = Validation::new(&Preprocessing::default(), &mixture).score(&of_expression_3());
        assert_eq!((scores.accuracy, scores.gender_accuracy), (Some(0.75), None));
        let e = std::f64::consts::E;
        let expected = (e + 6.0).ln() - 0.75;
        assert!((scores.loss.unwrap() - expected).abs() < 1e-5, "{:?}", scores.loss);
    }
}
