//! `mien-lab`: makes the model that `mien` carries. One file a subcommand.

mod clip;
mod evaluate;
mod framing;
mod quantize;
mod speed;
mod train;

use anyhow::Context;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use mien::lab::network::Preset;

/// Makes the int8 model that a mien kiosk carries, and what goes with it.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(train::Args),
    Quantize(quantize::Args),
    Evaluate(evaluate::Args),
    Clip(clip::Args),
    Framing(framing::Args),
    Speed(speed::Args),
}

fn main() -> anyhow::Result<()> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn,mien=info"))
        .init();
    match Cli::parse().command {
        Command::Train(args) => train::run(&args),
        Command::Quantize(args) => quantize::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Clip(args) => clip::run(&args),
        Command::Framing(args) => framing::run(&args),
        Command::Speed(args) => speed::run(&args),
    }
}

fn named_preset(name: &str) -> anyhow::Result<Preset> {
    Preset::named(name)
        .with_context(|| format!("no network {name:?}; there are {}", Preset::NAMES.join(", ")))
}

/// A bar that counts `len` things called `unit`.
fn progress(len: u64, unit: &str, message: impl Into<String>) -> anyhow::Result<ProgressBar> {
    let template = format!("{{msg}} {{wide_bar}} {{pos}}/{{len}} {unit}, {{eta}} left");
    let style = ProgressStyle::with_template(&template)?;
    Ok(ProgressBar::new(len).with_style(style).with_message(message.into()))
}
