//! Runs models for `benches/engine_vs_peers.py`, which times it, and `benches/engine_aarch64.py`, which
//! counts its instructions.
//!
//!     engine reference|mobilenet FILE.tflite     writes a network of random weights, quantized; only
//!                                                with the feature `lab`
//!     engine run FILE.tflite [FLOAT.tflite]      then takes lines `WHAT PICTURES RUNS` from stdin,
//!                                                and answers each with the last run's logits
//!     engine codes FILE.tflite                   input codes from stdin, output codes to stdout, as
//!                                                bytes
//!
//! WHAT is `engine`, `tract`, `optimized` (tract as it is quicker, where some codes differ), `float` (tract on
//! FLOAT.tflite), the latter two with PICTURES being 1, or `peak`, a run of which is a million products.

#[cfg(feature = "lab")]
mod networks;
mod peak;

use std::io::{self, BufRead, Read, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use mien::engine::Model;
#[cfg(feature = "lab")]
use mien::lab::float::FloatGraph;
use tract_tflite::internal::{
    Datum, Framework, IntoRunnable, Tensor, TractResult, TypedRunnableModel, tvec,
};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        #[cfg(feature = "lab")]
        ["reference", file] => write(networks::reference()?, file),
        #[cfg(feature = "lab")]
        ["mobilenet", file] => write(networks::mobilenet()?, file),
        ["run", file] => run(Path::new(file), None),
        ["run", file, float] => run(Path::new(file), Some(Path::new(float))),
        ["codes", file] => codes(Path::new(file)),
        _ => bail!("usage: engine reference|mobilenet|run|codes FILE.tflite [FLOAT.tflite]"),
    }
}

#[cfg(feature = "lab")]
fn write(network: FloatGraph, file: &str) -> anyhow::Result<()> {
    Ok(std::fs::write(file, networks::quantized(network))?)
}

/// Codes of faces, as the shipped network reads them.
fn faces() -> impl Iterator<Item = i8> + Clone {
    include_bytes!("../../tests/data/golden_inputs.i8").iter().map(|&code| code.cast_signed())
}

fn codes(file: &Path) -> anyhow::Result<()> {
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    let input: Vec<i8> = input.into_iter().map(u8::cast_signed).collect();
    let output = Model::read(file)?.run_raw(&input)?;
    let output: Vec<u8> = output.into_iter().map(i8::cast_unsigned).collect();
    Ok(io::stdout().lock().write_all(&output)?)
}

fn run(file: &Path, float: Option<&Path>) -> anyhow::Result<()> {
    let model = Model::read(file)?;
    let optimized = optimized(file)?;
    let float = float.map(self::optimized).transpose()?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{}; {} bytes to run in", model.engine(), model.workspace_bytes())?;
    writeln!(stdout, "{}", peak::name(model.engine()))?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let [what, pictures, runs] = line.split(' ').collect::<Vec<_>>()[..] else {
            bail!("not `WHAT PICTURES RUNS`: {line:?}")
        };
        let (pictures, runs): (usize, usize) = (pictures.parse()?, runs.parse()?);
        let input: Vec<i8> = faces().cycle().take(model.input_len() * pictures).collect();
        let dequantized = |codes: Vec<i8>| -> Vec<f32> {
            codes.into_iter().map(|code| model.output().dequantize(code)).collect()
        };
        let mut logits = Vec::new();
        for _ in 0..runs {
            logits = match what {
                "engine" => dequantized(model.run_raw(&input)?),
                "tract" => dequantized(model.run_raw_by_reference(&input)?),
                "optimized" => dequantized(run_tract(&optimized, &input)?),
                "float" => {
                    let values: Vec<f32> =
                        input.iter().map(|&code| model.input().dequantize(code)).collect();
                    run_tract(float.as_ref().context("no float file")?, &values)?
                }
                "peak" => {
                    peak::multiply(1_000_000, model.engine());
                    Vec::new()
                }
                _ => bail!("no contestant {what:?}"),
            };
        }
        let logits: Vec<String> = logits.iter().map(f32::to_string).collect();
        // In one write, however long: `insn_classes.c` counts up to each.
        stdout.write_all(format!("{}\n", logits.join(" ")).as_bytes())?;
    }
    Ok(())
}

/// A network as tract likes it best.
fn optimized(file: &Path) -> TractResult<Arc<TypedRunnableModel>> {
    tract_tflite::tflite().model_for_path(file)?.into_optimized()?.into_runnable()
}

/// What it makes of one picture.
fn run_tract<T: Datum + Copy>(
    plan: &Arc<TypedRunnableModel>,
    values: &[T],
) -> anyhow::Result<Vec<T>> {
    let fact = plan.model().input_fact(0)?;
    let shape = fact.shape.as_concrete().context("its batch is open")?;
    let mut input = Tensor::zero_dt(fact.datum_type, shape)?;
    input.try_as_plain_ram_mut()?.as_slice_mut::<T>()?.copy_from_slice(values);
    let outputs = plan.run(tvec!(input.into()))?;
    Ok(outputs[0].try_as_plain_ram()?.as_slice::<T>()?.to_vec())
}
