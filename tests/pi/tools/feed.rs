//! A camera made of pictures: writes them to a `v4l2loopback` device at the watcher's own pace.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mien::camera::v4l::PixelFormat;
use mien::image::{self, Grey};
use v4l::video::Output;
use v4l::{Device, Format};

/// A program none of whose threads wants the CPU this often in a row is idle.
const IDLE_CHECKS: u32 = 15;
const CHECK_PERIOD: Duration = Duration::from_millis(20);
/// A camera that gives nothing for 2 s, or only broken frames, counts as lost.
const DARK_PERIOD: Duration = Duration::from_secs(1);
/// The longest that a program may take to start, or to have done with a frame.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts `program`, which must say when the first frame came and take dark frames for night at once, and
/// feeds it. Gives its exit code.
pub fn feed(
    device: &Path,
    format: PixelFormat,
    folder: &Path,
    program: &[String],
) -> anyhow::Result<ExitCode> {
    let frames = pictures(folder)?
        .iter()
        .map(|path| fs::read(path).map_err(Into::into).and_then(|jpeg| encode(format, &jpeg)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let first = frames.first().context("the folder is empty")?;

    let mut output = Device::with_path(device)?;
    let wanted = Format::new(first.width, first.height, format.fourcc());
    let got = Output::set_format(&output, &wanted)?;
    ensure!(got.fourcc == format.fourcc(), "{} takes only {}", device.display(), got.fourcc);

    let dark = dark(first, format)?;
    write(&mut output, &dark)?;
    let mut child = Command::new(&program[0]).args(&program[1..]).stderr(Stdio::piped()).spawn()?;
    let watching = watching(&mut child);
    let start = Instant::now();
    while !watching.load(Ordering::Relaxed) {
        ensure!(start.elapsed() < PATIENCE, "{} does not start", program[0]);
        ensure!(child.try_wait()?.is_none(), "{} ended", program[0]);
        write(&mut output, &dark)?;
        thread::sleep(10 * CHECK_PERIOD);
    }
    await_idle(&child, &mut output, &dark)?;
    // What a bad cable gives: nothing, and half a frame.
    for bytes in [&[][..], &dark[..dark.len() / 2]] {
        write(&mut output, bytes)?;
        await_idle(&child, &mut output, &dark)?;
    }
    for frame in &frames {
        write(&mut output, &frame.bytes)?;
        await_idle(&child, &mut output, &dark)?;
    }
    ensure!(Command::new("kill").arg(child.id().to_string()).status()?.success(), "can't end it");
    let code = child.wait()?.code().context("it was killed")?;
    Ok(ExitCode::from(u8::try_from(code)?))
}

pub fn write(output: &mut Device, bytes: &[u8]) -> anyhow::Result<()> {
    let written = output.write(bytes).context("the device refuses a frame")?;
    ensure!(written == bytes.len(), "it took {written} of {} bytes", bytes.len());
    Ok(())
}

/// A folder's files, by name.
fn pictures(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

struct Encoded {
    width: u32,
    height: u32,
    bytes: Vec<u8>,
}

/// A frame as a camera of this format gives it.
fn encode(format: PixelFormat, jpeg: &[u8]) -> anyhow::Result<Encoded> {
    let grey = image::decode(jpeg)?;
    let (height, width) = (u32::try_from(grey.nrows())?, u32::try_from(grey.ncols())?);
    let bytes = match format {
        PixelFormat::Mjpeg => jpeg.to_vec(),
        PixelFormat::Yuyv => yuyv(&grey),
        other => bail!("no producer of {} here", other.fourcc()),
    };
    Ok(Encoded { width, height, bytes })
}

fn yuyv(grey: &Grey) -> Vec<u8> {
    grey.iter().flat_map(|&luma| [luma, 128]).collect()
}

/// A black frame of the same size.
fn dark(like: &Encoded, format: PixelFormat) -> anyhow::Result<Vec<u8>> {
    let jpeg = dark_jpeg(like.width, like.height)?;
    Ok(encode(format, &jpeg)?.bytes)
}

pub fn dark_jpeg(width: u32, height: u32) -> anyhow::Result<Vec<u8>> {
    let mut jpeg = Vec::new();
    let black = vec![0; width as usize * height as usize];
    let mut encoder = ::image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
    encoder.encode(&black, width, height, ::image::ExtendedColorType::L8)?;
    Ok(jpeg)
}

/// Becomes true when the program says that it is watching; passes on what it says.
fn watching(child: &mut Child) -> Arc<AtomicBool> {
    let watching = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&watching);
    let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            eprintln!("{line}");
            if line.contains("the first frame came") {
                theirs.store(true, Ordering::Relaxed);
            }
        }
    });
    watching
}

/// Waits until all threads of a program sleep, and stay so. Meanwhile it gets dark frames, in which it
/// looks for nothing, so that it does not take the camera for lost however long it has work.
fn await_idle(child: &Child, output: &mut Device, dark: &[u8]) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut last_frame = start;
    let mut idle = 0;
    while idle < IDLE_CHECKS {
        ensure!(start.elapsed() < PATIENCE, "the program does not come to rest");
        thread::sleep(CHECK_PERIOD);
        idle = if sleeps(child.id())? { idle + 1 } else { 0 };
        if last_frame.elapsed() >= DARK_PERIOD {
            write(output, dark)?;
            last_frame = Instant::now();
        }
    }
    Ok(())
}

fn sleeps(pid: u32) -> anyhow::Result<bool> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // The state stands behind the name in brackets. A thread may just have ended.
        let stat = fs::read_to_string(task?.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        if state.is_some_and(|state| state != 'S') {
            return Ok(false);
        }
    }
    Ok(true)
}
