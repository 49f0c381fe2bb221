//! Our side of `quantize_vs_tensorflow.py`: writes into a folder the faces that both sides calibrate
//! and answer, the float network's logits, and our int8 file.
//!
//!     quantize_sides CHECKPOINT FER2013 FOLDER

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use mien::face::normalization::{Normalization, standardize};
use mien::lab::checkpoint::Checkpoint;
use mien::lab::dataset::{LabelledFace, read_fer2013};
use mien::lab::float::FloatGraph;
use mien::lab::quantize::{Settings, quantize};
use mien::lab::samples::spread_evenly;
use mien::lab::split::{Part, Split, positions};
use mien::lab::tflite;

/// As many as `mien-lab quantize` takes.
const CALIBRATION_FACES: usize = 2048;

fn main() -> anyhow::Result<()> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [checkpoint, data, folder] = paths.as_slice() else {
        anyhow::bail!("usage: quantize_sides CHECKPOINT FER2013 FOLDER");
    };
    let rows = read_fer2013(Path::new(data))?;
    let training = spread_evenly(Split::of_expressions(&rows).training, CALIBRATION_FACES);
    let calibration = pictures(training.iter().map(|i| &rows[*i]));
    let faces = positions(&rows, Part::PublicTest);
    let labels: Vec<u8> = faces.iter().map(|i| rows[*i].label as u8).collect();
    let faces = pictures(faces.iter().map(|i| &rows[*i]));
    let graph = FloatGraph::of_checkpoint(&Checkpoint::read_for_device(Path::new(checkpoint))?)?;
    let logits = graph.outputs(&faces);
    let quantized = quantize(
        graph,
        Normalization::Standardized.bounds(),
        Settings::default(),
        &calibration,
        BTreeMap::new(),
    )?;

    let write = |name: &str, bytes: &[u8]| {
        let path = Path::new(folder).join(name);
        std::fs::write(&path, bytes).with_context(|| format!("can't write {}", path.display()))
    };
    write("calibration.f32", &bytes(&calibration))?;
    write("faces.f32", &bytes(&faces))?;
    write("labels.u8", &labels)?;
    write("logits.f32", &bytes(&logits))?;
    write("ours.tflite", &tflite::write(&quantized.network))
}

fn pictures<'r>(rows: impl Iterator<Item = &'r LabelledFace>) -> Vec<f32> {
    rows.flat_map(|row| standardize(row.face.view())).collect()
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}
