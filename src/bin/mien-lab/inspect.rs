//! `mien-lab inspect`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use mien::engine::ModelError;
use mien::lab::checkpoint::Checkpoint;
use mien::lab::float::{FloatGraph, lower};
use mien::lab::import;
use mien::lab::listing::{self, Row};
use mien::lab::tflite::{self, ReadError};

/// Show what is in a model file, layer by layer.
///
/// Of an int8 .tflite file: what the device runs, with each value's code. Of a float model: the
/// operations that quantization makes of it, or the first layer that it can't use, and why.
#[derive(clap::Args)]
pub struct Args {
    /// An int8 .tflite file, a checkpoint (.safetensors), or another framework's float model: .onnx,
    /// .tflite, .h5, .keras.
    model: PathBuf,
    /// Side in pixels of its pictures, for a model that leaves it open.
    #[arg(long, value_name = "PIXELS", value_parser = crate::at_least_one())]
    side: Option<usize>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let rows = rows(&args.model, args.side)?;
    print!("{}", listing::text(&rows));
    Ok(())
}

fn rows(path: &Path, side: Option<usize>) -> anyhow::Result<Vec<Row>> {
    let name = || path.display().to_string();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => {
            Ok(listing::of_float(&FloatGraph::of_checkpoint(&Checkpoint::read(path)?)?))
        }
        Some("tflite") => {
            let bytes = std::fs::read(path).with_context(|| format!("can't read {}", name()))?;
            match (tflite::read(&name(), &bytes), import::read(path, side)) {
                (Ok(network), _) => Ok(listing::of_int8(&network)),
                (Err(_), Ok(layers)) => Ok(listing::of_float(&lower(&layers).with_context(name)?)),
                // Of the two reasons the one that is about what the file holds.
                (Err(ReadError::Model(ModelError::Unfit { .. })), Err(float)) => Err(float.into()),
                (Err(int8), Err(_)) => Err(int8.into()),
            }
        }
        _ => Ok(listing::of_float(&lower(&import::read(path, side)?).with_context(name)?)),
    }
}
