//! `mien-lab quantize` and `inspect` as commands: what they write, say and refuse.
#![cfg(feature = "lab")]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mien::engine::Model;

fn checkpoint() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mien-slim.safetensors")
}

/// A FER2013 of noise, in `fer.csv`.
fn work() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let mut csv = String::from("emotion,pixels,Usage\n");
    for i in 0..80 {
        let pixels: Vec<String> = (0..48 * 48).map(|_| random.u8(..).to_string()).collect();
        let usage = if i % 8 == 0 { "PublicTest" } else { "Training" };
        writeln!(csv, "{},{},{usage}", i % 7, pixels.join(" ")).unwrap();
    }
    std::fs::write(folder.path().join("fer.csv"), csv).unwrap();
    folder
}

fn lab(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mien-lab"));
    command.current_dir(folder).args(args).output().unwrap()
}

fn quantize(folder: &Path, out: &str, more: &[&str]) -> Output {
    let checkpoint = checkpoint();
    let args = ["quantize", "--data", "fer.csv", "--out", out, "--checkpoint"];
    lab(folder, &[&args[..], &[checkpoint.to_str().unwrap()], more].concat())
}

fn said(output: &Output) -> String {
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|s| String::from_utf8_lossy(s));
    format!("{stdout}{stderr}")
}

#[test]
fn the_same_inputs_give_the_same_bytes_and_the_file_says_what_they_were() {
    let folder = work();
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    for out in ["a.tflite", "b.tflite"] {
        let output = quantize(folder.path(), out, &["--rounding", "adaptive", "--max-drop=100"]);
        assert!(output.status.success(), "{}", said(&output));
    }
    assert_eq!(read("a.tflite"), read("b.tflite"));
    let model = Model::from_bytes("a", &read("a.tflite")).unwrap();
    assert!(model.metadata("mien.quantization").unwrap().contains("\"rounding\":\"adaptive\""));
    for hash in ["mien.checkpoint_sha256", "mien.ranges_from_sha256"] {
        assert_eq!(model.metadata(hash).unwrap().len(), 64);
    }
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
    assert!(listing.contains("tract runs all 57 operations"), "{listing}");
    let listing = said(&lab(folder.path(), &["inspect", checkpoint().to_str().unwrap()]));
    assert!(listing.contains("folded into these operations: a_norm, a_norm_relu"), "{listing}");
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
