//! Data sets as training samples: standardized faces with soft labels.

use super::dataset::{FerRow, PackFace};
use super::loss::Target;
use super::train::Sample;
use crate::face::crop::{reframe_fairface, standardize};
use crate::image::Grey;

/// Share of the FER+ votes in a soft label, beside FER2013's own label.
const VOTES_SHARE: f32 = 0.4;

/// A FER2013 face whose label is softened by its FER+ votes, where it has any.
pub fn expression_sample(row: &FerRow, votes: Option<&[f32; 7]>) -> Sample {
    let mut target = [0.0; 7];
    target[row.label] = 1.0;
    let sum: f32 = votes.map_or(0.0, |votes| votes.iter().sum());
    if let Some(votes) = votes.filter(|_| sum > 0.0) {
        for (target, vote) in target.iter_mut().zip(votes) {
            *target = (1.0 - VOTES_SHARE) * *target + VOTES_SHARE * vote / sum;
        }
    }
    Sample { face: standardize(row.face.view()), target: Target::expression(target) }
}

/// A face of a gender pack to score by: cut to the training framing, and its label, an index into
/// [`crate::expression::Gender::ALL`].
pub fn kept_back_gender(face: &PackFace) -> (Grey, usize) {
    (reframe_fairface(&face.face), usize::from(face.is_male))
}

/// A face of a gender pack to learn from, cut to the training framing.
pub fn gender_sample(face: &PackFace) -> Sample {
    let mut target = [0.0; 2];
    target[usize::from(face.is_male)] = 1.0;
    let face = reframe_fairface(&face.face);
    Sample { face: standardize(face.view()), target: Target::gender(target) }
}
