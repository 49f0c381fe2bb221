//! A recipe's faces and labels as tensors, for a trainer elsewhere: its answers to them can teach
//! here ([`super::teacher`]).

use std::collections::BTreeMap;

use super::checkpoint::{Params, Tensor};
use super::loss::Target;
use super::network::INPUT_SIDE;
use super::samples::Sample;
use super::teacher;

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
