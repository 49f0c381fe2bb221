//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use jiff::{Span, SpanRelativeTo, Timestamp};
use mien::camera::devices;
use mien::update::Kind;

use crate::topic::TopicFilter;

/// Where the bare demo keeps its journal; also the configuration's default.
const DEMO_LOG: &str = "mien-log";

const EXAMPLES: &str = "\
Examples:
  mien                                      watch the bundled clip
  mien run --source /dev/video0 --config /etc/mien/config.toml
  mien run --source clip.mjpeg --realtime   play a recording at a camera's pace
  mien check --config /etc/mien/config.toml
  mien predict party.jpg --annotate out.png
  mien predict --face --json fer2013/*.png
  mien notice --config /etc/mien/config.toml --html > sign.html
  mien journal tail -f --dir /var/lib/mien --topic 'mien/+/room'

Exit codes:
  0  done
  1  failed while running: a source, picture, model or directory that can't be used, a check that fails
  2  wrong usage: an unknown option, or a configuration that does not hold

Logging: RUST_LOG (error, warn, info, debug) or -v, -vv. MIEN_KERNELS=portable runs the network on plain
loops, should a CPU's own be in doubt.";

/// Reads facial expressions on the CPU, offline: frames in, LEDs and a journal out.
///
/// Without a command it watches the bundled clip, draws the LEDs in the terminal, keeps a journal
/// in ./mien-log, and prints what each stage of a frame took.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Args)]
pub struct Common {
    /// Network to use: an int8 .tflite file made by `mien-lab quantize` [default: the bundled one]
    #[arg(long, value_name = "FILE", global = true)]
    pub model: Option<PathBuf>,
    /// Log more: -v progress, -vv details
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Subcommand)]
pub enum Command {
    /// Watch a source until it ends or SIGINT or SIGTERM arrives
    Run(RunArgs),
    /// Say what each face in pictures shows, in per cent
    Predict(PredictArgs),
    /// Check cameras, pins, model and journal, and say what to do about what fails
    Check(CheckArgs),
    /// Measure what each stage of a frame takes
    Bench(BenchArgs),
    /// Read, check or repair a journal, also while the service runs
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Deal with an MQTT broker
    #[command(subcommand)]
    Mqtt(MqttCommand),
    /// Take, watch over or take back another program or model
    #[command(subcommand)]
    Update(UpdateCommand),
    /// Run the network on stored pictures, and read a configuration; what an update must pass
    SelfTest {
        /// The kiosk's configuration
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print a commented sample configuration; it states every default
    Config,
    /// Print the sign that tells people before the camera what it does, from the configuration
    Notice(NoticeArgs),
    /// Print a shell's completion script
    Completions {
        /// Shell to complete for
        shell: Shell,
    },
    /// Print the manual page (roff)
    Man {
        /// Write there a page for each command instead
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Args)]
pub struct RunArgs {
    /// An MJPEG stream file, a folder of pictures, a picture, or a V4L2 device: /dev/video0, a link in
    /// /dev/v4l/by-id, or usb:VENDOR:PRODUCT as `lsusb` prints it
    #[arg(long, value_name = "PATH", value_parser = source)]
    pub source: PathBuf,
    /// Configuration; `mien config` prints a sample [default: the sample's values]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Give a recording's frames at its own rate, dropping those the CPU is too late for, as a
    /// camera would. Without it every frame is read, as fast as possible.
    #[arg(long)]
    pub realtime: bool,
    /// Journal directory, made if missing [default: the configuration's]
    #[arg(long, value_name = "DIR")]
    pub log: Option<PathBuf>,
}

#[derive(Args)]
pub struct PredictArgs {
    /// JPEG or PNG pictures
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<PathBuf>,
    /// The pictures already are cropped faces, as FER2013's: look for none, read the whole
    #[arg(long)]
    pub face: bool,
    /// Print one JSON object a picture and line
    #[arg(long)]
    pub json: bool,
    /// Say "unsure" of a face whose strongest expression has a smaller share (0 to 1; 0 never)
    /// [default: the model's]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub unsure_below: Option<f32>,
    /// Draw boxes, labels and bars; for one picture. The format follows the ending, .png or .jpg
    #[arg(long, value_name = "OUT.png")]
    pub annotate: Option<PathBuf>,
}

/// A path, or a USB id that can be one.
fn source(text: &str) -> Result<PathBuf, String> {
    if text.starts_with(devices::USB) && !devices::is_usb_id(text) {
        return Err(
            "a USB camera is named like usb:046d:0825, two numbers of four hexadecimal digits"
                .into(),
        );
    }
    Ok(text.into())
}

/// A number from 0 to 1.
fn share(text: &str) -> Result<f32, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("{text:?} is not a number from 0 to 1"))
}

#[derive(Args)]
pub struct CheckArgs {
    /// The camera to look through: /dev/video0, a link in /dev/v4l/by-id, usb:VENDOR:PRODUCT [default: all]
    #[arg(long, value_name = "DEVICE", value_parser = source)]
    pub source: Option<PathBuf>,
    /// The kiosk's configuration; stop the service first, or its camera and pins are in use
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Args)]
pub struct NoticeArgs {
    /// The kiosk's configuration; it must state `deployment_context` and `contact`
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// As a page to print on A4
    #[arg(long)]
    pub html: bool,
}

#[derive(Args)]
pub struct BenchArgs {
    /// A recording or picture to measure on [default: the bundled clip]
    #[arg(long, value_name = "PATH")]
    pub source: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Read the source so many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,
}

const JOURNAL_EXAMPLES: &str = "\
Examples:
  mien journal tail -n 20 -f --dir /var/lib/mien
  mien journal cat --since 2h --topic 'mien/+/face/#' | jq .payload.expression
  mien journal export --format csv --since 2026-05-01T00:00:00Z --until 2026-06-01T00:00:00Z > may.csv
  mien journal check --dir /var/lib/mien || mien journal repair --dir /var/lib/mien";

#[derive(Subcommand)]
#[command(after_help = JOURNAL_EXAMPLES)]
pub enum JournalCommand {
    /// Print the records as JSON, one a line, oldest first
    Cat(Selection),
    /// Print the last records, and with -f those that come
    Tail {
        #[command(flatten)]
        selection: Selection,
        /// So many
        #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
        records: usize,
        /// Wait for more, until Ctrl-C
        #[arg(short, long)]
        follow: bool,
    },
    /// Print the records in a format that other programs read
    Export {
        #[command(flatten)]
        selection: Selection,
        /// How
        #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
        format: ExportFormat,
    },
    /// Say of each segment what is sound, damaged or missing; exit code 1 if any is damaged
    Check(JournalDirectory),
    /// Put damaged segments aside and keep their sound records; the service must be stopped
    Repair(JournalDirectory),
    /// Say how much is recorded, from when to when, and what it costs the card
    Stats(JournalDirectory),
}

#[derive(Args)]
pub struct JournalDirectory {
    /// Journal directory
    #[arg(long, value_name = "DIR", default_value = DEMO_LOG)]
    pub dir: PathBuf,
}

/// Which records.
#[derive(Args)]
pub struct Selection {
    #[command(flatten)]
    pub directory: JournalDirectory,
    /// Only from this time on: RFC 3339 (2026-05-01T08:00:00Z), or so long ago (90s, 2h, 3d)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Timestamp>,
    /// Only before this time, told likewise
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Timestamp>,
    /// Only these topics: an MQTT filter, + for any one level, # for all that follow
    #[arg(long, value_name = "FILTER")]
    pub topic: Option<TopicFilter>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum ExportFormat {
    /// One JSON object a line, as `cat` prints
    Jsonl,
    /// Comma-separated values with a header; the payload is JSON text
    Csv,
}

/// A time, or one so long ago.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let span: Option<Span> = text.parse().ok();
    let ago = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    ago.and_then(|ago| Timestamp::now().checked_sub(ago).ok()).ok_or_else(|| {
        "neither a time with its zone, like 2026-05-01T08:00:00Z, nor one ago, like 2h or 3d".into()
    })
}

fn update_kind(text: &str) -> Result<Kind, String> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == text);
    kind.ok_or_else(|| format!("{text:?} is neither `program` nor `model`"))
}

const UPDATE_EXAMPLES: &str = "\
Where programs and models are made, once `minisign -G`, and for each file:
  minisign -Sm mien-0.2.0 -t 'mien 0.2.0'

On the kiosk, with the public key in its configuration, [update]:
  sudo -u mien mien update install mien-0.2.0 --config /etc/mien/config.toml
  sudo systemctl restart mien
  sudo -u mien mien update status --config /etc/mien/config.toml";

#[derive(Subcommand)]
#[command(after_help = UPDATE_EXAMPLES)]
pub enum UpdateCommand {
    /// Verify a program or model, and put it on trial from the next start on
    Install {
        /// The file; its signature is FILE.minisig
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The kiosk's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Say what is in use, what is on trial, and what was not taken
    Status {
        /// The kiosk's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Go back from what is on trial, or from what is in use, from the next start on
    RollBack {
        /// Go back from what is in use of this kind [default: from what is on trial]
        #[arg(value_name = "program|model", value_parser = update_kind)]
        kind: Option<Kind>,
        /// The kiosk's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

#[derive(Subcommand)]
pub enum MqttCommand {
    /// Remove this kiosk's device from Home Assistant; a running kiosk with `home_assistant = true`
    /// brings it back when it connects anew
    RemoveDiscovery {
        /// The kiosk's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}
