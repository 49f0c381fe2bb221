//! A recipe's faces and labels as tensors, for a trainer elsewhere: its answers to them can teach
//! here ([`super::teacher`]).

use std::collections::BTreeMap;

use super::checkpoint::{Params, Tensor};
use super::duplicates;
use super::loss::Target;
use super::mixture::Mixture;
use super::network::INPUT_SIDE;
use super::samples::Sample;
use super::teacher;
use crate::image::Grey;

/// Tensors of the faces to learn from and, named `validation_…`, of those to choose by; each are the
/// samples of expressions and of genders.
///
/// `expression_faces` and `gender_faces` [n, 48, 48] are prepared as a network reads them, with
/// `expression_labels` [n, 7] and `gender_labels` [n, 2], shares that add up to one.
pub fn tensors(training: [&[Sample]; 2], validation: [&[Sample]; 2]) -> Params {
    let mut tensors = Params::new();
    for (prefix, [expressions, genders]) in [("", training), ("validation_", validation)] {
        for (head, samples) in [("expression", expressions), ("gender", genders)] {
            let data = samples.iter().flat_map(|sample| &sample.face).copied().collect();
            let shape = vec![samples.len(), INPUT_SIDE, INPUT_SIDE];
            tensors.insert(format!("{prefix}{head}_faces"), Tensor { shape, data });
        }
        let labels = labels(expressions, |target| target.expression);
        tensors.insert(format!("{prefix}expression_labels"), labels);
        let labels = self::labels(genders, |target| target.gender);
        tensors.insert(format!("{prefix}gender_labels"), labels);
    }
    tensors
}

/// Tensors `expression_groups` [n] and `gender_groups` [n] of the faces to learn from: faces of one
/// number are near-duplicates.
pub fn groups(mixture: &Mixture) -> Params {
    let expressions = mixture.expressions.iter().map(|face| &face.face);
    let faces: Vec<&Grey> = expressions.chain(mixture.genders.iter().map(|f| &f.face)).collect();
    let groups: Vec<f32> =
        duplicates::groups(&faces).into_iter().map(|group| group as f32).collect();
    let (expressions, genders) = groups.split_at(mixture.expressions.len());
    let tensor = |data: &[f32]| Tensor { shape: vec![data.len()], data: data.to_vec() };
    [("expression_groups", expressions), ("gender_groups", genders)]
        .map(|(name, groups)| (name.to_owned(), tensor(groups)))
        .into()
}

/// Labels [n, `N`] of one head; a face without is all zeros.
fn labels<const N: usize>(samples: &[Sample], of: fn(&Target) -> Option<[f32; N]>) -> Tensor {
    let labels = samples.iter().map(|sample| of(&sample.target).unwrap_or([0.0; N]));
    Tensor { shape: vec![samples.len(), N], data: labels.flatten().collect() }
}

/// What the tensors' file says of itself, and a file of answers to its faces has to repeat: the
/// checksum of the faces to learn from.
pub fn metadata(training: [&[Sample]; 2]) -> BTreeMap<String, String> {
    let faces: Vec<&Sample> = training.into_iter().flatten().collect();
    [(teacher::FACES.to_owned(), teacher::checksum_of(&faces))].into()
}
