//! `mien-lab framing`.

use std::path::PathBuf;

use anyhow::Context;
use mien::face::detector::{Detector, DetectorOptions};
use mien::image::Grey;
use mien::lab::dataset::{self, Usage};
use mien::lab::framing;

/// Measure how FER2013 and FairFace frame their faces against the detector's boxes.
///
/// These are the constants in `mien::face::crop`.
#[derive(clap::Args)]
pub struct Args {
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

pub fn run(args: &Args) -> anyhow::Result<()> {
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
