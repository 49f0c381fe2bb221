//! Stands in for live cameras in a build without feature `v4l`.

use std::path::Path;

use anyhow::bail;
use mien::config::Config;
use mien::kiosk::mailbox::Mailbox;

/// Says how to get a build that can open `device`.
pub fn open(device: &Path, _: &Config) -> anyhow::Result<Mailbox> {
    bail!(
        "{} is a camera, and this `mien` was built without cameras; build it with \
         `cargo build --release --features v4l` (needs libclang)",
        device.display()
    )
}
