//! `mien-lab`: makes the model that `mien` carries. One file a subcommand.

mod card;
mod clip;
mod evaluate;
mod export;
mod framing;
mod inspect;
#[path = "../common/message.rs"]
mod message;
mod pack;
mod prune;
mod quantize;
mod recipe;
mod speed;
mod train;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

/// Makes the int8 model that a mien kiosk carries, and what goes with it.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Recipe(recipe::Args),
    Train(train::Args),
    Prune(prune::Args),
    Pack(pack::Args),
    Export(export::Args),
    Quantize(quantize::Args),
    Inspect(inspect::Args),
    Evaluate(evaluate::Args),
    Card(card::Args),
    Clip(clip::Args),
    Framing(framing::Args),
    Speed(speed::Args),
}

fn main() -> ExitCode {
    // A reader that has seen enough, as `head`, ends the program quietly.
    sigpipe::reset();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn,mien=info"))
        .init();
    let done = match Cli::parse().command {
        Command::Recipe(args) => recipe::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Prune(args) => prune::run(&args),
        Command::Pack(args) => pack::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Quantize(args) => quantize::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Card(args) => card::run(&args),
        Command::Clip(args) => clip::run(&args),
        Command::Framing(args) => framing::run(&args),
        Command::Speed(args) => speed::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", message::message(&error));
            ExitCode::FAILURE
        }
    }
}

/// A count that must not be 0.
fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// Where a recipe's paths start from: the given folder, or the recipe's own.
fn data_dir<'a>(recipe: &'a Path, given: Option<&'a Path>) -> &'a Path {
    let own = recipe.parent().filter(|folder| !folder.as_os_str().is_empty());
    given.or(own).unwrap_or(Path::new("."))
}

/// The folder of a file, by its whole path.
fn folder_of(file: &Path) -> anyhow::Result<PathBuf> {
    let whole = std::path::absolute(file)?;
    Ok(whole.parent().unwrap_or(&whole).to_owned())
}

/// A bar that counts `len` things called `unit`.
fn progress(len: u64, unit: &str, message: impl Into<String>) -> anyhow::Result<ProgressBar> {
    let template = format!("{{msg}} {{wide_bar}} {{pos}}/{{len}} {unit}, {{eta}} left");
    let style = ProgressStyle::with_template(&template)?;
    Ok(ProgressBar::new(len).with_style(style).with_message(message.into()))
}
