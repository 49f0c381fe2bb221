//! Runs models for `benches/engine_vs_litert.py`, which times it, and `benches/engine_aarch64.py`, which
//! counts its instructions.
//!
//!     engine reference FILE.tflite     writes the network `reference`, weights random, quantized; only
//!                                      with the feature `lab`
//!     engine run FILE.tflite           then takes lines `engine|tract PICTURES RUNS` from stdin,
//!                                      and answers each when done
//!     engine codes FILE.tflite         input codes from stdin, output codes to stdout, as bytes

use std::io::{self, BufRead, Read, Write};
use std::path::Path;

use anyhow::bail;
use mien::engine::Model;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        #[cfg(feature = "lab")]
        ["reference", file] => reference::write(Path::new(file)),
        ["run", file] => run(Path::new(file)),
        ["codes", file] => codes(Path::new(file)),
        _ => bail!("usage: engine reference|run|codes FILE.tflite"),
    }
}

fn run(file: &Path) -> anyhow::Result<()> {
    let model = Model::read(file)?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{}; {} bytes to run in", model.engine(), model.workspace_bytes())?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let [engine, pictures, runs] = line.split(' ').collect::<Vec<_>>()[..] else {
            bail!("not `engine|tract PICTURES RUNS`: {line:?}")
        };
        let codes = model.input_len() * pictures.parse::<usize>()?;
        let input: Vec<i8> = (0..codes).map(|i| (i * 37 % 251) as u8 as i8).collect();
        for _ in 0..runs.parse::<usize>()? {
            match engine {
                "engine" => model.run_raw(&input)?,
                _ => model.run_raw_by_tract(&input)?,
            };
        }
        writeln!(stdout, "done")?;
    }
    Ok(())
}

fn codes(file: &Path) -> anyhow::Result<()> {
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    let input: Vec<i8> = input.into_iter().map(u8::cast_signed).collect();
    let output = Model::read(file)?.run_raw(&input)?;
    let output: Vec<u8> = output.into_iter().map(i8::cast_unsigned).collect();
    Ok(io::stdout().lock().write_all(&output)?)
}

#[cfg(feature = "lab")]
mod reference {
    use std::collections::BTreeMap;
    use std::path::Path;

    use anyhow::Context;
    use mien::face::normalization::Normalization;
    use mien::lab::checkpoint::{Checkpoint, initialize};
    use mien::lab::float::FloatGraph;
    use mien::lab::network::{Graph, INPUT_SIDE, Preset};
    use mien::lab::quantize::{Settings, quantize};
    use mien::lab::tflite;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    /// Speed does not hang on what the weights are.
    pub fn write(file: &Path) -> anyhow::Result<()> {
        let mut rng = Pcg64::seed_from_u64(1);
        let preset = Preset::named("reference").context("no such preset")?;
        let graph = Graph::build(&preset);
        let params = initialize(&graph, || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0);
        let checkpoint = Checkpoint { preset, params, notes: BTreeMap::new() };
        let pictures: Vec<f32> =
            (0..8 * INPUT_SIDE * INPUT_SIDE).map(|_| 4.0 * rng.random::<f32>() - 2.0).collect();
        let network = quantize(
            FloatGraph::of_checkpoint(&checkpoint)?,
            Normalization::Standardized.bounds(),
            Settings::default(),
            &pictures,
            BTreeMap::new(),
        )
        .network;
        std::fs::write(file, tflite::write(&network))?;
        Ok(())
    }
}
