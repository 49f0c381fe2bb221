//! A camera opened and closed again and again: nothing may stay behind.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use mien::camera::controls::ControlOptions;
use mien::camera::v4l::{V4lCamera, Wanted};
use mien::camera::{Camera, CameraError};

use crate::controls::{self, Control};

/// Until here what is allocated once is.
const WARM_UP: u32 = 100;
/// Memory that may stay for each time, bytes: over some hundred times enough for the pages that the
/// allocator may take in between, and less than a leaked picture, buffer or message.
const BYTES_EACH: u64 = 128;

/// Opens a camera so many times, takes a frame, and closes it. Every other time it is unplugged first.
pub fn reopen(device: &Path, times: u32) -> anyhow::Result<()> {
    ensure!(times > WARM_UP, "the first {WARM_UP} times only warm up");
    let start = Instant::now();
    let mut begin = None;
    for time in 1..=times {
        once(device, time % 2 == 0).with_context(|| format!("opened for the {time}th time"))?;
        if time == WARM_UP {
            begin = Some(Held::now()?);
        }
    }
    let begin = begin.context("it was warmed up")?;
    let end = Held::now()?;
    println!("after {WARM_UP} times: {begin:?}");
    println!("after {times} times, {:.0} s: {end:?}", start.elapsed().as_secs_f32());
    ensure!(
        (end.descriptors, end.threads, end.mappings)
            == (begin.descriptors, begin.threads, begin.mappings),
        "descriptors, threads or mappings are left"
    );
    let grown = end.bytes.saturating_sub(begin.bytes);
    let allowed = u64::from(times - WARM_UP) * BYTES_EACH;
    ensure!(grown <= allowed, "{grown} bytes of memory are left, {allowed} at most may be");
    Ok(())
}

fn once(device: &Path, unplugged: bool) -> anyhow::Result<()> {
    let controls = ControlOptions::default();
    let wanted =
        Wanted { width: 320, height: 180, fps: 60.0, max_fps: None, format: None, controls };
    let mut camera = V4lCamera::open(device, &wanted)?;
    camera.next_frame()?.context("it ended")?;
    if unplugged {
        controls::set(device, Control::Disconnect, 1)?;
        loop {
            match camera.next_frame() {
                Err(CameraError::Lost { .. }) => break,
                Ok(Some(_)) => {}
                other => bail!("unplugged, it gives {other:?}"),
            }
        }
    }
    Ok(())
}

/// What this program holds of the system's.
#[derive(Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
    mappings: usize,
    /// Memory of its own that is in use. `VmRSS` also has the program's code, and lags by some pages.
    bytes: u64,
}

impl Held {
    fn now() -> anyhow::Result<Self> {
        let entries = |folder: &str| fs::read_dir(folder).map(Iterator::count);
        let rollup = fs::read_to_string("/proc/self/smaps_rollup")?;
        let kb = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"));
        let kb = kb.and_then(|kb| kb.trim().strip_suffix(" kB")).context("no line of memory")?;
        Ok(Self {
            descriptors: entries("/proc/self/fd")?,
            threads: entries("/proc/self/task")?,
            mappings: fs::read_to_string("/proc/self/maps")?.lines().count(),
            bytes: kb.parse::<u64>()? * 1024,
        })
    }
}
