//! The test pattern of the kernel's virtual camera `vivid`, as our capture reads it.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use mien::camera::Camera;
use mien::camera::controls::ControlOptions;
use mien::camera::v4l::{PixelFormat, V4lCamera, Wanted};
use mien::image::Grey;

use crate::controls::{self, Control};

/// Sizes that vivid's webcam offers.
const SIZES: [(u32, u32); 3] = [(320, 180), (640, 360), (640, 480)];
const FPS: f32 = 10.0;
const FRAMES: u64 = 3;

/// Luma of vivid's first pattern, bars of 75 % white, yellow, cyan, green, magenta, red, blue and
/// black: BT.601's in YCbCr of limited range …
const LIMITED: [u8; 8] = [180, 161, 131, 112, 84, 65, 35, 16];
/// … and, in its formats of grey only, BT.709's of full range.
const FULL: [u8; 8] = [191, 177, 150, 136, 54, 40, 13, 0];
/// vivid's fixed-point conversion may round another way.
const ROUNDING: u8 = 1;

/// Captures some frames in every format and size. An error names the first pixel that is wrong.
pub fn compare(device: &Path) -> anyhow::Result<()> {
    // No text over the bars.
    controls::set(device, Control::OsdText, 2)?;
    for format in PixelFormat::ALL {
        // vivid has no compressed formats.
        if format == PixelFormat::Mjpeg {
            refused(device, format)?;
            continue;
        }
        for (width, height) in SIZES {
            frames(device, format, width, height)
                .with_context(|| format!("{} {width}x{height}", format.fourcc()))?;
        }
    }
    Ok(())
}

fn wanted(format: PixelFormat, width: u32, height: u32) -> Wanted {
    let controls = ControlOptions::default();
    Wanted { width, height, fps: FPS, max_fps: None, format: Some(format), controls }
}

fn refused(device: &Path, format: PixelFormat) -> anyhow::Result<()> {
    let Err(error) = V4lCamera::open(device, &wanted(format, 640, 480)) else {
        bail!("{} was opened in {}", device.display(), format.fourcc());
    };
    ensure!(error.to_string().contains("it does not offer MJPG"), "{error}");
    Ok(())
}

fn frames(device: &Path, format: PixelFormat, width: u32, height: u32) -> anyhow::Result<()> {
    let bars = match format {
        PixelFormat::Grey | PixelFormat::Y10 | PixelFormat::Y12 | PixelFormat::Y16 => FULL,
        _ => LIMITED,
    };
    let mut camera = V4lCamera::open(device, &wanted(format, width, height))?;
    let mut last: Option<u64> = None;
    for _ in 0..FRAMES {
        let frame = camera.next_frame()?.context("it ended")?;
        ensure!(last < Some(frame.sequence), "frame {} came twice", frame.sequence);
        last = Some(frame.sequence);
        ensure!(
            frame.image.dim() == (height as usize, width as usize),
            "its frames are {:?}",
            frame.image.dim()
        );
        same(&frame.image, bars).with_context(|| format!("frame {}", frame.sequence))?;
    }
    let given = last.map_or(0, |last| last + 1);
    println!("{} {width}x{height}: {FRAMES} of {given} frames, as drawn", format.fourcc());
    Ok(())
}

fn same(image: &Grey, bars: [u8; 8]) -> anyhow::Result<()> {
    let width = image.ncols();
    for ((y, x), &grey) in image.indexed_iter() {
        let drawn = bars[x * bars.len() / width];
        if grey.abs_diff(drawn) > ROUNDING {
            bail!("at {x}, {y} there is {grey} instead of {drawn}");
        }
    }
    Ok(())
}
