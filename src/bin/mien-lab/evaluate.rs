//! `mien-lab evaluate`.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use mien::lab::candidate::Candidate;
use mien::lab::evaluate::report::{Report, Wanted};
use mien::lab::evaluate::test_set::{Crops, TestSet, file_name};
use mien::lab::evaluate::{Classes, html, text};
use mien::lab::split::Part;
use serde_json::json;

/// Score models on labelled faces, side by side: float checkpoints and int8 files.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mien-lab evaluate --model models/mien-slim.tflite --data fer2013.csv.xz
  mien-lab evaluate --model runs/slim/model.safetensors --model models/mien-slim.tflite \\
      --data fer2013.csv.xz --votes fer2013new.csv --genders fairface_train.u8.xz --html slim.html
  mien-lab evaluate --model models/mien-slim.tflite --data faces.u8.xz --json    gender by group
  mien-lab evaluate --model models/mien-slim.tflite --data photos/ --merge happy,neutral --worst 20")]
pub struct Args {
    /// model.safetensors or model.tflite; give it again for another column.
    #[arg(long, value_name = "FILE", required = true)]
    model: Vec<PathBuf>,
    /// Kaggle's fer2013.csv, plain or .xz; a folder with one folder of pictures a class; or a face
    /// pack NAME.u8.xz with NAME.csv.xz beside it, which scores gender.
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Which faces; Training and Validation are what `train` learns from and keeps back, of a folder
    /// or pack too [default: of FER2013, PublicTest; else all]
    #[arg(long)]
    usage: Option<Part>,
    /// FER+ votes (fer2013new.csv) for the same rows: scores against their majority too.
    #[arg(long, value_name = "FILE")]
    votes: Option<PathBuf>,
    /// A face pack NAME.u8.xz: score gender too, on the faces kept back from training.
    #[arg(long, value_name = "FILE")]
    genders: Option<PathBuf>,
    /// Frame the faces as the data has them, or as mien's own detector would crop them.
    #[arg(long, value_enum, default_value = "as-given")]
    crops: Crops,
    /// Score fewer classes, whose shares add up: `happy,neutral` keeps these and makes the rest
    /// `other`; `negative=angry+disgust+fear+sad` makes a group and leaves the rest as it is.
    #[arg(long, value_name = "LIST")]
    merge: Vec<String>,
    /// List this many of the worst mistakes, by row (the first below the header is 0) or file.
    #[arg(long, value_name = "N", default_value_t = 0)]
    worst: usize,
    /// Also write those faces as PNG pictures into this folder. They show people: keep it private.
    #[arg(long, value_name = "DIR", requires = "worst")]
    worst_pictures: Option<PathBuf>,
    /// Print JSON: one object, or for several models `{"models": […]}`.
    #[arg(long)]
    json: bool,
    /// Also write a page with plots, all in one file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        args.worst_pictures.is_none() || args.worst > 0,
        "--worst-pictures writes the mistakes that --worst lists; give --worst a number above 0"
    );
    let wanted = Wanted { classes: Classes::merged(&args.merge)?, worst: args.worst };
    let mut candidates = Vec::new();
    for path in &args.model {
        candidates.push((path, Candidate::read(path)?));
    }
    let set = cropped(args.crops, test_set(args)?)?;
    let mut reports = Vec::new();
    for (path, candidate) in &mut candidates {
        reports.push(report(path, candidate, &set, &wanted)?);
    }
    if let Some(folder) = &args.worst_pictures {
        write_pictures(folder, &set, &reports)?;
    }
    if let Some(path) = &args.html {
        std::fs::write(path, html::page(&set.title, &reports))
            .with_context(|| format!("can't write {}", path.display()))?;
    }
    match (args.json, reports.as_slice()) {
        (false, reports) => print!("{}", text::text(&set.title, reports)),
        (true, [report]) => println!("{}", serde_json::to_string(report)?),
        (true, reports) => println!("{}", json!({ "models": reports })),
    }
    Ok(())
}

/// Scores one model, showing how far it has got.
pub fn report(
    path: &Path,
    candidate: &mut Candidate,
    set: &TestSet,
    wanted: &Wanted,
) -> anyhow::Result<Report> {
    let faces = set.expressions.len() + set.genders.len();
    let bar = crate::progress(faces as u64, "faces", file_name(path))?;
    let model = path.display().to_string();
    let report = Report::new(model, candidate, set, wanted, |n| bar.inc(n as u64))?;
    bar.finish_and_clear();
    Ok(report)
}

fn test_set(args: &Args) -> anyhow::Result<TestSet> {
    let is_pack = args.data.to_string_lossy().ends_with(".u8.xz");
    ensure!(
        args.votes.is_none() || !(is_pack || args.data.is_dir()),
        "--votes belong to FER2013's rows; {} has none",
        args.data.display()
    );
    ensure!(
        !is_pack || (args.worst == 0 && args.merge.is_empty()),
        "--worst and --merge are of expressions; {} is labelled with genders",
        args.data.display()
    );
    ensure!(!is_pack || args.genders.is_none(), "--data is a pack already; leave out --genders");
    let mut set = if is_pack {
        TestSet::pack(&args.data, args.usage)?
    } else if args.data.is_dir() {
        TestSet::folder(&args.data, args.usage)?
    } else {
        let part = args.usage.unwrap_or(Part::PublicTest);
        TestSet::fer2013(&args.data, part, args.votes.as_deref())?
    };
    if let Some(pack) = &args.genders {
        set.join(TestSet::pack(pack, Some(Part::Validation))?);
    }
    Ok(set)
}

/// Frames the faces, showing how far it has got.
pub fn cropped(crops: Crops, set: TestSet) -> anyhow::Result<TestSet> {
    let faces = set.expressions.len() + set.genders.len();
    let bar = crate::progress(faces as u64, "faces", "finding faces")?;
    let set = set.cropped(crops, || bar.inc(1))?;
    bar.finish_and_clear();
    Ok(set)
}

/// Each worst mistake as `MODEL-RANK-FACE-LABEL-as-ANSWER.png`.
fn write_pictures(folder: &Path, set: &TestSet, reports: &[Report]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    for report in reports {
        for (rank, mistake) in (1..).zip(&report.worst) {
            let face = &set.expressions[mistake.index];
            let name: String = face.name.chars().filter(|c| c.is_alphanumeric()).collect();
            let path = folder.join(format!(
                "{}-{rank:03}-{name}-{}-as-{}.png",
                text::file_name(report),
                mistake.label,
                mistake.answer
            ));
            let (height, width) = face.face.dim();
            let bytes: Vec<u8> = face.face.iter().copied().collect();
            let picture = image::GrayImage::from_raw(width as u32, height as u32, bytes);
            picture
                .context("a face has as many bytes as pixels")?
                .save(&path)
                .with_context(|| format!("can't write {}", path.display()))?;
        }
    }
    Ok(())
}
