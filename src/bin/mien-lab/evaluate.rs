//! `mien-lab evaluate`.

use std::path::{Path, PathBuf};

use anyhow::bail;
use mien::expression::{Expression, Gender};
use mien::image::Grey;
use mien::lab::candidate::Candidate;
use mien::lab::dataset;
use mien::lab::evaluate::{Evaluation, expression_answers, gender_answers};
use mien::lab::samples::kept_back_gender;
use mien::lab::split::{Part, Split, positions};
use serde::Serialize;

/// Score a model on labelled faces: a float checkpoint or an int8 file.
#[derive(clap::Args)]
pub struct Args {
    /// model.safetensors or model.tflite.
    #[arg(long)]
    model: PathBuf,
    /// Kaggle's fer2013.csv, plain or .xz.
    #[arg(long)]
    data: PathBuf,
    /// Which of its rows; Validation are the Training rows kept back from training.
    #[arg(long, default_value = "PublicTest")]
    usage: Part,
    /// A face pack NAME.u8.xz: score gender too, on the faces kept back from training.
    #[arg(long)]
    genders: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    expression: Evaluation,
    /// Multiply-accumulates of one face.
    macs: Option<u64>,
    /// Trained parameters.
    parameters: Option<u64>,
    /// Size of the file.
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    gender: Option<GenderReport>,
}

#[derive(Serialize)]
struct GenderReport {
    n: usize,
    accuracy: f64,
    recall_female: f64,
    recall_male: f64,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut candidate = Candidate::read(&args.model)?;
    let rows = dataset::read_fer2013(&args.data)?;
    let of_part = positions(&rows, args.usage);
    if of_part.is_empty() {
        bail!("{} has no {:?} rows", args.data.display(), args.usage);
    }
    let (faces, labels): (Vec<_>, Vec<_>) =
        of_part.into_iter().map(|i| (rows[i].face.clone(), rows[i].label)).unzip();
    let answers = expression_answers(&logits(&mut candidate, &faces)?);
    let gender =
        args.genders.as_ref().map(|pack| score_gender(&mut candidate, pack)).transpose()?;
    let report = Report {
        expression: Evaluation::new(&labels, &answers),
        macs: candidate.graph.as_ref().map(|graph| graph.macs()),
        parameters: candidate.graph.as_ref().map(|graph| graph.parameters()),
        bytes: candidate.bytes,
        gender,
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print_text(args, &report);
    }
    Ok(())
}

fn logits(candidate: &mut Candidate, faces: &[Grey]) -> anyhow::Result<Vec<[f32; 9]>> {
    let bar = crate::progress(faces.len() as u64, "faces", "scoring")?;
    let logits = candidate.logits(faces, |n| bar.inc(n as u64))?;
    bar.finish_and_clear();
    Ok(logits)
}

fn score_gender(candidate: &mut Candidate, pack: &Path) -> anyhow::Result<GenderReport> {
    let pack = dataset::read_face_pack(pack)?;
    let kept_back = Split::of_genders(&pack).validation;
    let (faces, labels): (Vec<Grey>, Vec<usize>) =
        kept_back.into_iter().map(|i| kept_back_gender(&pack[i])).unzip();
    let answers = gender_answers(&logits(candidate, &faces)?);
    let recall = |gender: Gender| {
        let of_gender = || labels.iter().zip(&answers).filter(|(l, _)| **l == gender as usize);
        (of_gender().filter(|(label, answer)| label == answer).count(), of_gender().count())
    };
    let (female, females) = recall(Gender::Female);
    let (male, males) = recall(Gender::Male);
    let share = |right: usize, of: usize| right as f64 / of.max(1) as f64;
    Ok(GenderReport {
        n: faces.len(),
        accuracy: share(female + male, faces.len()),
        recall_female: share(female, females),
        recall_male: share(male, males),
    })
}

fn print_text(args: &Args, report: &Report) {
    let Evaluation { n, accuracy, per_class_recall, confusion } = &report.expression;
    println!("{} on {n} faces ({:?})", args.model.display(), args.usage);
    println!("accuracy  {:.2} %", 100.0 * accuracy);
    if let Some(gender) = &report.gender {
        println!(
            "gender    {:.2} % on {} faces kept back (female {:.2} %, male {:.2} %)",
            100.0 * gender.accuracy,
            gender.n,
            100.0 * gender.recall_female,
            100.0 * gender.recall_male,
        );
    }
    if let (Some(macs), Some(parameters)) = (report.macs, report.parameters) {
        println!("cost      {:.1} MMAC, {parameters} parameters", macs as f64 / 1e6);
    }
    println!("file      {} bytes\n", report.bytes);
    let header: String = Expression::ALL.iter().map(|e| format!("{:>9}", e.name())).collect();
    println!("label \\ answer{header}   recall");
    for expression in Expression::ALL {
        let i = expression as usize;
        let counts: String = confusion[i].iter().map(|count| format!("{count:>9}")).collect();
        let recall = per_class_recall[i].map_or("-".into(), |r| format!("{:.1} %", 100.0 * r));
        println!("{:<14}{counts} {recall:>8}", expression.name());
    }
}
