//! Stands in for live cameras in a build without feature `v4l`.

use std::path::Path;

use anyhow::bail;
use mien::camera::devices::VideoDevice;
use mien::config::Config;
use mien::kiosk::mailbox::Mailbox;

use crate::check::Verdict;

const ABSENT: &str = "this `mien` was built without cameras; build it with `cargo build --release \
    --features v4l` (needs libclang)";

/// Says how to get a build that can open `device`.
pub fn open(device: &Path, _: &Config) -> anyhow::Result<Mailbox> {
    bail!("{} is a camera, and {ABSENT}", device.display())
}

/// What a device is.
pub fn describe(device: &VideoDevice) -> String {
    format!("{} “{}”", device.node.display(), device.name)
}

/// Whether it may be a camera; without [`open`] nobody knows.
pub fn is_camera(device: &VideoDevice) -> bool {
    device.index == 0
}

/// Says the same as [`open`].
pub fn check(device: &Path, _: &Config) -> (Verdict, String) {
    (Verdict::Failed, format!("{}: {ABSENT}", device.display()))
}
