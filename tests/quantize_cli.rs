//! `mien-lab quantize` and `inspect` as commands: what they write, say and refuse.
#![cfg(feature = "lab")]

#[path = "common/lab.rs"]
mod program;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mien::engine::test_vector::{self, TEST_CODES};
use mien::engine::{Model, ModelError};
use program::{command, lab, write_noise};

fn checkpoint() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mien-slim.safetensors")
}

/// A FER2013 of noise, in `fer.csv`.
fn work() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let usage = |i| if i % 8 == 0 { "PublicTest" } else { "Training" };
    write_noise(&folder.path().join("fer.csv"), 80, usage);
    folder
}

fn quantize(folder: &Path, out: &str, more: &[&str]) -> Output {
    quantize_by(folder, out, more, "2")
}

fn quantize_by(folder: &Path, out: &str, more: &[&str], threads: &str) -> Output {
    let checkpoint = checkpoint();
    let args = ["quantize", checkpoint.to_str().unwrap(), "-o", out, "--calibrate", "fer.csv"];
    let args = [&args[..], &["--labels", "fer.csv"], more].concat();
    command(folder, &args).env("RAYON_NUM_THREADS", threads).output().unwrap()
}

fn said(output: &Output) -> String {
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|s| String::from_utf8_lossy(s));
    format!("{stdout}{stderr}")
}

#[test]
fn a_file_that_gives_other_codes_than_it_says_is_refused() {
    let folder = work();
    let output = quantize(folder.path(), "a.tflite", &["--max-drop=100"]);
    assert!(output.status.success(), "{}", said(&output));
    let mut bytes = std::fs::read(folder.path().join("a.tflite")).unwrap();
    let said = Model::from_bytes("a", &bytes).unwrap().metadata(TEST_CODES).unwrap().to_owned();
    let at = bytes.windows(said.len()).position(|text| text == said.as_bytes()).unwrap();
    let last = &mut bytes[at + said.len() - 1];
    *last = if *last == b'1' { b'2' } else { b'1' };
    let refused = Model::from_bytes("a", &bytes).err();
    assert!(matches!(refused, Some(ModelError::TestCodes { .. })), "{refused:?}");
}

#[test]
fn what_can_t_be_written_or_judged_is_refused_before_the_work() {
    let folder = work();
    let refused = |out: &str, more: &[&str], why: &str| {
        let output = quantize(folder.path(), out, more);
        assert!(!output.status.success() && said(&output).contains(why), "{}", said(&output));
    };
    refused("nowhere/a.tflite", &[], "no such folder");
    refused("a.tflite", &["--max-drop=nan"], "finite");
    refused(".", &[], "it is a folder");
    refused("a.txt", &[], "must end in .tflite");
    refused("fer.csv", &[], "data to be read");
    refused("a.tflite", &["--report", "fer.csv"], "is no folder");
    let source = folder.path().join("a.safetensors");
    std::fs::copy(checkpoint(), &source).unwrap();
    let args = ["quantize", "a.safetensors", "-o", "./a.safetensors", "--calibrate", "fer.csv"];
    let output = lab(folder.path(), &args);
    assert!(said(&output).contains("another name"), "{}", said(&output));
    assert_eq!(std::fs::read(source).unwrap(), std::fs::read(checkpoint()).unwrap());
}

