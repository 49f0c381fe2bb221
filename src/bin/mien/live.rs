//! Live cameras (feature `v4l`).

use std::path::Path;
use std::time::Instant;

use mien::camera::devices::VideoDevice;
use mien::camera::quality::Quality;
use mien::camera::v4l::{V4lCamera, Wanted, offers};
use mien::camera::view::View;
use mien::camera::{Camera, CameraError, Frame, devices};
use mien::config::{CameraOptions, Config};
use mien::kiosk::mailbox::Mailbox;

use crate::check::Verdict;

/// Frames that `mien check` looks at.
const CHECKED_FRAMES: usize = 20;

/// Captures a V4L2 device; opened again whenever it is lost, and until it is there.
pub fn open(device: &Path, config: &Config) -> anyhow::Result<Mailbox> {
    let (device, config) = (device.to_owned(), config.clone());
    Ok(Mailbox::live(move || open_once(&device, &config)))
}

fn open_once(device: &Path, config: &Config) -> Result<View<V4lCamera>, CameraError> {
    // Another node, perhaps, each time it is plugged in.
    let node = devices::resolve(device).ok_or_else(|| CameraError::Open {
        source_name: device.to_owned(),
        why: "no such camera is plugged in; `lsusb` lists USB devices and their ids".into(),
    })?;
    let CameraOptions { width, height, fps, max_fps, .. } = config.camera;
    let controls = config.camera.controls();
    let camera =
        V4lCamera::open(&node, &Wanted { width, height, fps, max_fps, format: None, controls })?;
    Ok(View::new(camera, config.view.clone()))
}

/// What a device is and what it offers, for `mien check`.
pub fn describe(device: &VideoDevice) -> String {
    let VideoDevice { node, name, usb, links, .. } = device;
    let mut text = format!("{} “{name}”", node.display());
    if let Some((vendor, product)) = usb {
        text += &format!(", usb:{vendor}:{product}");
    }
    for link in links {
        text += &format!("\n{}", link.display());
    }
    match offers::offers(node) {
        Ok(formats) if formats.is_empty() => text += "\ngives no pictures",
        Ok(formats) => {
            for format in formats {
                let sizes: Vec<String> = format.sizes.iter().map(ToString::to_string).collect();
                let unread = if format.readable { "" } else { " (this program can't read it)" };
                text += &format!("\n{}{unread}: {}", format.fourcc, sizes.join(", "));
            }
            let controls = offers::controls(node);
            if !controls.is_empty() {
                text += &format!("\ncontrols: {}", controls.join(", "));
            }
        }
        Err(error) => text += &format!("\n{error}"),
    }
    text
}

/// Whether it may be a camera whose pictures can be read: it offers such, or can't be asked.
pub fn is_camera(device: &VideoDevice) -> bool {
    match offers::offers(&device.node) {
        Ok(formats) => formats.iter().any(|format| format.readable),
        Err(_) => device.index == 0,
    }
}

/// Looks at some frames of a camera, for `mien check`.
pub fn check(device: &Path, config: &Config) -> (Verdict, String) {
    match look(device, config) {
        Err(error) => (Verdict::Failed, error.to_string()),
        Ok((text, None)) => (Verdict::Good, text),
        Ok((text, Some(advice))) => (Verdict::Note, format!("{text}\n{advice}")),
    }
}

fn look(device: &Path, config: &Config) -> Result<(String, Option<&'static str>), CameraError> {
    let mut camera = open_once(device, config)?;
    let started = Instant::now();
    let (mut last, mut broken): (Option<Frame>, usize) = (None, 0);
    for _ in 0..CHECKED_FRAMES {
        match camera.next_frame() {
            Ok(frame) => last = frame.or(last),
            Err(CameraError::BrokenFrame { .. }) => broken += 1,
            Err(error) => return Err(error),
        }
    }
    let rate = CHECKED_FRAMES as f64 / started.elapsed().as_secs_f64();
    let Some(frame) = last else {
        let why = format!("all of {broken} frames are broken");
        return Err(CameraError::Lost { source_name: device.to_owned(), why });
    };
    let (height, width) = frame.image.dim();
    let quality = Quality::of(&frame.image);
    let text = format!(
        "`--source {}` would read {}, {width}×{height} at {rate:.1} fps, {broken} of {CHECKED_FRAMES} \
         frames broken; brightness {:.0}, contrast {:.0}, sharpness {:.1}",
        device.display(),
        camera.inner().format().fourcc(),
        quality.brightness,
        quality.contrast,
        quality.sharpness,
    );
    Ok((text, quality.advice()))
}
