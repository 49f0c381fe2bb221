//! `mien-lab card`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use mien::engine::Model;
use mien::lab::candidate::Candidate;
use mien::lab::card::{self, Step};
use mien::lab::evaluate::report::{Report, Wanted};
use mien::lab::evaluate::test_set::{Crops, TestSet};
use mien::lab::split::Part;

use crate::evaluate::{cropped, report};

/// Measure a model and write its card's figures, and a sample of its answers beside it.
///
/// For MODEL.tflite, the float checkpoint is MODEL.safetensors, the card MODEL.card.md, the sample
/// MODEL.sample.csv. Only what stands between the card's two marks is replaced.
#[derive(clap::Args)]
pub struct Args {
    /// The int8 file, MODEL.tflite.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// FER2013, `fer2013.csv` or `.csv.xz`: its PublicTest rows.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// FER+ votes (fer2013new.csv) for the same rows.
    #[arg(long, value_name = "FILE")]
    votes: PathBuf,
    /// A face pack NAME.u8.xz: its faces kept back from training.
    #[arg(long, value_name = "FILE")]
    genders: PathBuf,
    /// Models that are scored beside it: those that it was made from, or others that it is chosen
    /// among; may be given again.
    #[arg(long, value_name = "FILE")]
    beside: Vec<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))
    };
    let card_path = args.model.with_extension("card.md");
    let card_text = read(&card_path)?;
    // A card that can't be filled is told before the measuring.
    card::fill(&card_text, "").with_context(|| format!("card {}", card_path.display()))?;

    let mut set = TestSet::fer2013(&args.data, Part::PublicTest, Some(&args.votes))?;
    set.join(TestSet::pack(&args.genders, Some(Part::Validation))?);
    let score = |path: &Path, set: &TestSet| -> anyhow::Result<Report> {
        report(path, &mut Candidate::read(path)?, set, &Wanted::default())
    };
    let float_path = args.model.with_extension("safetensors");
    let int8 = score(&args.model, &set)?;
    let float = score(&float_path, &set)?;
    let validation = TestSet::fer2013(&args.data, Part::Validation, None)?;
    let test = TestSet { genders: Vec::new(), ..set.clone() };
    let mut steps = Vec::new();
    for path in &args.beside {
        steps.push(Step { validation: score(path, &validation)?, test: score(path, &test)? });
    }
    for (path, test) in [(&float_path, &float), (&args.model, &int8)] {
        steps.push(Step { validation: score(path, &validation)?, test: test.clone() });
    }
    let found = score(&args.model, &cropped(Crops::Found, set.clone())?)?;
    let recropped = score(&args.model, &cropped(Crops::ByDetector, set.clone())?)?;
    let bytes = std::fs::read(&args.model)
        .with_context(|| format!("can't read {}", args.model.display()))?;
    let figures =
        card::figures(&steps, &int8, &float, [&found, &recropped], crc32fast::hash(&bytes));
    let model = Model::from_bytes(&args.model.to_string_lossy(), &bytes)?;
    write(&card_path, &card::fill(&card_text, &figures)?)?;
    write(&args.model.with_extension("sample.csv"), &card::sample(&model, &set.expressions)?)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("can't write {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}
