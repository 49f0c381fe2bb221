//! The model in `models/` holds what its card promises: PublicTest's accuracy, and an int8 file
//! that answers as its float checkpoint does. Needs FER2013 in `../shared/data`.
#![cfg(feature = "lab")]

mod common;

use std::path::Path;

use mien::image::Grey;
use mien::lab::candidate::Candidate;
use mien::lab::dataset::{Usage, read_fer2013};
use mien::lab::evaluate::{Classes, Evaluation, expression_answers};

/// Least share of PublicTest's faces that the shipped int8 file must name as labelled.
const LEAST_ACCURACY: f64 = 0.62;
/// Least share of PublicTest's faces that float and int8 must answer alike.
const LEAST_AGREEMENT: f64 = 0.98;

#[test]
fn int8_and_float_agree_and_score() {
    let Some(shared) = common::shared_data() else { return };
    let rows = read_fer2013(&shared.join("data/fer2013/fer2013.csv.xz")).unwrap();
    let (faces, labels): (Vec<Grey>, Vec<usize>) = rows
        .into_iter()
        .filter(|row| row.usage == Usage::PublicTest)
        .map(|row| (row.face, row.label))
        .unzip();
    assert_eq!(faces.len(), 3579);
    let answers = |file: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(file);
        let mut candidate = Candidate::read(&path).unwrap();
        expression_answers(&candidate.logits(&faces, |_| ()).unwrap())
    };
    let (float, int8) = (answers("mien-slim.safetensors"), answers("mien-slim.tflite"));

    let accuracy = Evaluation::new(Classes::default().names(), &labels, &int8).accuracy;
    assert!(accuracy >= LEAST_ACCURACY, "int8 accuracy {accuracy:.4}");
    let alike = float.iter().zip(&int8).filter(|(f, i)| f == i).count();
    let agreement = alike as f64 / faces.len() as f64;
    assert!(agreement >= LEAST_AGREEMENT, "float and int8 agree on {agreement:.4}");
}
