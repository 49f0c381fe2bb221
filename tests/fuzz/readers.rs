//! The readers of files that come from elsewhere, each as what a fuzzer calls; and where its seeds
//! are. Used by the fuzz targets here and by `tests/readers.rs`.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use mien::lab::checkpoint::Checkpoint;
use mien::lab::float::{FloatGraph, lower};
use mien::lab::import::{keras, onnx, tflite};
use mien::lab::tflite as int8;
use mien::report::journal;

/// A reader: its fuzz target's name, the ends of its seeds' names, and whether it takes some bytes.
pub type Reader = (&'static str, &'static [&'static str], fn(&[u8]) -> bool);

/// All of them.
#[allow(dead_code, reason = "a fuzz target uses one")]
pub const READERS: [Reader; 6] = [
    ("onnx", &["onnx"], read_onnx),
    ("tflite_float", &["tflite"], read_tflite_float),
    ("keras", &["h5", "keras"], read_keras),
    ("tflite_int8", &["tflite"], read_tflite_int8),
    ("checkpoint", &["safetensors"], read_checkpoint),
    ("journal", &["journal"], read_journal),
];

pub fn read_onnx(bytes: &[u8]) -> bool {
    onnx::parse(bytes, None).is_ok_and(|layers| lower(&layers).is_ok())
}

pub fn read_tflite_float(bytes: &[u8]) -> bool {
    tflite::parse(bytes).is_ok_and(|layers| lower(&layers).is_ok())
}

pub fn read_keras(bytes: &[u8]) -> bool {
    keras::parse(bytes, None).is_ok_and(|layers| lower(&layers).is_ok())
}

/// By the engine, which the device trusts, and then by the lab.
pub fn read_tflite_int8(bytes: &[u8]) -> bool {
    int8::read("fuzzed", bytes).is_ok()
}

pub fn read_checkpoint(bytes: &[u8]) -> bool {
    Checkpoint::from_bytes(Path::new("fuzzed"), bytes)
        .is_ok_and(|checkpoint| FloatGraph::of_checkpoint(&checkpoint).is_ok())
}

/// A segment, and what corrects its records' times. Fuzzed, checksums are not looked at.
pub fn read_journal(bytes: &[u8]) -> bool {
    let records: Vec<_> = journal::read_segment(bytes, 0).collect();
    let runs = journal::Runs::of(records.iter().cloned());
    let late = |record| runs.corrected(record).is_none_or(|time| time > UNIX_EPOCH);
    !records.is_empty() && records.iter().all(late)
}

/// Files to start from: those of the import tests that the reader is for, and those kept here for it
/// alone, among them every file that was once read wrongly.
#[allow(dead_code, reason = "a fuzz target finds its seeds in its corpus")]
pub fn seeds(root: &Path, (name, extensions, _): Reader) -> Vec<PathBuf> {
    let own = root.join("tests/fuzz/seeds").join(name);
    let data =
        ["import", "foreign", "operators"].map(|folder| root.join("tests/data").join(folder));
    let folders = [&data[..], &[own]].concat();
    let files = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    let is_seed = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| extensions.contains(&extension))
    };
    let mut seeds: Vec<PathBuf> = files.flatten().map(|file| file.path()).filter(is_seed).collect();
    seeds.sort();
    seeds
}
