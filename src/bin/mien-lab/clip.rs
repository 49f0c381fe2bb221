//! `mien-lab clip`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use mien::classifier::Scores;
use mien::expression::Expression;
use mien::image::Grey;
use mien::lab::candidate::Candidate;
use mien::lab::dataset::{self, Usage};
use mien::lab::{demo_clip, mean_faces};

/// With a model, means are made of this many faces' best fitting [`mean_faces::FACES_IN_A_MEAN`].
const SUREST_FACES: usize = 600;

/// Draw the clip that `mien` plays without a camera: mean faces of FER2013 acting to a script.
///
/// The script, with what is to be seen when, is written beside the clip as TOML.
#[derive(clap::Args)]
pub struct Args {
    /// FER2013, `fer2013.csv` or `.csv.xz`; its Training rows are used.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Average only faces whose expression this model is surest of: sharper means.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// The clip to write, a motion JPEG stream; the script gets the ending `.toml`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut rows = dataset::read_fer2013(&args.data)?;
    rows.retain(|row| row.usage == Usage::Training);
    let mut candidate = args.model.as_deref().map(Candidate::read).transpose()?;
    let script = demo_clip::script();
    let expressions: BTreeSet<Expression> = script.shown.iter().map(|s| s.expression).collect();
    let mut means = BTreeMap::new();
    for expression in expressions {
        let of_class = rows.iter().filter(|row| Expression::ALL[row.label] == expression);
        let mut faces: Vec<Grey> = of_class.map(|row| row.face.clone()).collect();
        if let Some(candidate) = &mut candidate {
            faces = surest(candidate, faces, expression)?;
        }
        let mean = mean_faces::mean_face(faces.iter())
            .with_context(|| format!("too few {} faces", expression.name()))?;
        if let Some(candidate) = &mut candidate {
            let share = shares(candidate, std::slice::from_ref(&mean), expression)?[0];
            println!("the mean {} face: {:.1} % {0}", expression.name(), 100.0 * share);
        }
        means.insert(expression, mean);
    }
    let stream = demo_clip::draw(&script, |expression| &means[&expression])?;
    let script_path = args.out.with_extension("toml");
    let write = |path: &PathBuf, bytes: &[u8]| {
        fs::write(path, bytes).with_context(|| format!("can't write {}", path.display()))
    };
    write(&args.out, &stream)?;
    write(&script_path, toml::to_string(&script)?.as_bytes())?;
    println!("{}: {} frames, {} bytes", args.out.display(), script.frames, stream.len());
    Ok(())
}

/// Those [`SUREST_FACES`] faces to which the model gives the greatest share of `expression`.
fn surest(
    candidate: &mut Candidate,
    faces: Vec<Grey>,
    expression: Expression,
) -> anyhow::Result<Vec<Grey>> {
    let shares = shares(candidate, &faces, expression)?;
    let mut ranked: Vec<(f32, Grey)> = shares.into_iter().zip(faces).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(ranked.into_iter().take(SUREST_FACES).map(|(_, face)| face).collect())
}

/// The share of `expression` that the model gives each face.
fn shares(
    candidate: &mut Candidate,
    faces: &[Grey],
    expression: Expression,
) -> anyhow::Result<Vec<f32>> {
    let logits = candidate.logits(faces, |_| ())?;
    let scores = logits.iter().map(|logits| Scores::from_logits(logits, &candidate.calibration));
    Ok(scores.map(|scores| scores.expression[expression as usize]).collect())
}
