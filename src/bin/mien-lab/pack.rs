//! `mien-lab pack`.

use std::path::{Component, PathBuf};

use anyhow::ensure;
use mien::lab::mixture::Mixture;
use mien::lab::pack::pack;
use mien::lab::recipe::RecipeFile;

/// Make a compact copy of a recipe's data, for a machine to train on; nothing is lost.
///
/// The same recipe reads it: `mien-lab train RECIPE --data-dir OUT …`.
#[derive(clap::Args)]
pub struct Args {
    /// The recipe whose data to copy.
    recipe: PathBuf,
    /// Folder that the recipe's paths start from; by default the recipe's own.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Folder to write the copy to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut recipe = RecipeFile::read(&args.recipe, &[])?.data;
    let from = crate::data_dir(&args.recipe, args.data_dir.as_deref());
    let expressions = recipe.expression.iter().map(|source| &source.path);
    let genders = recipe.gender.iter().map(|source| &source.path);
    for path in expressions.chain(genders) {
        // Anything else might name the same file from both folders.
        let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        ensure!(inside, "{} does not lie below the data folder", path.display());
    }
    // Fills in the hashes, to which the copy is held then.
    Mixture::read(&mut recipe, from)?;
    let is_another = !args.out.exists() || args.out.canonicalize()? != from.canonicalize()?;
    ensure!(is_another, "--out {} is where the data come from", args.out.display());
    pack(&recipe, from, &args.out)?;
    Mixture::read(&mut recipe, &args.out)?;
    println!("{}: the same faces and labels", args.out.display());
    Ok(())
}
