//! `mien-lab pack`.

use std::path::{Component, PathBuf};

use anyhow::ensure;
use mien::lab::mixture::Mixture;
use mien::lab::pack::{pack, pack_checkpoints};
use mien::lab::recipe::RecipeFile;

/// Make a compact copy of a recipe and its data, for a machine to train on; nothing is lost.
///
/// It is complete: `mien-lab train OUT/recipe.toml --out RUN` trains on it, and so does the
/// original, `mien-lab train RECIPE --data-dir OUT --out RUN`.
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
    let recipe = RecipeFile::read(&args.recipe, &[])?;
    let mut recipe = recipe.with_checkpoints_in(&crate::folder_of(&args.recipe)?);
    let from = crate::data_dir(&args.recipe, args.data_dir.as_deref());
    let data = &recipe.data;
    let expressions = data.expression.iter().flat_map(|s| [Some(&s.path), s.votes.as_ref()]);
    let genders = data.gender.iter().map(|source| Some(&source.path));
    for path in expressions.chain(genders).flatten() {
        // Anything else might name the same file from both folders.
        let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        ensure!(inside, "{} does not lie below the data folder", path.display());
    }
    // Fills in the hashes, to which the copy is held then.
    Mixture::read(&mut recipe.data, from)?;
    let is_another = !args.out.exists() || args.out.canonicalize()? != from.canonicalize()?;
    ensure!(is_another, "--out {} is where the data come from", args.out.display());
    pack(&recipe.data, from, &args.out)?;
    pack_checkpoints(&mut recipe, &args.out)?;
    recipe.write(&args.out.join("recipe.toml"))?;
    Mixture::read(&mut recipe.data, &args.out)?;
    println!("{}: the same faces and labels", args.out.display());
    Ok(())
}
