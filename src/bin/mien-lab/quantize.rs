//! `mien-lab quantize`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use indicatif::ProgressBar;
use mien::engine::{LOGITS, Model};
use mien::expression::{Expression, Gender};
use mien::face::crop::standardize;
use mien::image::Grey;
use mien::lab::candidate::{Candidate, PRESET_METADATA};
use mien::lab::checkpoint::Checkpoint;
use mien::lab::dataset::{self, LabelledFace, Usage};
use mien::lab::evaluate::{expression_answers, gender_answers};
use mien::lab::quantize::quantize;
use mien::lab::tflite;

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
    #[arg(long, default_value_t = 2048, value_parser = crate::at_least_one())]
    faces: usize,
    /// PublicTest faces on which to compare int8 with float.
    #[arg(long, default_value_t = 1000, value_parser = crate::at_least_one())]
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
    // Whatever stood at --out stays unless the new file loads.
    Model::from_bytes(&args.out.to_string_lossy(), &bytes)?;
    let part = args.out.with_extension("part");
    std::fs::write(&part, &bytes)
        .and_then(|()| std::fs::rename(&part, &args.out))
        .with_context(|| format!("can't write {}", args.out.display()))?;
    println!("{}: {} bytes", args.out.display(), bytes.len());
    match spread_evenly(&rows, Usage::PublicTest, args.compare) {
        faces if faces.is_empty() => println!("no PublicTest rows to compare on"),
        faces => compare(args, &faces)?,
    }
    Ok(())
}

/// Up to `count` faces of a usage, spread evenly over the set.
fn spread_evenly(rows: &[LabelledFace], usage: Usage, count: usize) -> Vec<Grey> {
    let of_usage: Vec<&LabelledFace> = rows.iter().filter(|row| row.usage == usage).collect();
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
    let preset = serde_json::to_string(&checkpoint.preset).expect("a preset is plain data");
    let entries = [
        ("labels", labels.join(" ")),
        ("normalization", "(pixel - mean) / (deviation + 8), per 48x48 face".into()),
        (PRESET_METADATA, preset),
        ("checkpoint_crc32", format!("{checksum:08x}")),
        ("calibration", format!("{faces} faces, evenly from FER2013's Training rows")),
    ];
    entries.map(|(name, text)| (name.to_owned(), text)).into()
}

/// Loads the written file and prints how far its answers agree with the float network's.
fn compare(args: &Args, faces: &[Grey]) -> anyhow::Result<()> {
    let logits = |path: &Path, kind: &str| -> anyhow::Result<_> {
        let bar = crate::progress(faces.len() as u64, "faces", format!("comparing: {kind}"))?;
        let logits = Candidate::read(path)?.logits(faces, |n| bar.inc(n as u64))?;
        bar.finish_and_clear();
        Ok(logits)
    };
    let float = logits(&args.checkpoint, "float")?;
    let int8 = logits(&args.out, "int8")?;
    let n = faces.len();
    let percent_alike = |answers: fn(&[[f32; LOGITS]]) -> Vec<usize>| {
        let pairs = answers(&float).into_iter().zip(answers(&int8));
        100.0 * pairs.filter(|(float, int8)| float == int8).count() as f64 / n as f64
    };
    let squares: f32 =
        float.iter().zip(&int8).map(|(f, i)| squared_distance(&f[..7], &i[..7])).sum();
    println!(
        "int8 and float agree on {:.2} % of expressions and {:.2} % of genders ({n} PublicTest \
         faces); rms error of an expression's logit {:.4}",
        percent_alike(expression_answers),
        percent_alike(gender_answers),
        (squares / (7 * n) as f32).sqrt()
    );
    Ok(())
}

/// Of one head's logits, each about its mean, which softmax does not see.
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let shift = a.iter().zip(b).map(|(a, b)| a - b).sum::<f32>() / a.len() as f32;
    a.iter().zip(b).map(|(a, b)| (a - b - shift).powi(2)).sum()
}
