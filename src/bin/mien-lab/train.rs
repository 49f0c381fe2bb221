//! `mien-lab train`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use mien::lab::dataset::{self, FerRow, PackFace, Usage};
use mien::lab::evaluate::{Evaluation, expression_answers, float_logits, gender_answers};
use mien::lab::executor::{Executor, Weights};
use mien::lab::network::Graph;
use mien::lab::samples::{expression_sample, gender_sample, split};
use mien::lab::train::{MODEL_FILE, Recipe, Run, Sample};

/// Train a network; go on with the run if its folder holds one.
#[derive(clap::Args)]
pub struct Args {
    /// Kaggle's fer2013.csv, plain or .xz.
    #[arg(long)]
    data: PathBuf,
    /// FER+ votes (fer2013new.csv) for the same rows: softens the labels.
    #[arg(long)]
    votes: Option<PathBuf>,
    /// A face pack NAME.u8.xz with a gender column: trains the gender head.
    #[arg(long)]
    genders: Option<PathBuf>,
    /// Network: slim, reference.
    #[arg(long, default_value = "slim")]
    preset: String,
    /// Passes over the training faces.
    #[arg(long, default_value_t = 30)]
    epochs: u64,
    /// Expression faces in a batch; a third as many gender faces join them.
    #[arg(long, default_value_t = 48)]
    batch: usize,
    /// Peak learning rate.
    #[arg(long, default_value_t = 4e-3)]
    learning_rate: f32,
    /// Weight decay by one step, in learning rates.
    #[arg(long, default_value_t = 0.02)]
    weight_decay: f32,
    /// Seed of every random draw.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of the run: model.safetensors, resume.safetensors, curve.csv.
    #[arg(long)]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let preset = crate::named_preset(&args.preset)?;
    let (expressions, validation) = expression_samples(args)?;
    let (genders, gender_validation) = match &args.genders {
        None => (Vec::new(), Vec::new()),
        Some(path) => {
            let (train, validation) = split(dataset::read_face_pack(path)?);
            let samples = |faces: &[PackFace]| faces.iter().map(gender_sample).collect();
            (samples(&train), validation)
        }
    };
    let recipe = Recipe {
        preset,
        epochs: args.epochs,
        batch: args.batch,
        gender_batch: if genders.is_empty() { 0 } else { args.batch / 3 },
        gender_weight: 0.5,
        learning_rate: args.learning_rate,
        weight_decay: args.weight_decay,
        seed: args.seed,
    };
    std::fs::create_dir_all(&args.out).with_context(|| format!("{}", args.out.display()))?;
    println!("{} expression faces, {} gender faces", expressions.len(), genders.len());
    let mut run = Run::new(recipe, expressions, genders)?;
    run.resume(&args.out)?;
    if run.epochs_done() > 0 {
        println!("going on after epoch {}", run.epochs_done());
    }
    let faces: Vec<Sample> = validation.iter().map(|row| expression_sample(row, None)).collect();
    let labels: Vec<usize> = validation.iter().map(|row| row.label).collect();
    let gender_faces: Vec<Sample> = gender_validation.iter().map(gender_sample).collect();
    loop {
        let style = "epoch {msg} {wide_bar} {pos}/{len} batches, {eta} left";
        let bar = ProgressBar::new(run.batches())
            .with_style(ProgressStyle::with_template(style)?)
            .with_message(format!("{}/{}", run.epochs_done() + 1, args.epochs));
        let started = std::time::Instant::now();
        let Some(epoch) = run.epoch(|_| bar.inc(1))? else { break };
        bar.finish_and_clear();
        run.save(&args.out, &BTreeMap::new())?;
        let seconds = started.elapsed().as_secs_f64();
        let checkpoint = run.checkpoint();
        let mut executor = Executor::new(Graph::build(&checkpoint.preset));
        let weights = Weights::from_params(executor.graph(), &checkpoint.params)
            .expect("a run's checkpoint is whole");
        let logits = float_logits(&mut executor, &weights, &faces, |_| {});
        let scores = Evaluation::new(&labels, &expression_answers(&logits));
        let gender_logits = float_logits(&mut executor, &weights, &gender_faces, |_| {});
        let right = gender_answers(&gender_logits)
            .iter()
            .zip(&gender_validation)
            .filter(|(answer, face)| **answer == usize::from(face.is_male))
            .count();
        println!(
            "epoch {}: loss {:.3}, gender loss {:.3}; validation accuracy {:.4} (gender {:.4}); {:.0} s",
            epoch.number,
            epoch.losses.expression,
            epoch.losses.gender,
            scores.accuracy,
            right as f64 / gender_validation.len().max(1) as f64,
            seconds,
        );
    }
    println!("done: {}", args.out.join(MODEL_FILE).display());
    Ok(())
}

/// Training samples of the Training rows, and the rows kept back for validation.
fn expression_samples(args: &Args) -> anyhow::Result<(Vec<Sample>, Vec<FerRow>)> {
    let rows = dataset::read_fer2013(&args.data)?;
    let votes = args.votes.as_deref().map(dataset::read_ferplus).transpose()?;
    if let Some(votes) = votes.as_ref().filter(|votes| votes.len() != rows.len()) {
        bail!("{} rows of votes do not match {} rows of faces", votes.len(), rows.len());
    }
    let training = rows.into_iter().enumerate().filter(|(_, row)| row.usage == Usage::Training);
    let (train, validation) = split(training);
    let votes_of = |i: usize| votes.as_ref().map(|votes| &votes[i]);
    let samples = train.iter().map(|(i, row)| expression_sample(row, votes_of(*i))).collect();
    Ok((samples, validation.into_iter().map(|(_, row)| row).collect()))
}
