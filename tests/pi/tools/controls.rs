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

/// V4L2's number of every camera's gain.
const GAIN: u32 = 0x0098_0913;

/// Sets a control; what is a button is pressed.
pub fn set(device: &Path, control: Control, value: i64) -> anyhow::Result<()> {
    set_by_id(device, BASE + control as u32, value)
}

/// A camera's gain.
pub fn gain(device: &Path) -> anyhow::Result<i64> {
    match Device::with_path(device)?.control(GAIN)?.value {
        Value::Integer(gain) => Ok(gain),
        other => anyhow::bail!("the gain is {other:?}"),
    }
}

/// Sets it, as another program might.
pub fn set_gain(device: &Path, value: i64) -> anyhow::Result<()> {
    set_by_id(device, GAIN, value)
}

fn set_by_id(device: &Path, id: u32, value: i64) -> anyhow::Result<()> {
    let value = Value::Integer(value);
    Device::with_path(device)
        .and_then(|device| device.set_control(control::Control { id, value }))
        .with_context(|| format!("{}: control {id:#x}", device.display()))
}
