//! `mien-lab inspect`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use mien::lab::checkpoint::Checkpoint;
use mien::lab::float::FloatGraph;
use mien::lab::listing::{self, Row};
use mien::lab::tflite;

/// Show what is in a model file, layer by layer.
///
/// Of an int8 .tflite file: what the device runs, with each value's code. Of a
/// float checkpoint: the operations that quantization makes of it.
#[derive(clap::Args)]
pub struct Args {
    /// An int8 .tflite file, or a checkpoint (.safetensors).
    model: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let rows = rows(&args.model)?;
    print!("{}", listing::text(&rows));
    Ok(())
}

fn rows(path: &Path) -> anyhow::Result<Vec<Row>> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => {
            Ok(listing::of_float(&FloatGraph::of_checkpoint(&Checkpoint::read(path)?)?))
        }
        Some("tflite") => {
            let bytes =
                std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
            Ok(listing::of_int8(&tflite::read(&path.to_string_lossy(), &bytes)?))
        }
        _ => bail!("{} is no .tflite or .safetensors file", path.display()),
    }
}
