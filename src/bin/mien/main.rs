//! `mien`: what a kiosk carries. Only this program names hardware; the work is in the library.

mod args;
mod bench;
mod bundled;
mod check;
#[cfg(feature = "mqtt")]
mod forward;
#[cfg(not(feature = "mqtt"))]
#[path = "forward_absent.rs"]
mod forward;
mod journal;
#[cfg(feature = "v4l")]
mod live;
#[cfg(not(feature = "v4l"))]
#[path = "live_absent.rs"]
mod live;
#[path = "../common/message.rs"]
mod message;
mod notice;
mod parts;
mod predict;
mod self_test;
mod topic;
mod update;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{CommandFactory, Parser};
use log::LevelFilter;
use mien::config::{self, ConfigError};

use message::message;

use args::{Cli, Command, MqttCommand};

/// Exit code for wrong usage, as clap's own. After it systemd does not start the kiosk again; an update must
/// be started again, so that it can be left.
fn usage() -> u8 {
    if update::is_update() { 1 } else { 2 }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { usage() } else { 0 };
            // Nobody may be there to read it.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    start_log(cli.common.verbose);
    match dispatch(&cli) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", message(&error));
            ExitCode::from(if error.is::<ConfigError>() { usage() } else { 1 })
        }
    }
}

fn dispatch(cli: &Cli) -> anyhow::Result<ExitCode> {
    let model = cli.common.model.as_deref();
    match &cli.command {
        None => watch::demo(model)?,
        Some(Command::Run(args)) => watch::run(args, model)?,
        Some(Command::Predict(args)) => return predict::predict(args, model),
        Some(Command::Check(args)) => return check::check(args, model),
        Some(Command::Bench(args)) => bench::bench(args, model)?,
        Some(Command::Journal(command)) => journal::run(command)?,
        Some(Command::Mqtt(MqttCommand::RemoveDiscovery { config })) => {
            forward::remove_discovery(config)?;
        }
        Some(Command::Update(command)) => return update::run(command),
        Some(Command::SelfTest { config }) => {
            ensure!(
                model.is_none(),
                "self-test is of the bundled network; `mien --model FILE check` tries a file"
            );
            update::self_test(config.as_deref())?;
        }
        Some(Command::Config) => io::stdout().write_all(config::SAMPLE.as_bytes())?,
        Some(Command::Notice(args)) => notice::notice(args)?,
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "mien", &mut script);
            io::stdout().write_all(&script)?;
        }
        Some(Command::Man { dir: None }) => {
            clap_mangen::Man::new(Cli::command()).render(&mut io::stdout())?;
        }
        Some(Command::Man { dir: Some(dir) }) => {
            let written = clap_mangen::generate_to(Cli::command(), dir);
            written.with_context(|| format!("can't write manual pages to {}", dir.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn start_log(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    let mut builder = env_logger::Builder::new();
    builder.filter_level(LevelFilter::Warn).filter_module("mien", level);
    // It says at each connection what the program says once.
    builder.filter_module("rumqttc", LevelFilter::Off);
    builder.parse_default_env().init();
}

/// Whether the reader of our output, such as `head`, has seen enough.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}
