//! `mien-lab export`.

use std::path::PathBuf;

use mien::lab::checkpoint::write_tensors;
use mien::lab::export;
use mien::lab::mixture::Mixture;
use mien::lab::recipe::RecipeFile;

use crate::train::samples;

/// Write a recipe's faces and labels to one safetensors file, for a trainer elsewhere.
///
/// The faces are as a network reads them: prepared, 48×48, single precision; groups say which are
/// near-duplicates.
///
/// What another framework's network answers to them can teach: a safetensors file with one tensor,
/// `answers`, [n, 9], shares of the seven expressions and of female and male for all expression faces
/// and then all gender faces, and this file's metadata `faces_crc32`. A recipe names it in
/// train.teacher.answers.
#[derive(clap::Args)]
pub struct Args {
    /// The recipe whose faces to write.
    recipe: PathBuf,
    /// Folder that the recipe's paths start from; by default the recipe's own.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// File to write, .safetensors; of FER2013 and a gender pack of 16,000 about 400 MB.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut recipe = RecipeFile::read(&args.recipe, &[])?;
    let from = crate::data_dir(&args.recipe, args.data_dir.as_deref());
    let mixture = Mixture::read(&mut recipe.data, from)?;
    mixture.report.iter().for_each(|line| println!("{line}"));
    let (expressions, genders) = samples(&recipe, &mixture.expressions, &mixture.genders);
    let validation = samples(&recipe, &mixture.expressions_kept_back, &mixture.genders_kept_back);
    let training = [&expressions[..], &genders];
    let mut tensors = export::tensors(training, [&validation.0, &validation.1]);
    tensors.extend(export::groups(&mixture));
    write_tensors(&args.out, &tensors, &export::metadata(training))?;
    println!(
        "{}: {} expression faces and {} gender faces to learn from",
        args.out.display(),
        expressions.len(),
        genders.len()
    );
    Ok(())
}
