//! `mien-lab train`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use mien::image::Grey;
use mien::lab::candidate::Candidate;
use mien::lab::dataset::{self, LabelledFace, PackFace, ferplus};
use mien::lab::evaluate::{expression_answers, gender_answers};
use mien::lab::optimizer::OptimizerSettings;
use mien::lab::samples::{expression_sample, gender_sample, kept_back_gender};
use mien::lab::split::Split;
use mien::lab::train::{Epoch, MODEL_FILE, Recipe, Run, Sample};

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
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: u64,
    /// Expression faces in a batch; a third as many gender faces join them.
    #[arg(long, default_value_t = 48, value_parser = crate::at_least_one())]
    batch: usize,
    /// Peak learning rate.
    #[arg(long, default_value_t = 4e-3, value_parser = crate::not_negative)]
    learning_rate: f32,
    /// Weight decay by one step, in learning rates.
    #[arg(long, default_value_t = 0.02, value_parser = crate::not_negative)]
    weight_decay: f32,
    /// Seed of every random draw.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of the run: model.safetensors (the result), resume.safetensors, curve.csv.
    #[arg(long)]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let network = crate::named_preset(&args.preset)?;
    let (expressions, kept_back) = expression_samples(args)?;
    let (genders, gender_kept_back) = match &args.genders {
        None => (Vec::new(), Vec::new()),
        Some(path) => gender_samples(path)?,
    };
    let validation = Validation::new(&kept_back, &gender_kept_back);
    let recipe = Recipe {
        network,
        epochs: args.epochs,
        batch: args.batch,
        gender_batch: if genders.is_empty() { 0 } else { args.batch / 3 },
        seed: args.seed,
        optimizer: OptimizerSettings {
            learning_rate: args.learning_rate,
            weight_decay: args.weight_decay,
            ..OptimizerSettings::default()
        },
        ..Recipe::default()
    };
    let cannot_write = || format!("can't write to --out {}", args.out.display());
    std::fs::create_dir_all(&args.out).with_context(cannot_write)?;
    let mut run = Run::new(recipe, expressions, genders)?;
    run.resume(&args.out)?;
    if run.epochs_done() > 0 {
        println!("going on after epoch {}", run.epochs_done());
    }
    let mut curve = Curve::open(&args.out).with_context(cannot_write)?;
    loop {
        let title = format!("epoch {}/{}", run.epochs_done() + 1, args.epochs);
        let bar = crate::progress(run.batches(), "batches", title)?;
        let started = Instant::now();
        let Some(epoch) = run.epoch(|_| bar.inc(1))? else { break };
        bar.finish_and_clear();
        run.save(&args.out)?;
        let seconds = started.elapsed().as_secs_f64();
        let scores = validation.score(&args.out.join(MODEL_FILE))?;
        curve.add(&epoch, &scores, seconds).with_context(cannot_write)?;
    }
    println!("done: {}", args.out.join(MODEL_FILE).display());
    Ok(())
}

/// Training samples of the Training rows, and the rows kept back for validation.
fn expression_samples(args: &Args) -> anyhow::Result<(Vec<Sample>, Vec<LabelledFace>)> {
    let mut rows = dataset::read_fer2013(&args.data)?;
    if let Some(votes) = &args.votes {
        ferplus::join(votes, &mut rows)?;
    }
    let split = Split::of_expressions(&rows);
    println!("{}: {split}", args.data.display());
    let samples = split.training.iter().map(|i| expression_sample(&rows[*i], 0.4));
    Ok((samples.collect(), split.validation.iter().map(|i| rows[*i].clone()).collect()))
}

/// Training samples of a face pack, and the faces kept back for validation.
fn gender_samples(path: &Path) -> anyhow::Result<(Vec<Sample>, Vec<PackFace>)> {
    let faces = dataset::read_face_pack(path)?;
    let split = Split::of_genders(&faces);
    println!("{}: {split}", path.display());
    let samples = split.training.iter().map(|i| gender_sample(&faces[*i]));
    Ok((samples.collect(), split.validation.iter().map(|i| faces[*i].clone()).collect()))
}

/// Faces kept back from training, with their labels.
struct Validation {
    expression: (Vec<Grey>, Vec<usize>),
    gender: (Vec<Grey>, Vec<usize>),
}

/// Shares of the validation faces answered right.
struct Scores {
    expression: f64,
    gender: f64,
}

impl Validation {
    fn new(rows: &[LabelledFace], genders: &[PackFace]) -> Self {
        Self {
            expression: rows.iter().map(|row| (row.face.clone(), row.label)).unzip(),
            gender: genders.iter().map(kept_back_gender).unzip(),
        }
    }

    fn score(&self, model: &Path) -> anyhow::Result<Scores> {
        let mut candidate = Candidate::read(model)?;
        let right = |answers: Vec<usize>, labels: &[usize]| {
            let right = answers.iter().zip(labels).filter(|(a, b)| a == b).count();
            right as f64 / labels.len() as f64
        };
        let expression = candidate.logits(&self.expression.0, |_| ())?;
        let gender = candidate.logits(&self.gender.0, |_| ())?;
        Ok(Scores {
            expression: right(expression_answers(&expression), &self.expression.1),
            gender: right(gender_answers(&gender), &self.gender.1),
        })
    }
}

/// `curve.csv`: a line an epoch.
struct Curve(File);

impl Curve {
    fn open(folder: &Path) -> std::io::Result<Self> {
        let mut file =
            OpenOptions::new().create(true).append(true).open(folder.join("curve.csv"))?;
        if file.metadata()?.len() == 0 {
            writeln!(file, "epoch,loss,gender_loss,accuracy,gender_accuracy,seconds")?;
        }
        Ok(Self(file))
    }

    fn add(&mut self, epoch: &Epoch, scores: &Scores, seconds: f64) -> std::io::Result<()> {
        let Epoch { number, losses, data_share } = epoch;
        let Scores { expression, gender } = scores;
        println!(
            "epoch {number}: loss {:.3}, gender loss {:.3}; validation accuracy {expression:.4}, \
             gender {gender:.4}; {seconds:.0} s, {:.1} % of them waiting for pictures",
            losses.expression,
            losses.gender,
            100.0 * data_share,
        );
        let (loss, gender_loss) = (losses.expression, losses.gender);
        writeln!(self.0, "{number},{loss},{gender_loss},{expression},{gender},{seconds:.1}")
    }
}
