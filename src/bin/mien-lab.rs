//! `mien-lab`: the host's tool around the network that `mien` runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use mien::expression::Expression;
use mien::face::detector::{Detector, DetectorOptions};
use mien::image::Grey;
use mien::lab::dataset::{self, Usage};
use mien::lab::{demo_clip, framing, mean_faces};

/// Trains, quantizes and evaluates the network that `mien` runs, and makes what goes with it.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Framing(FramingArgs),
    Clip(ClipArgs),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Framing(args) => framing(&args),
        Command::Clip(args) => clip(&args),
    }
}

/// Measure how FER2013 and FairFace frame their faces against the detector's boxes.
///
/// These are the constants in `mien::face::crop`.
#[derive(Args)]
struct FramingArgs {
    /// FER2013, `fer2013.csv` or `.csv.xz`; its Training rows are used.
    #[arg(long, value_name = "FILE")]
    fer: PathBuf,
    /// A pack of FairFace faces, `NAME.u8.xz` beside `NAME.csv.xz`.
    #[arg(long, value_name = "FILE")]
    fairface: PathBuf,
    /// Pictures of each to measure, spread evenly over the set.
    #[arg(long, default_value_t = 1000)]
    count: usize,
}

fn framing(args: &FramingArgs) -> Result<()> {
    let mut detector = Detector::new(DetectorOptions::default())?;
    let rows = dataset::read_fer2013(&args.fer)?;
    let fer: Vec<Grey> =
        rows.into_iter().filter(|r| r.usage == Usage::Training).map(|r| r.face).collect();
    let pack = dataset::read_face_pack(&args.fairface)?;
    let fairface: Vec<Grey> = pack.into_iter().map(|f| f.face).collect();
    let mut measure = |name: &str, faces: &[Grey]| {
        let spread_evenly = faces.iter().step_by((faces.len() / args.count).max(1));
        let measured = framing::measure(spread_evenly, &mut detector)
            .with_context(|| format!("no face found in {name}"))?;
        let framing::Measured { found, of, framing: f, spread } = measured;
        println!("{name}: one face found in {found} of {of}; median (half the quartile range)");
        println!("  side  {:.4} ({:.4}) of the box's", f.side, spread[0]);
        println!("  right {:+.4} ({:.4})", f.right, spread[1]);
        println!("  down  {:+.4} ({:.4})", f.down, spread[2]);
        anyhow::Ok(f)
    };
    let fer = measure("FER2013", &fer)?;
    let fairface = measure("FairFace", &fairface)?;
    let frame = framing::frame_within(&fer, &fairface);
    println!("FER2013's frame within a FairFace picture: {frame:.4?}");
    Ok(())
}

/// Draw the clip that `mien` plays without a camera: mean faces of FER2013 acting to a script.
///
/// The script, with what is to be seen when, is written beside the clip as TOML.
#[derive(Args)]
struct ClipArgs {
    /// FER2013, `fer2013.csv` or `.csv.xz`; its Training rows are used.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The clip to write, a motion JPEG stream; the script gets the ending `.toml`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn clip(args: &ClipArgs) -> Result<()> {
    let mut rows = dataset::read_fer2013(&args.data)?;
    rows.retain(|row| row.usage == Usage::Training);
    let script = demo_clip::script();
    let mut means = BTreeMap::new();
    for expression in script.shown.iter().map(|shown| shown.expression) {
        let of_class = rows.iter().filter(|row| Expression::ALL[row.label] == expression);
        let mean = mean_faces::mean_face(of_class.map(|row| &row.face))
            .with_context(|| format!("too few {} faces", expression.name()))?;
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
