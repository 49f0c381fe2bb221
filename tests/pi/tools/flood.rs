//! A camera that is fast: one picture, again and again, through a `v4l2loopback` device.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::ensure;
use mien::camera::v4l::PixelFormat;
use mien::image;
use v4l::video::Output;
use v4l::{Device, Format};

use crate::feed;

/// From one frame to the next: as fast as an emulated processor can look at them, nearly.
const PERIOD: Duration = Duration::from_millis(4);
/// Small pictures, for the same reason.
const SIZE: (u32, u32) = (160, 120);

/// Writes the picture until it is killed.
pub fn flood(device: &Path, picture: &Path) -> anyhow::Result<()> {
    let (width, height) = SIZE;
    let grey = image::resize(&image::read(picture)?, height as usize, width as usize);
    let mut output = Device::with_path(device)?;
    let wanted = Format::new(width, height, PixelFormat::Grey.fourcc());
    let got = Output::set_format(&output, &wanted)?;
    ensure!((got.width, got.height) == SIZE, "{} takes only {got}", device.display());
    let frame: Vec<u8> = grey.iter().copied().collect();
    loop {
        feed::write(&mut output, &frame)?;
        thread::sleep(PERIOD);
    }
}
