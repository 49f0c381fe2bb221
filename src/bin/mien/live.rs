//! Live cameras (feature `v4l`).

use std::path::Path;

use mien::camera::v4l::V4lCamera;
use mien::camera::view::View;
use mien::camera::{CameraError, devices};
use mien::config::Config;
use mien::kiosk::mailbox::Mailbox;

/// Captures a V4L2 device; opened again whenever it is lost.
pub fn open(device: &Path, config: &Config) -> anyhow::Result<Mailbox> {
    let (device, options, view) = (device.to_owned(), config.camera.clone(), config.view.clone());
    let open = move || {
        // Another node, perhaps, each time it is plugged in.
        let node = devices::resolve(&device).ok_or_else(|| CameraError::Open {
            source_name: device.clone(),
            why: "no such camera is plugged in; `lsusb` lists USB devices and their ids".into(),
        })?;
        let camera = V4lCamera::open(&node, options.width, options.height, options.fps)?;
        Ok(View::new(camera, view.clone()))
    };
    Ok(Mailbox::live(open()?, open))
}
