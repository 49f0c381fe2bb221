//! Data sets as training samples: prepared faces with soft labels.

use ndarray::Array2;

use super::dataset::{LabelledFace, PackFace, Votes};
use super::loss::Target;
use super::preprocessing::Preprocessing;
use crate::face::crop::reframe_fairface;
use crate::image::Grey;

/// A standardized face [48, 48] and its label.
#[derive(Clone, Debug)]
pub struct Sample {
    /// As [`Preprocessing::prepare`] gives it.
    pub face: Array2<f32>,
    /// What it is labelled with.
    pub target: Target,
}

/// A face labelled with an expression; `votes_share` of its soft label are its FER+ votes, where
/// it has any for the seven expressions, the rest its own label.
pub fn expression_sample(
    labelled: &LabelledFace,
    votes_share: f32,
    preprocessing: &Preprocessing,
) -> Sample {
    let mut target = [0.0; 7];
    target[labelled.label] = 1.0;
    if let Some(shares) = labelled.votes.as_ref().and_then(Votes::shares) {
        for (target, share) in target.iter_mut().zip(shares) {
            *target = (1.0 - votes_share) * *target + votes_share * share;
        }
    }
    Sample { face: preprocessing.prepare(&labelled.face), target: Target::expression(target) }
}

/// A face of a gender pack to score by: cut to the training framing, and its label, an index into
/// [`crate::expression::Gender::ALL`].
pub fn kept_back_gender(face: &PackFace) -> (Grey, usize) {
    (reframe_fairface(&face.face), usize::from(face.is_male))
}

/// A face of a gender pack to learn from, cut to the training framing.
pub fn gender_sample(face: &PackFace, preprocessing: &Preprocessing) -> Sample {
    let mut target = [0.0; 2];
    target[usize::from(face.is_male)] = 1.0;
    let face = reframe_fairface(&face.face);
    Sample { face: preprocessing.prepare(&face), target: Target::gender(target) }
}

/// Up to `count` of the values, spread evenly over them.
pub fn spread_evenly<T>(values: Vec<T>, count: usize) -> Vec<T> {
    let (len, count) = (values.len(), count.min(values.len()));
    // Value i is taken if it is the first of its count-th part.
    let begins_part = |i: usize| i * count % len < count;
    let values = values.into_iter().enumerate();
    values.filter(|(i, _)| begins_part(*i)).map(|(_, value)| value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_spread_evenly() {
        assert_eq!(spread_evenly((0..10).collect(), 5), [0, 2, 4, 6, 8]);
        assert_eq!(spread_evenly((0..10).collect(), 3), [0, 4, 7]);
        assert_eq!(spread_evenly((0..3).collect(), 9), [0, 1, 2]);
        assert!(spread_evenly((0..3).collect(), 0).is_empty());
        assert!(spread_evenly(Vec::<u8>::new(), 3).is_empty());
        for (len, count) in [(1143, 200), (3579, 200), (7, 7)] {
            assert_eq!(spread_evenly((0..len).collect(), count).len(), count);
        }
    }
}
