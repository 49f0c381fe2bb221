//! Imported networks compute what the frameworks that wrote them did; damaged files are refused.
//! The files are `tests/import_models.py`'s.
#![cfg(feature = "lab")]

use std::path::{Path, PathBuf};

use mien::lab::float::lower;
use mien::lab::import::{self, onnx, tflite};
use serde::Deserialize;

const SIDE: usize = 48;
const PICTURES: usize = 2;
/// Logits are sums of hundreds of products, in another order than the framework's.
const TOLERANCE: f32 = 1e-4;
const ONNX: [&str; 11] = [
    "torch_vgg",
    "torch_vgg_dynamo",
    "torch_resnet",
    "torch_resnet_dynamo",
    "torch_resnet_rgb",
    "torch_resnet_rgb_dynamo",
    "torch_mobile",
    "keras_xception",
    "keras_vgg",
    "keras_vgg_rgb",
    "keras_mobile",
];
const TFLITE: [&str; 4] = ["keras_xception", "keras_vgg", "keras_vgg_rgb", "keras_mobile"];

/// What a framework said of the pictures.
#[derive(Deserialize)]
struct Expected {
    channels: usize,
    logits: Vec<Vec<f32>>,
}

fn file(name: &str, extension: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import");
    folder.join(format!("{name}.{extension}"))
}

/// The script's pictures of noise.
fn pictures(channels: usize) -> Vec<f32> {
    let mut state = 1u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as f32 / 128.0 - 1.0
    });
    noise.take(PICTURES * SIDE * SIDE * channels).collect()
}

/// Greatest difference of a file's logits from the framework's.
fn difference(name: &str, extension: &str) -> f32 {
    let layers = import::read(&file(name, extension), None).unwrap();
    let graph = lower(&layers).unwrap();
    let expected = file(name.trim_end_matches("_dynamo"), "json");
    let expected: Expected =
        serde_json::from_str(&std::fs::read_to_string(expected).unwrap()).unwrap();
    assert_eq!(graph.nodes[0].shape, [SIDE, SIDE, expected.channels], "{name}");
    let found = graph.outputs(&pictures(expected.channels));
    let expected = expected.logits.concat();
    assert_eq!(found.len(), expected.len(), "{name}");
    found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn onnx_files_compute_what_their_frameworks_did() {
    for name in ONNX {
        let difference = difference(name, "onnx");
        assert!(difference < TOLERANCE, "{name} is {difference} off");
    }
}

#[test]
fn tflite_files_compute_what_their_frameworks_did() {
    for name in TFLITE {
        let difference = difference(name, "tflite");
        assert!(difference < TOLERANCE, "{name} is {difference} off");
    }
}

/// Some files of each kind, whole.
fn whole_files() -> Vec<(&'static str, Vec<u8>)> {
    let read = |name: &str, extension| std::fs::read(file(name, extension)).unwrap();
    let onnx =
        ["torch_vgg", "torch_mobile", "keras_mobile"].map(|name| ("onnx", read(name, "onnx")));
    let tflite = ["keras_mobile", "keras_vgg"].map(|name| ("tflite", read(name, "tflite")));
    onnx.into_iter().chain(tflite).collect()
}

/// Reads and, if that works, lowers. Only a panic is wrong.
fn try_import(kind: &str, bytes: &[u8]) -> bool {
    let layers = if kind == "onnx" { onnx::parse(bytes, None) } else { tflite::parse(bytes) };
    layers.is_ok_and(|layers| lower(&layers).is_ok())
}

#[test]
fn files_cut_short_are_refused() {
    for (kind, bytes) in whole_files() {
        assert!(try_import(kind, &bytes));
        for len in (0..bytes.len()).step_by(61) {
            let cut = try_import(kind, &bytes[..len]);
            assert!(!cut, "{kind} of {len} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn damaged_files_never_panic() {
    let mut random = fastrand::Rng::with_seed(11);
    for (kind, bytes) in whole_files() {
        for _ in 0..1500 {
            let mut damaged = bytes.clone();
            for _ in 0..random.usize(1..12) {
                let at = random.usize(0..damaged.len());
                damaged[at] = random.u8(..);
            }
            try_import(kind, &damaged);
        }
    }
}

/// Bytes of weights are many, those that say what to do with them few: only the latter are changed.
#[test]
fn damaged_structure_never_panics() {
    let mut random = fastrand::Rng::with_seed(12);
    for (kind, bytes) in whole_files() {
        let is_text = |window: &[u8]| window.iter().filter(|byte| **byte < 0x20).count() > 3;
        let structure: Vec<usize> = (8..bytes.len() - 8)
            .filter(|at| is_text(&bytes[at - 4..at + 4]) || bytes[*at].is_ascii_alphanumeric())
            .collect();
        for _ in 0..1500 {
            let mut damaged = bytes.clone();
            for _ in 0..random.usize(1..4) {
                let at = structure[random.usize(0..structure.len())];
                damaged[at] = match random.u8(0..4) {
                    0 => 0,
                    1 => 0xff,
                    2 => damaged[at].wrapping_add(1),
                    _ => damaged[at] ^ (1 << random.u8(0..8)),
                };
            }
            try_import(kind, &damaged);
        }
    }
}

#[test]
fn a_quantized_tflite_is_refused_with_what_to_give_instead() {
    let int8 = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mien-slim.tflite");
    let error = import::read(&int8, None).unwrap_err().to_string();
    assert!(error.contains("mien-slim.tflite") && error.contains("float"), "{error}");
}
