//! `mien-lab quantize`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use mien::engine::{LOGITS, Model};
use mien::expression::{Expression, Gender, argmax};
use mien::face::crop::standardize;
use mien::image::Grey;
use mien::lab::checkpoint::Checkpoint;
use mien::lab::dataset::{self, FerRow, Usage};
use mien::lab::executor::{Executor, Weights};
use mien::lab::network::Graph;
use mien::lab::quantize::quantize;
use mien::lab::tflite;

/// Faces in one run of the float network.
const BATCH: usize = 64;

/// Turn a float checkpoint into the int8 .tflite file that mien runs.
#[derive(clap::Args)]
pub struct Args {
    /// Checkpoint that `mien-lab train` wrote.
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// FER2013, `fer2013.csv` or `.csv.xz`; Training rows calibrate, PublicTest rows check.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Training faces to calibrate on, spread evenly over the set.
    #[arg(long, default_value_t = 2048)]
    faces: usize,
    /// PublicTest faces on which to compare int8 with float.
    #[arg(long, default_value_t = 1000)]
    compare: usize,
    /// File to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let checkpoint = Checkpoint::read(&args.checkpoint)?;
    let rows = dataset::read_fer2013(&args.data)?;
    let calibration = spread_evenly(&rows, Usage::Training, args.faces);
    ensure!(!calibration.is_empty(), "{} has no Training rows", args.data.display());
    let checksum = crc32fast::hash(&std::fs::read(&args.checkpoint)?);
    let network = {
        let bar = ProgressBar::new_spinner().with_message("calibrating");
        bar.enable_steady_tick(std::time::Duration::from_millis(100));
        quantize(
            &checkpoint,
            &standardized(&calibration),
            metadata(&checkpoint, checksum, calibration.len()),
        )
    };
    let bytes = tflite::write(&network);
    let part = args.out.with_extension("part");
    std::fs::write(&part, &bytes)
        .and_then(|()| std::fs::rename(&part, &args.out))
        .with_context(|| format!("can't write {}", args.out.display()))?;
    println!("{}: {} bytes", args.out.display(), bytes.len());
    let model = Model::read(&args.out)?;
    compare(&model, &checkpoint, &spread_evenly(&rows, Usage::PublicTest, args.compare))
}

/// Up to `count` faces of a usage, spread evenly over the set.
fn spread_evenly(rows: &[FerRow], usage: Usage, count: usize) -> Vec<Grey> {
    let of_usage: Vec<&FerRow> = rows.iter().filter(|row| row.usage == usage).collect();
    let step = (of_usage.len() / count.max(1)).max(1);
    of_usage.iter().step_by(step).take(count).map(|row| row.face.clone()).collect()
}

fn standardized(faces: &[Grey]) -> Vec<f32> {
    faces.iter().flat_map(|face| standardize(face.view())).collect()
}

/// What the file says about itself.
fn metadata(checkpoint: &Checkpoint, checksum: u32, faces: usize) -> BTreeMap<String, String> {
    let labels = Expression::ALL.map(Expression::name).into_iter();
    let labels: Vec<&str> = labels.chain(Gender::ALL.map(Gender::name)).collect();
    let entries = [
        ("labels", labels.join(" ")),
        ("normalization", "(pixel - mean) / (deviation + 8), per 48x48 face".into()),
        ("preset", checkpoint.preset.name.clone()),
        ("checkpoint_crc32", format!("{checksum:08x}")),
        ("calibration", format!("{faces} faces, evenly from FER2013's Training rows")),
    ];
    entries.map(|(name, text)| (name.to_owned(), text)).into()
}

/// Prints how far the int8 file's answers agree with the float network's.
fn compare(model: &Model, checkpoint: &Checkpoint, faces: &[Grey]) -> anyhow::Result<()> {
    let graph = Graph::build(&checkpoint.preset);
    let weights =
        Weights::from_params(&graph, &checkpoint.params).context("the checkpoint lacks tensors")?;
    let mut executor = Executor::new(graph);
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}")?;
    let bar = ProgressBar::new(faces.len() as u64).with_style(style).with_message("comparing");
    let (mut expressions, mut genders, mut squares) = (0, 0, 0.0);
    for batch in faces.chunks(BATCH) {
        let int8 = model.run(batch)?;
        let float = executor.infer(&weights, &standardized(batch));
        for (float, int8) in float.as_chunks::<LOGITS>().0.iter().zip(&int8) {
            expressions += usize::from(argmax(&float[..7]) == argmax(&int8[..7]));
            genders += usize::from(argmax(&float[7..]) == argmax(&int8[7..]));
            squares += squared_distance(&float[..7], &int8[..7]);
        }
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    let n = faces.len() as f32;
    let percent = |count: usize| 100.0 * count as f32 / n;
    println!(
        "int8 and float agree on {:.2} % of expressions and {:.2} % of genders ({} PublicTest \
         faces); rms error of an expression's logit {:.4}",
        percent(expressions),
        percent(genders),
        faces.len(),
        (squares / (7.0 * n)).sqrt()
    );
    Ok(())
}

/// Of one head's logits, each about its mean, which softmax does not see.
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let shift = a.iter().zip(b).map(|(a, b)| a - b).sum::<f32>() / a.len() as f32;
    a.iter().zip(b).map(|(a, b)| (a - b - shift).powi(2)).sum()
}
