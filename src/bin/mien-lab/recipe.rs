//! `mien-lab recipe`.

use std::io::Write;

use mien::lab::recipe::SAMPLE;

/// Print a recipe with every setting, its default and what it means: what `train` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  mien-lab recipe > my.recipe.toml      then say there what to learn from")]
pub struct Args {}

pub fn run(Args {}: &Args) -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(SAMPLE.as_bytes())?)
}
