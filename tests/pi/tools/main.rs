//! What the tests on an emulated Raspberry Pi need besides `mien`, in one program.

mod bars;
mod controls;
mod feed;
mod flood;
mod reopen;
mod scenes;
mod sign;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use mien::camera::v4l::PixelFormat;

#[derive(Parser)]
enum Command {
    /// Capture vivid's colour bars in every format that mien reads, and compare every pixel
    Bars { device: PathBuf },
    /// Set one of vivid's controls
    Control {
        device: PathBuf,
        #[arg(value_enum)]
        control: controls::Control,
        #[arg(default_value_t = 1)]
        value: i64,
    },
    /// Print a camera's gain, or set it
    Gain { device: PathBuf, value: Option<i64> },
    /// Open one of vivid's cameras so many times, and see that nothing stays behind
    Reopen { device: PathBuf, times: u32 },
    /// Write a picture to a v4l2loopback device, fast, until killed
    Flood { device: PathBuf, picture: PathBuf },
    /// Write a folder's pictures to a v4l2loopback device while a program watches it, each when
    /// the program has nothing left to do, and end the program
    Feed {
        device: PathBuf,
        #[arg(value_parser = pixel_format)]
        format: PixelFormat,
        folder: PathBuf,
        #[arg(last = true, required = true)]
        program: Vec<String>,
    },
    /// Write the first pictures of a motion JPEG clip to a folder, one in so many, each followed by a
    /// dark one
    Split { clip: PathBuf, folder: PathBuf, count: usize, one_in: usize },
    /// Write pictures with one face each, cut from the bundled clip, named by their expressions
    Scenes { clip: PathBuf, folder: PathBuf },
    /// Sign files by a new key, and print its public half
    Sign { files: Vec<PathBuf> },
}

fn pixel_format(name: &str) -> Result<PixelFormat, String> {
    let format = PixelFormat::ALL.into_iter().find(|format| format.fourcc().to_string() == name);
    format.ok_or_else(|| "mien doesn't read it".into())
}

fn main() -> anyhow::Result<ExitCode> {
    env_logger::init();
    match Command::parse() {
        Command::Bars { device } => bars::compare(&device)?,
        Command::Control { device, control, value } => controls::set(&device, control, value)?,
        Command::Gain { device, value: None } => println!("{}", controls::gain(&device)?),
        Command::Gain { device, value: Some(value) } => controls::set_gain(&device, value)?,
        Command::Reopen { device, times } => reopen::reopen(&device, times)?,
        Command::Flood { device, picture } => flood::flood(&device, &picture)?,
        Command::Feed { device, format, folder, program } => {
            return feed::feed(&device, format, &folder, &program);
        }
        Command::Split { clip, folder, count, one_in } => {
            scenes::split(&clip, &folder, count, one_in)?;
        }
        Command::Sign { files } => println!("{}", sign::sign(&files)?),
        Command::Scenes { clip, folder } => scenes::cut(&clip, &folder)?,
    }
    Ok(ExitCode::SUCCESS)
}
