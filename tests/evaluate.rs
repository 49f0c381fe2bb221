//! `mien-lab evaluate`'s promises to its user, on small made-up data; and that what a model's
//! metadata says of its logits is what the device goes by.
#![cfg(feature = "lab")]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lzma_rust2::{XzOptions, XzWriter};
use mien::classifier::{Classifier, Scores};
use mien::engine::{Calibration, Model};
use mien::face::normalization::Normalization;
use mien::image::Grey;
use mien::lab::checkpoint::Checkpoint;
use mien::lab::evaluate::test_set::{Crops, TestSet};
use mien::lab::float::FloatGraph;
use mien::lab::quantize::{Settings, quantize};
use mien::lab::split::Part;
use mien::lab::tflite;
use serde_json::Value;
use tempfile::TempDir;

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(file)
}

/// A face of noise.
fn face(seed: u64) -> Grey {
    let mut random = fastrand::Rng::with_seed(seed);
    Grey::from_shape_simple_fn((48, 48), || random.u8(..))
}

/// A folder with data and what the program writes.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn evaluate(&self, args: &[&str]) -> Output {
        let int8 = shipped("mien-slim.tflite");
        let mut command = Command::new(env!("CARGO_BIN_EXE_mien-lab"));
        command.current_dir(self.0.path()).args(["evaluate", "--model"]).arg(int8);
        command.args(args).output().unwrap()
    }

    /// The report printed by `--json`.
    fn json(&self, args: &[&str]) -> Value {
        let output = self.evaluate(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What it says when it fails.
    fn error(&self, args: &[&str]) -> String {
        let output = self.evaluate(args);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    /// `fer.csv`: 14 PublicTest rows, two of each label; and `votes.csv`, by which all that have
    /// a majority are happy: the odd rows.
    fn fer2013(&self) {
        let mut fer = "emotion,pixels,Usage\n".to_owned();
        let mut votes = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,\
                         contempt,unknown,NF\n"
            .to_owned();
        for row in 0..14 {
            let pixels: Vec<String> = face(row).iter().map(u8::to_string).collect();
            fer += &format!("{},{},PublicTest\n", row % 7, pixels.join(" "));
            let happy = if row % 2 == 1 { 6 } else { 4 };
            votes += &format!("PublicTest,,4,{happy},0,0,0,0,0,0,0,0\n");
        }
        fs::write(self.path("fer.csv"), fer).unwrap();
        fs::write(self.path("votes.csv"), votes).unwrap();
    }

    /// `pack.u8.xz` and `pack.csv.xz`: six faces in turn of a woman and a man.
    fn pack(&self) {
        let xz = |name: &str, bytes: &[u8]| {
            let file = File::create(self.path(name)).unwrap();
            let mut writer = XzWriter::new(file, XzOptions::with_preset(1)).unwrap();
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap();
        };
        let mut csv = "is_male,age,race\n".to_owned();
        for i in 0..6 {
            let (age, race) = (["3-9", "20-29"][i / 3], ["Black", "White"][i / 3]);
            csv += &format!("{},{age},{race}\n", i % 2);
        }
        let bytes: Vec<u8> = (0..6).flat_map(|i| face(100 + i).into_iter()).collect();
        xz("pack.u8.xz", &bytes);
        xz("pack.csv.xz", csv.as_bytes());
    }
}

#[test]
fn json_has_every_figure_and_they_agree() {
    let place = Place::new();
    place.fer2013();
    let report = place.json(&["--data", "fer.csv", "--votes", "votes.csv", "--worst", "3"]);
    assert_eq!(report["n"], 14);
    let confusion = report["confusion"].as_array().unwrap();
    let count = |i: usize, j: usize| confusion[i][j].as_u64().unwrap();
    let right: u64 = (0..7).map(|i| count(i, i)).sum();
    assert_eq!(report["accuracy"], right as f64 / 14.0);
    assert_eq!(report["per_class_recall"]["happy"], count(3, 3) as f64 / 2.0);
    let [low, high] = [0, 1].map(|end| report["accuracy_interval"][end].as_f64().unwrap());
    let accuracy = report["accuracy"].as_f64().unwrap();
    assert!(low < accuracy && accuracy < high || right == 0);
    assert_eq!(report["ferplus"]["n"], 7);
    assert_eq!(report["ferplus"]["per_class_recall"]["sad"], Value::Null);
    assert_eq!(report["coverage"]["curve"][0]["coverage"], 1.0);
    assert!(report["calibration"]["expected_calibration_error"].is_f64());
    assert_eq!(report["worst"].as_array().unwrap().len(), 3);
    for key in ["macs", "parameters", "bytes"] {
        assert!(report[key].as_u64().unwrap() > 100_000, "{key}");
    }
    assert!(report["ms_per_image"].as_f64().unwrap() > 0.0);
    assert_eq!(report.get("gender"), None);
}

#[test]
fn a_pack_scores_gender_by_group() {
    let place = Place::new();
    place.pack();
    let report = place.json(&["--data", "pack.u8.xz"]);
    assert_eq!(report.get("accuracy"), None);
    let gender = &report["gender"];
    assert_eq!(gender["n"], 6);
    assert_eq!(gender["by_age"]["3-9"]["n"], 3);
    assert_eq!(gender["ages_10_and_up"]["n"], 3);
    let mean = |group: &Value| {
        (group["recall_female"].as_f64().unwrap() + group["recall_male"].as_f64().unwrap()) / 2.0
    };
    assert!((mean(gender) - gender["accuracy"].as_f64().unwrap()).abs() < 1e-9);
    assert_eq!(gender["by_race"].as_object().unwrap().len(), 2);
}

#[test]
fn a_folder_of_classes_is_scored_and_its_files_are_named() {
    let place = Place::new();
    for (i, class) in ["angry", "happy"].iter().enumerate() {
        fs::create_dir_all(place.path("faces").join(class)).unwrap();
        let bytes = face(i as u64).into_raw_vec_and_offset().0;
        let picture = image::GrayImage::from_raw(48, 48, bytes).unwrap();
        picture.save(place.path("faces").join(class).join("1.png")).unwrap();
    }
    let report = place.json(&["--data", "faces", "--worst", "9"]);
    assert_eq!((&report["n"], &report["skipped"]), (&2.into(), &0.into()));
    for mistake in report["worst"].as_array().into_iter().flatten() {
        assert!(["angry/1.png", "happy/1.png"].contains(&mistake["face"].as_str().unwrap()));
    }
    assert!(place.error(&["--data", "faces", "--votes", "v.csv"]).contains("--votes"));
    // A folder is learned from as a whole, but for what is kept back.
    let of_part = |part| place.json(&["--data", "faces", "--usage", part])["n"].as_u64().unwrap();
    assert_eq!((of_part("Training"), of_part("Validation")), (1, 1));
    assert!(place.error(&["--data", "faces", "--usage", "PublicTest"]).contains("no PublicTest"));

    fs::write(place.path("faces/happy/2.png"), "no picture").unwrap();
    assert_eq!(place.json(&["--data", "faces"])["skipped"], 1);
    let output = place.evaluate(&["--data", "faces", "--html", "page.html"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.trim_end().ends_with("skipped; the log names it"), "{text}");
    assert!(fs::read_to_string(place.path("page.html")).unwrap().contains("skipped; the log"));
}

#[test]
fn what_does_not_go_together_is_refused() {
    let place = Place::new();
    place.fer2013();
    place.pack();
    let pack = ["--data", "pack.u8.xz"];
    for more in [&["--worst", "3"][..], &["--merge", "happy"], &["--genders", "pack.u8.xz"]] {
        let error = place.error(&[&pack, more].concat());
        assert!(error.contains(more[0]) && error.contains("pack"), "{error}");
    }
    let error = place.error(&["--data", "fer.csv", "--worst", "0", "--worst-pictures", "w"]);
    assert!(error.contains("a number above 0"), "{error}");
}

#[test]
fn merged_classes_are_scored_by_the_sum_of_their_shares() {
    let place = Place::new();
    place.fer2013();
    let report = place.json(&["--data", "fer.csv", "--merge", "happy,neutral"]);
    assert_eq!(report["classes"], serde_json::json!(["happy", "neutral", "other"]));
    let other: u64 =
        report["confusion"][2].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(other, 10);

    // The device is unsure by the seven shares, however they are added up.
    let curve = report["coverage"]["curve"].as_array().unwrap();
    let share = |point: &Value| point["coverage"].as_f64().unwrap();
    let partly = curve.iter().find(|point| 0.0 < share(point) && share(point) < 0.7).unwrap();
    let unsure_below = partly["threshold"].as_f64().unwrap() as f32;
    let said = Calibration { temperature: 1.0, unsure_below, ..Calibration::default() };
    let said = said.to_metadata();
    let metadata: Vec<(&str, &str)> = said.iter().map(|(n, text)| (*n, text.as_str())).collect();
    fs::write(place.path("m.tflite"), model_saying(&metadata)).unwrap();
    let coverage = |more: &[&str]| {
        let args = [&["--model", "m.tflite", "--data", "fer.csv"], more].concat();
        share(&place.json(&args)["models"][1]["coverage"]["at_threshold"])
    };
    let own = coverage(&[]);
    assert!(0.0 < own && own < 1.0, "{own}");
    assert_eq!(coverage(&["--merge", "happy,neutral"]), own);
    let error = place.error(&["--data", "fer.csv", "--merge", "hapy"]);
    assert!(error.contains("\"hapy\" is no expression"), "{error}");
}

#[test]
fn models_stand_side_by_side_in_text_json_and_a_page_of_its_own() {
    let place = Place::new();
    place.fer2013();
    let float = shipped("mien-slim.safetensors").display().to_string();
    let two = ["--model", &float, "--data", "fer.csv"];
    let models = place.json(&two);
    assert_eq!(models["models"].as_array().unwrap().len(), 2);
    let output = place.evaluate(&[&two[..], &["--html", "page.html"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["mien-slim.tflite  ", "mien-slim.safetensors\n", "calibration error", "agree on"] {
        assert!(text.contains(part), "{part} not in: {text}");
    }
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.matches("<svg").count() >= 8);
    // Nothing is fetched, nothing runs.
    for part in ["<script", "http:", "https:", "src=", "@import", "url("] {
        assert!(!page.contains(part), "{part}");
    }
}

#[test]
fn pictures_are_written_only_when_asked_for() {
    let place = Place::new();
    place.fer2013();
    place.json(&["--data", "fer.csv", "--worst", "2"]);
    assert_eq!(fs::read_dir(place.0.path()).unwrap().count(), 2, "the data alone");
    place.json(&["--data", "fer.csv", "--worst", "2", "--worst-pictures", "worst"]);
    let pictures: Vec<_> = fs::read_dir(place.path("worst")).unwrap().collect();
    assert_eq!(pictures.len(), 2);
    assert!(place.error(&["--data", "fer.csv", "--worst-pictures", "w"]).contains("--worst"));
}

/// The shipped checkpoint as an int8 file with this metadata.
fn model_saying(metadata: &[(&str, &str)]) -> Vec<u8> {
    let checkpoint = Checkpoint::read(&shipped("mien-slim.safetensors")).unwrap();
    let graph = FloatGraph::of_checkpoint(&checkpoint).unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    let pictures: Vec<f32> = (0..4 * 48 * 48).map(|_| 2.0 * random.f32() - 1.0).collect();
    let metadata = metadata.iter().map(|(name, text)| (name.to_string(), text.to_string()));
    let metadata: BTreeMap<_, _> = metadata.collect();
    tflite::write(
        &quantize(
            graph,
            Normalization::Standardized.bounds(),
            Settings::default(),
            &pictures,
            metadata,
        )
        .unwrap()
        .network,
    )
}

#[test]
fn the_device_goes_by_the_calibration_in_the_file() {
    let said = Calibration { temperature: 2.5, gender_temperature: 1.5, unsure_below: 0.4 };
    let entries = said.to_metadata();
    let entries: Vec<(&str, &str)> = entries.iter().map(|(n, t)| (*n, t.as_str())).collect();
    let load = || Model::from_bytes("m", &model_saying(&entries)).unwrap();
    let model = load();
    assert_eq!(model.calibration(), said);
    let logits = model.run(&[face(1)]).unwrap()[0];
    let scores = Classifier::new(load()).classify(&[face(1)]).unwrap()[0];
    assert_eq!(scores, Scores::from_logits(&logits, &said));
    assert_ne!(scores, Scores::from_logits(&logits, &Calibration::default()));
}

#[test]
fn a_calibration_that_makes_no_sense_is_refused_by_name() {
    for (name, text) in [("mien.temperature", "0"), ("mien.unsure_below", "2")] {
        let error = Model::from_bytes("m", &model_saying(&[(name, text)])).err().unwrap();
        let error = error.to_string();
        for part in [name, text, "must be", "mien-lab quantize"] {
            assert!(error.contains(part), "{part} not in: {error}");
        }
    }
}

/// Both ways of framing score the same faces, once as they are and once as the device sees them.
#[test]
fn faces_are_cropped_as_the_device_would() {
    let Some(shared) = common::shared_data() else { return };
    let data = shared.join("data/fer2013/fer2013.csv.xz");
    let mut set = TestSet::fer2013(&data, Part::Validation, None).unwrap();
    set.expressions.truncate(60);
    let cropped = |crops| set.clone().cropped(crops, || ()).unwrap();
    let [given, found, by_detector] =
        [Crops::AsGiven, Crops::Found, Crops::ByDetector].map(cropped);
    assert_eq!(given.expressions.len(), 60);
    let names = |set: &TestSet| set.expressions.iter().map(|e| e.name.clone()).collect::<Vec<_>>();
    assert!(found.expressions.len() >= 30, "{}", found.title);
    assert_eq!(names(&found), names(&by_detector));
    for (a, b) in found.expressions.iter().zip(&by_detector.expressions) {
        assert_eq!(b.face.dim(), (48, 48));
        assert_ne!(a.face, b.face);
    }
}
