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
