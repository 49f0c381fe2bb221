//! The model in `models/` is the one its card tells of: it gives the sample's answers, scores on
//! PublicTest, and answers as its float checkpoint does. Needs FER2013 in `../shared/data`, but
//! for the first test. After a new model, `mien-lab card` writes card and sample anew.
#![cfg(feature = "lab")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use mien::engine::Model;
use mien::image::Grey;
use mien::lab::candidate::Candidate;
use mien::lab::dataset::{Usage, read_fer2013};
use mien::lab::evaluate::{Classes, Evaluation, expression_answers};

/// Least share of PublicTest's faces that the shipped int8 file must name as labelled.
const LEAST_ACCURACY: f64 = 0.65;
/// Least share of PublicTest's faces that float and int8 must answer alike.
const LEAST_AGREEMENT: f64 = 0.98;

fn shipped(ending: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mien-slim").with_extension(ending)
}

#[test]
fn the_card_s_figures_are_this_file_s() {
    let checksum = crc32fast::hash(&fs::read(shipped("tflite")).unwrap());
    let card = fs::read_to_string(shipped("card.md")).unwrap();
    let line = format!("The int8 file's CRC-32 is {checksum:08x}.");
    assert!(card.contains(&line), "no {line:?} in the card; run `mien-lab card`");
}

#[test]
fn the_model_gives_the_sample_s_answers() {
    let Some(shared) = common::shared_data() else { return };
    let rows = read_fer2013(&shared.join("data/fer2013/fer2013.csv.xz")).unwrap();
    let model = Model::read(&shipped("tflite")).unwrap();
    let mut sample = csv::Reader::from_path(shipped("sample.csv")).unwrap();
    let mut faces = 0;
    for record in sample.records() {
        let record = record.unwrap();
        let row: usize = record[0].parse().unwrap();
        assert_eq!(rows[row].usage, Usage::PublicTest);
        let codes = model.run_codes(std::slice::from_ref(&rows[row].face)).unwrap();
        let expected: Vec<i8> = record.iter().skip(1).map(|code| code.parse().unwrap()).collect();
        assert_eq!(codes, [expected], "row {row}");
        faces += 1;
    }
    assert_eq!(faces, 200);
}

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
    let answers = |ending: &str| {
        let mut candidate = Candidate::read(&shipped(ending)).unwrap();
        expression_answers(&candidate.logits(&faces, |_| ()).unwrap())
    };
    let (float, int8) = (answers("safetensors"), answers("tflite"));

    let accuracy = Evaluation::new(Classes::default().names(), &labels, &int8).accuracy;
    assert!(accuracy >= LEAST_ACCURACY, "int8 accuracy {accuracy:.4}");
    let alike = float.iter().zip(&int8).filter(|(f, i)| f == i).count();
    let agreement = alike as f64 / faces.len() as f64;
    assert!(agreement >= LEAST_AGREEMENT, "float and int8 agree on {agreement:.4}");
}