#[test]
fn a_report_needs_no_labels() {
    let folder = work();
    let checkpoint = checkpoint();
    let args =
        ["quantize", checkpoint.to_str().unwrap(), "-o", "a.tflite", "--calibrate", "fer.csv"];
    let output = lab(folder.path(), &[&args[..], &["--report", "report"]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let costs = std::fs::read_to_string(folder.path().join("report/layers.json")).unwrap();
    let costs: serde_json::Value = serde_json::from_str(&costs).unwrap();
    let costs = costs.as_array().unwrap();
    assert!(
        costs.len() > 20 && costs.iter().all(|cost| cost["alone_nats"].is_number()),
        "{costs:?}"
    );
}

#[test]
fn a_dry_run_writes_nothing() {
    let folder = work();
    let output = quantize(folder.path(), "a.tflite", &["--dry-run", "--report", "r", "--force"]);
    let said = said(&output);
    assert!(output.status.success() && said.contains("not written"), "{said}");
    assert!(said.contains("block1_depthwise1"), "{said}");
    assert!(["a.tflite", "r"].iter().all(|name| !folder.path().join(name).exists()));
}

#[test]
fn the_same_inputs_give_the_same_bytes_and_the_file_says_what_they_were() {
    let folder = work();
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    for (out, threads) in [("a.tflite", "1"), ("b.tflite", "3")] {
        let output = quantize_by(folder.path(), out, &["--max-drop=100"], threads);
        assert!(output.status.success(), "{}", said(&output));
    }
    assert_eq!(read("a.tflite"), read("b.tflite"));
    let model = Model::from_bytes("a", &read("a.tflite")).unwrap();
    assert!(model.metadata("mien.quantization").unwrap().contains("\"rounding\":\"adaptive\""));
    for hash in ["mien.source_sha256", "mien.ranges_from_sha256"] {
        assert_eq!(model.metadata(hash).unwrap().len(), 64);
    }
    let codes = model.run_raw(&test_vector::picture(model.input_len())).unwrap();
    assert_eq!(model.metadata(TEST_CODES), Some(test_vector::text(&codes).as_str()));
    let args = ["--no-equalization", "--max-drop=100", "--report", "report"];
    let plain = quantize(folder.path(), "c.tflite", &args);
    assert!(plain.status.success(), "{}", said(&plain));
    assert_ne!(read("a.tflite"), read("c.tflite"));
    let costs: serde_json::Value = serde_json::from_slice(&read("report/layers.json")).unwrap();
    let layers = costs.as_array().unwrap();
    assert_eq!(layers.last().unwrap()["name"], "logits");
    assert!(layers.iter().all(|layer| layer["alone_nats"].is_f64()));
    let text = String::from_utf8(read("report/layers.txt")).unwrap();
    assert_eq!(text.lines().count(), layers.len() + 1);
    assert!(String::from_utf8(read("report/layers.html")).unwrap().ends_with("</html>"));

    let listing = said(&lab(folder.path(), &["inspect", "a.tflite"]));
    assert!(listing.contains("block1_depthwise1") && listing.contains("million"), "{listing}");
    assert!(listing.contains("runs all 57 operations"), "{listing}");
    let weight_scales = |name: &str| {
        let row = listing.lines().find(|line| line.split_whitespace().nth(1) == Some(name));
        row.and_then(|row| row.split_once("; ")).map(|(_, scales)| scales.to_owned())
    };
    let scales = weight_scales("block1_pointwise1").unwrap();
    let (least, most) = scales.split_once(" to ").unwrap();
    let [least, most] = [least, most].map(|scale| scale.parse::<f32>().unwrap());
    assert!(0.0 < least && least < most && most < 1.0, "{scales}");
    assert_eq!(weight_scales("block1_add"), None);
    for entry in ["labels: angry disgust", "normalization: standardized", "mien.source_sha256: "] {
        assert!(listing.contains(entry), "{listing}");
    }
    std::fs::copy(checkpoint(), folder.path().join("OWN.SAFETENSORS")).unwrap();
    let listing = said(&lab(folder.path(), &["inspect", "OWN.SAFETENSORS"]));
    assert!(listing.contains("folded into these operations: a_norm, a_norm_relu"), "{listing}");
    assert!(listing.contains("recipe: {\"network\""), "{listing}");
}

#[test]
fn a_file_that_answers_worse_is_not_written_unless_forced() {
    let folder = work();
    let refused = quantize(folder.path(), "a.tflite", &["--max-drop=-101"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = said(&refused);
    assert!(said.contains("--max-drop") && said.contains("--force"), "{said}");
    assert!(!folder.path().join("a.tflite").exists());
    assert!(quantize(folder.path(), "a.tflite", &["--max-drop=-101", "--force"]).status.success());
    assert!(folder.path().join("a.tflite").exists());
}

#[test]
fn a_file_of_another_kind_is_not_inspected() {
    let folder = work();
    let output = lab(folder.path(), &["inspect", "fer.csv"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("fer.csv: its name must end in"), "{}", said(&output));
    let float = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import");
    for name in ["keras_xception.tflite", "torch_resnet.onnx", "mini_xception_keras2.h5"] {
        let listing = said(&lab(folder.path(), &["inspect", float.join(name).to_str().unwrap()]));
        assert!(listing.contains("depthwise 3×3") || listing.contains("conv 3×3"), "{listing}");
    }
}

fn imported(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import").join(name)
}

/// It may have learned from any row of Training.
#[test]
fn another_framework_s_network_is_judged_by_public_test_alone() {
    let folder = work();
    let source = imported("torch_vgg.onnx");
    let args = ["quantize", source.to_str().unwrap(), "-o", "o.tflite", "--calibrate", "fer.csv"];
    let more = ["--normalization", "0..1", "--labels", "fer.csv", "--max-drop=100"];
    let output = lab(folder.path(), &[&args[..], &more].concat());
    let said = said(&output);
    assert!(said.contains("5 labelled faces: float"), "{said}");
    assert!(said.contains("5 PublicTest faces: float"), "{said}");
}

/// A folder of grey faces without labels, of a size that no network here reads.
fn pictures(folder: &Path) {
    std::fs::create_dir(folder.join("faces")).unwrap();
    let mut random = fastrand::Rng::with_seed(2);
    for i in 0..12 {
        let noise = image::GrayImage::from_fn(70, 70, |_, _| image::Luma([random.u8(..)]));
        noise.save(folder.join(format!("faces/{i}.png"))).unwrap();
    }
}

/// Other frameworks' networks become files that the device itself runs, and answer as they did.
#[test]
fn other_frameworks_networks_run_on_the_device() {
    let folder = work();
    pictures(folder.path());
    for (name, normalization) in [
        ("mini_xception_keras2.h5", "-1..1"),
        ("vgg_keras3.keras", "0..1"),
        ("torch_resnet_rgb.onnx", "124,116,104/58,57,57"),
        ("keras_xception.tflite", "standardized"),
    ] {
        let source = imported(name);
        let args = [
            "quantize",
            source.to_str().unwrap(),
            "-o",
            "other.tflite",
            "--calibrate",
            "faces",
            "--normalization",
            normalization,
            "--classes",
            "neutral sad happy - surprise fear angry",
        ];
        let output = lab(folder.path(), &args);
        assert!(output.status.success(), "{name}: {}", said(&output));
        let said = said(&output);
        let alike = said.split("agree on ").nth(1).and_then(|rest| rest.split(' ').next());
        let alike: f64 = alike.unwrap_or_else(|| panic!("{name}: {said}")).parse().unwrap();
        assert!(alike >= 75.0, "{name}: {said}");

        let mut mien = Command::new(env!("CARGO_BIN_EXE_mien"));
        let picture = ["predict", "--face", "--json", "faces/3.png", "--model", "other.tflite"];
        let answer = mien.current_dir(folder.path()).args(picture).output().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
        let face = &json["faces"][0];
        assert!(face.get("gender").is_none(), "{name}: {face}");
        assert_eq!(face["expression"]["disgust"], 0.0, "{name}: {face}");
        let shares = face["expression"].as_object().unwrap().values();
        let sum: f64 = shares.map(|share| share.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-3, "{name}: {face}");
    }
}

#[test]
fn what_another_framework_s_file_leaves_unsaid_is_asked_for() {
    let folder = work();
    pictures(folder.path());
    let source = imported("torch_vgg.onnx");
    let quantize = |more: &[&str]| {
        let args = ["quantize", source.to_str().unwrap(), "-o", "o.tflite", "--calibrate", "faces"];
        let output = lab(folder.path(), &[&args[..], more].concat());
        assert!(!output.status.success(), "{more:?}");
        assert!(!folder.path().join("o.tflite").exists());
        said(&output)
    };
    for (more, words) in [
        (&[][..], &["--normalization", "0..255", "MEAN/DEVIATION"][..]),
        (&["--normalization", "0..2"], &["0..2", "-1..1"]),
        (&["--normalization", "1,2,3/4,5,6"], &["1 channels"]),
        (&["--normalization=0..1", "--side", "64"], &["48×48", "--side 64"]),
        (&["--normalization=0..1", "--classes", "joy - - - - - -"], &["joy", "--classes", "happy"]),
        (&["--normalization=0..1", "--classes", "happy sad"], &["happy sad", "each logit"]),
        (&["--normalization=0..1", "--labels", "fer.csv", "--genders", "p.u8.xz"], &["p.csv.xz"]),
    ] {
        let said = quantize(more);
        assert!(words.iter().all(|word| said.contains(word)), "{more:?}: {said}");
    }
    let own = checkpoint();
    let args = ["quantize", own.to_str().unwrap(), "-o", "o.tflite", "--calibrate", "fer.csv"];
    let output = lab(folder.path(), &[&args[..], &["--side", "48"]].concat());
    assert!(said(&output).contains("leave out --normalization"), "{}", said(&output));
}

#[test]
fn arrays_calibrate_and_a_dry_run_writes_nothing() {
    let folder = work();
    let source = imported("torch_vgg.onnx");
    let quantize = |array: &str| {
        let args = ["quantize", source.to_str().unwrap(), "-o", "o.tflite", "--dry-run"];
        let more = ["--normalization", "-1..1", "--calibrate", array];
        lab(folder.path(), &[&args[..], &more].concat())
    };
    let npy = |name: &str, dtype: &str, shape: &str, data: &[u8]| {
        let header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(((header.len() + 1) as u16).to_le_bytes());
        bytes.extend(header.bytes().chain([b'\n']).chain(data.iter().copied()));
        std::fs::write(folder.path().join(name), bytes).unwrap();
    };
    let mut random = fastrand::Rng::with_seed(3);
    let noise: Vec<u8> = (0..9 * 50 * 50).map(|_| random.u8(..)).collect();
    let values: Vec<u8> =
        noise.iter().flat_map(|p| (f32::from(*p) / 127.5 - 1.0).to_le_bytes()).collect();
    npy("faces.npy", "|u1", "(9, 50, 50)", &noise);
    npy("input.npy", "<f4", "(9, 48, 48, 1)", &values[..4 * 9 * 48 * 48]);
    for name in ["faces.npy", "input.npy"] {
        let output = quantize(name);
        assert!(output.status.success(), "{name}: {}", said(&output));
        assert!(said(&output).contains("not written"), "{}", said(&output));
        assert!(!said(&output).contains("alike"), "{}", said(&output));
    }
    npy("same.npy", "|u1", "(9, 50, 50)", &noise[..50 * 50].repeat(9));
    let output = quantize("same.npy");
    assert!(said(&output).contains("answers 8 calibration pictures alike"), "{}", said(&output));
    npy("double.npy", "<f8", "(1, 48, 48, 1)", &values[..8 * 48 * 48]);
    npy("other.npy", "<f4", "(1, 40, 40, 1)", &values[..4 * 40 * 40]);
    npy("cut.npy", "|u1", "(9, 50, 50)", &noise[..1000]);
    npy("huge.npy", "|u1", "(9223372036854775807, 50, 50)", &noise);
    npy("none.npy", "|u1", "(0, 50, 50)", &[]);
    npy("flat.npy", "|u1", "(9, 0, 50)", &[]);
    npy("nan.npy", "<f4", "(1, 48, 48, 1)", &f32::NAN.to_le_bytes().repeat(48 * 48));
    for (name, word) in [
        ("double.npy", "float32 [n, 48, 48, 1]"),
        ("other.npy", "[1, 40, 40, 1]"),
        ("cut.npy", "cut short"),
        ("huge.npy", "too large"),
        ("none.npy", "no pictures"),
        ("flat.npy", "[9, 0, 50]"),
        ("nan.npy", "not finite"),
    ] {
        let output = quantize(name);
        assert!(!output.status.success(), "{name}");
        assert!(said(&output).contains(name) && said(&output).contains(word), "{}", said(&output));
    }
    assert!(!folder.path().join("o.tflite").exists());
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mien-lab"));
    let checkpoint = checkpoint();
    command.args(["inspect", checkpoint.to_str().unwrap()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.stderr.is_empty(), "{}", said(&output));
}
