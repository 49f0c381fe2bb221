//! `mien-lab inspect`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use mien::engine::{Model, ModelError};
use mien::lab::checkpoint::Checkpoint;
use mien::lab::float::{Layers, lower};
use mien::lab::import;
use mien::lab::listing;
use mien::lab::tflite::{self, Int8Network, Int8Op};

/// Show what is in a model file, layer by layer.
///
/// Of an int8 .tflite file: what the device runs, with each value's code, and the file's metadata:
/// labels, normalization, temperatures, settings, recipe, hashes. Of a float model: the operations
/// that quantization makes of it and the layers that go into others, or the first layer that it
/// can't use, and why.
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
    print!("{}", shown(&args.model, args.side)?);
    Ok(())
}

fn shown(path: &Path, side: Option<usize>) -> anyhow::Result<String> {
    let name = || path.display().to_string();
    match &import::extension(path)[..] {
        "safetensors" => {
            let checkpoint = Checkpoint::read(path)?;
            let layers = Layers::of_checkpoint(&checkpoint)?;
            Ok(float(&layers)? + &listing::metadata(&checkpoint.notes))
        }
        "tflite" => {
            let bytes = std::fs::read(path).with_context(|| format!("can't read {}", name()))?;
            match (tflite::read(&name(), &bytes), import::read(path, side)) {
                (Ok((model, network)), _) => Ok(int8(&model, &network)),
                (Err(_), Ok(layers)) => float(&layers).with_context(name),
                // Of the two reasons the one that is about what the file holds.
                (Err(ModelError::Interface { .. }), Err(float)) => Err(float.into()),
                (Err(int8), Err(_)) => Err(int8.into()),
            }
        }
        _ => float(&import::read(path, side)?).with_context(name),
    }
}

fn int8(model: &Model, network: &Int8Network) -> String {
    let (operations, by) = (network.steps.len(), model.engine());
    let in_tract =
        network.steps.iter().filter(|step| matches!(step.op, Int8Op::InTract(_))).count();
    let tract = match model.reference() {
        "tract" => "tract runs them too, to the same codes",
        _ if in_tract > 0 => "tract runs the others, one by one",
        _ => "tract would run some of them otherwise than LiteRT, or not at all",
    };
    let own = match operations - in_tract {
        own if in_tract > 0 => format!("{own} of {operations}"),
        _ => format!("all {operations}"),
    };
    let runs = match model.is_planned() {
        true => {
            format!("mien's own engine runs {own} operations, here by its {by} kernels; {tract}")
        }
        false => format!("mien's own engine can't run them; {by} does, many times slower"),
    };
    let layers = listing::text(&listing::of_int8(network));
    format!("{layers}{runs}\n{}", listing::metadata(&network.metadata))
}

fn float(layers: &Layers) -> anyhow::Result<String> {
    let graph = lower(layers)?;
    let mut text = listing::text(&listing::of_float(&graph));
    let folded = listing::folded(layers, &graph);
    if !folded.is_empty() {
        text += &format!("folded into these operations: {}\n", folded.join(", "));
    }
    let tract = match graph.is_known_to_tract() {
        true => "runs them too",
        false => "is not asked, as it averages otherwise and its padding is untried",
    };
    text += &format!(
        "the device runs what `mien-lab quantize` makes of it, where its pictures and outputs are such as mien \
         can use: these operations in int8, all by mien's own engine; tract {tract}\n"
    );
    Ok(text)
}
