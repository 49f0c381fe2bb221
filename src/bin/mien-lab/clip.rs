//! `mien-lab clip`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use mien::expression::Expression;
use mien::lab::dataset::{self, Usage};
use mien::lab::{demo_clip, mean_faces};

/// Draw the clip that `mien` plays without a camera: mean faces of FER2013 acting to a script.
///
/// The script, with what is to be seen when, is written beside the clip as TOML.
#[derive(clap::Args)]
pub struct Args {
    /// FER2013, `fer2013.csv` or `.csv.xz`; its Training rows are used.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The clip to write, a motion JPEG stream; the script gets the ending `.toml`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
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
