//! What a video device offers: to be shown to a person who sets a kiosk up.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use v4l::Device;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture;

use super::super::CameraError;
use super::{CANT_TAKE, PixelFormat, controls, open_failure};

/// A pixel format that a device offers.
#[derive(Clone, Debug, PartialEq)]
pub struct FormatOffer {
    /// V4L2's four letters for it.
    pub fourcc: String,
    /// Whether this program reads it.
    pub readable: bool,
    /// Sizes in it; none if the driver lists none.
    pub sizes: Vec<SizeOffer>,
}

/// Widths and heights, pixels, from the least to the greatest, and the highest rate at the latter.
#[derive(Clone, Debug, PartialEq)]
pub struct SizeOffer {
    /// Least width and height.
    pub from: (u32, u32),
    /// Greatest; the same if only one size is meant.
    pub to: (u32, u32),
    /// Frames a second; none if the driver does not say.
    pub max_fps: Option<f32>,
}

impl fmt::Display for SizeOffer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let ((width, height), (most_width, most_height)) = (self.from, self.to);
        write!(f, "{width}×{height}")?;
        if self.from != self.to {
            write!(f, " to {most_width}×{most_height}")?;
        }
        match self.max_fps {
            Some(fps) => write!(f, " at {} fps", (fps * 10.0).round() / 10.0),
            None => Ok(()),
        }
    }
}

/// All formats of a device, as its driver orders them; none if it gives no pictures.
///
/// # Errors
///
/// [`CameraError::Open`], with a way out, as [`V4lCamera::open`](super::V4lCamera::open) has it.
pub fn offers(node: &Path) -> Result<Vec<FormatOffer>, CameraError> {
    let listed = panic::catch_unwind(AssertUnwindSafe(|| {
        let device = Device::with_path(node).map_err(|error| open_failure(&error))?;
        let formats = device.enum_formats().unwrap_or_default();
        Ok(formats.iter().map(|format| of_format(&device, format.fourcc)).collect())
    }));
    listed
        .unwrap_or_else(|_| Err(CANT_TAKE.into()))
        .map_err(|why| CameraError::Open { source_name: node.to_owned(), why })
}

/// Those controls of a device that `[camera]` can set, each with its range; none if it can't be asked.
pub fn controls(node: &Path) -> Vec<String> {
    let device = panic::catch_unwind(AssertUnwindSafe(|| Device::with_path(node)));
    device.ok().and_then(Result::ok).map(|device| controls::texts(&device)).unwrap_or_default()
}

fn of_format(device: &Device, fourcc: v4l::FourCC) -> FormatOffer {
    let sizes = device.enum_framesizes(fourcc).unwrap_or_default();
    let offer = |from: (u32, u32), to: (u32, u32)| {
        let intervals = device.enum_frameintervals(fourcc, to.0, to.1).unwrap_or_default();
        let rates = intervals.iter().map(|interval| match &interval.interval {
            FrameIntervalEnum::Discrete(interval) => interval,
            FrameIntervalEnum::Stepwise(range) => &range.min,
        });
        let rates = rates.filter(|shortest| shortest.numerator > 0);
        let rates = rates.map(|shortest| shortest.denominator as f32 / shortest.numerator as f32);
        SizeOffer { from, to, max_fps: rates.max_by(f32::total_cmp) }
    };
    let sizes = sizes.iter().map(|size| match &size.size {
        FrameSizeEnum::Discrete(size) => {
            offer((size.width, size.height), (size.width, size.height))
        }
        FrameSizeEnum::Stepwise(range) => {
            offer((range.min_width, range.min_height), (range.max_width, range.max_height))
        }
    });
    FormatOffer {
        fourcc: String::from_utf8_lossy(&fourcc.repr).into_owned(),
        readable: PixelFormat::from_fourcc(fourcc).is_some(),
        sizes: sizes.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_with_their_rate() {
        let size = |to, max_fps| SizeOffer { from: (320, 240), to, max_fps }.to_string();
        assert_eq!(size((320, 240), Some(29.97)), "320×240 at 30 fps");
        assert_eq!(size((640, 480), None), "320×240 to 640×480");
    }

    #[test]
    fn a_device_that_is_not_there_is_refused_with_a_way_out() {
        let error = offers(Path::new("/dev/no-such-camera")).unwrap_err().to_string();
        assert!(error.contains("plugged in"), "{error}");
    }
}
