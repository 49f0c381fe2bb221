//! The model in `models/` is the one its card tells of: it gives the sample's answers, scores on
//! PublicTest, and answers as its float checkpoint does. Needs FER2013 in `../shared/data`, but
//! for the first test. After a new model, `mien-lab card` writes card and sample anew.
#![cfg(feature = "lab")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mien::engine::Model;
use mien::image::Grey;
use mien::lab::candidate::Candidate;
use mien::lab::dataset::{LabelledFace, Usage, read_face_pack, read_fer2013};
use mien::lab::evaluate::{Classes, Evaluation, expression_answers};
use mien::lab::split::Split;

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

/// The pixels of those of the faces that are at these positions.
fn pixels<'f>(positions: &[usize], face: impl Fn(usize) -> &'f Grey) -> BTreeSet<Vec<u8>> {
    positions.iter().map(|i| face(*i).iter().copied().collect()).collect()
}

/// Whoever has fewer rows, and others, keeps back the same faces: none that the model learned from.
#[test]
fn the_faces_kept_back_are_the_same_in_a_part_of_fer2013() {
    let Some(shared) = common::shared_data() else { return };
    let mut rows = read_fer2013(&shared.join("data/fer2013/fer2013.csv.xz")).unwrap();
    let split = Split::of_expressions(&rows);
    assert_eq!([split.training.len(), split.validation.len()], [25_201, 2192], "{split}");
    let training = pixels(&split.training, |i| &rows[i].face);
    let mut number = 0;
    rows.retain(|_| {
        number += 1;
        number % 3 == 0
    });
    let mut random = fastrand::Rng::with_seed(3);
    rows.extend((0..500).map(|i| LabelledFace {
        face: Grey::from_shape_simple_fn((48, 48), || random.u8(..)),
        label: i % 7,
        usage: if i % 2 == 0 { Usage::Training } else { Usage::PrivateTest },
        votes: None,
    }));
    let kept_back = pixels(&Split::of_expressions(&rows).validation, |i| &rows[i].face);
    assert!(kept_back.len() > 600 && kept_back.is_disjoint(&training), "{}", kept_back.len());
}

#[test]
fn the_faces_kept_back_are_the_same_in_a_part_of_fairface() {
    let Some(shared) = common::shared_data() else { return };
    let mut faces = read_face_pack(&shared.join("data/gender/fairface_train.u8.xz")).unwrap();
    let split = Split::of_genders(&faces);
    assert_eq!([split.training.len(), split.validation.len()], [14_720, 1280], "{split}");
    let training = pixels(&split.training, |i| &faces[i].face);
    faces.truncate(5000);
    let kept_back = pixels(&Split::of_genders(&faces).validation, |i| &faces[i].face);
    assert!(kept_back.len() > 300 && kept_back.is_disjoint(&training), "{}", kept_back.len());
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
    let card = fs::read_to_string(shipped("card.md")).unwrap();
    let row = card.lines().find(|line| line.starts_with("| accuracy, PublicTest")).unwrap();
    let stated = row.rsplit('|').nth(1).unwrap();
    assert!(stated.contains(&format!("{:.2} %", 100.0 * accuracy)), "{accuracy:.4}, not {stated}");
    let alike = float.iter().zip(&int8).filter(|(f, i)| f == i).count();
    let agreement = alike as f64 / faces.len() as f64;
    assert!(agreement >= LEAST_AGREEMENT, "float and int8 agree on {agreement:.4}");
}
