//! Live cameras (feature `v4l`).

use std::path::Path;

use mien::camera::v4l::V4lCamera;
use mien::config::CameraOptions;
use mien::kiosk::mailbox::Mailbox;

/// Captures a V4L2 device; opened again whenever it is lost.
pub fn open(device: &Path, options: &CameraOptions) -> anyhow::Result<Mailbox> {
    let (device, options) = (device.to_owned(), options.clone());
    let open = move || V4lCamera::open(&device, options.width, options.height, options.fps);
    Ok(Mailbox::live(open()?, open))
}
