//! Controls of the kernel's virtual camera `vivid`, its injected errors among them.

use std::path::Path;

use anyhow::Context;
use clap::ValueEnum;
use v4l::Device;
use v4l::control::{self, Value};

/// vivid's own controls begin here (its VIVID_CID_VIVID_BASE).
const BASE: u32 = 0x00f0_f000;

/// The controls in use, by their place behind [`BASE`].
#[derive(Clone, Copy, ValueEnum)]
pub enum Control {
    /// Text over the picture: 0 all, 1 counters, 2 none.
    OsdText = 1,
    /// Per cent of the buffers that are dropped.
    Dropped = 64,
    /// The device is gone until its last user has closed it.
    Disconnect = 65,
    /// The next buffer is marked as corrupt.
    Corrupt = 66,
    /// The next request for buffers (VIDIOC_REQBUFS) fails.
    NoBuffers = 67,
    /// The next buffer handed over (VIDIOC_QBUF) is refused.
    RefusedBuffer = 68,
    /// The next start (VIDIOC_STREAMON) fails.
    NoStart = 69,
    /// Streaming fails for good.
    QueueError = 70,
}

/// Sets a control; what is a button is pressed.
pub fn set(device: &Path, control: Control, value: i64) -> anyhow::Result<()> {
    let id = BASE + control as u32;
    let value = Value::Integer(value);
    Device::with_path(device)
        .and_then(|device| device.set_control(control::Control { id, value }))
        .with_context(|| format!("{}: control {id:#x}", device.display()))
}
