//! A V4L2 camera: a USB webcam, or whatever feeds a `v4l2loopback` device.
//!
//! The crate `v4l` moves the buffers, and this module works around four habits of its version 0.14:
//!
//! - It panics on what it doesn't expect of a driver (a name that isn't UTF-8, an unknown colour
//!   space). [`V4lCamera::open`] catches that.
//! - `Stream::next` hands a buffer back before it waits, and again when called after a failed
//!   wait, which the kernel refuses. So [`V4lCamera`] waits by itself, before `next`; what goes
//!   wrong inside `next` ends the stream.
//! - Dropping a stream panics, within a panic even, when the kernel won't stop it. [`Drop`] stops
//!   it first, and leaks the buffers of one that can't be stopped.
//! - It calls the kernel directly, so that preloaded translators such as `libcamerify` never see
//!   its calls: a Raspberry Pi's own camera needs `v4l2loopback`.

mod controls;
pub mod offers;
mod pixels;

use std::io;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use v4l::buffer::{self, Metadata};
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::io::mmap::Stream;
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{Device, Format};

use super::controls::ControlOptions;
use super::pace::Pace;
use super::{Camera, CameraError, Frame};
pub use pixels::PixelFormat;
use pixels::{Layout, is_raw_bayer};

/// Buffers shared with the driver: one being read, one being filled, two for a late reader.
const BUFFERS: u32 = 4;
/// The longest wait for a frame. Even in the dark, where webcams expose long, frames come faster.
const FRAME_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest wait for a camera's first frame: some webcams take seconds to start.
const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(5);
/// `poll(2)`'s event for data to read, from `<poll.h>`.
const POLLIN: i16 = 1;
/// Error numbers of Linux that say what to do; the same on every architecture it runs a Pi on.
const EPERM: i32 = 1;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const EPIPE: i32 = 32;

const CANT_TAKE: &str = "its driver gave an answer that crate v4l can't take";
/// What to do about a sensor that gives no ready pictures.
const CSI_HINT: &str = "a Raspberry Pi's own (CSI) camera gives only raw sensor data here: feed \
    its pictures to a v4l2loopback device and open that (see docs/deploy.md), or use a USB webcam";

/// An open camera that is streaming.
pub struct V4lCamera {
    path: PathBuf,
    /// `None` once lost.
    stream: Option<Stream<'static>>,
    layout: Layout,
    started: Instant,
    counter: FrameCounter,
    pace: Pace,
}

/// What is asked of a camera, which may give something else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames a second.
    pub fps: f32,
    /// Frames above this rate are dropped undecoded.
    pub max_fps: Option<f32>,
    /// Only this pixel format; none: the best of those offered.
    pub format: Option<PixelFormat>,
    /// What its controls are set to.
    pub controls: ControlOptions,
}

impl V4lCamera {
    /// Opens a video device in the format that best offers the wanted size and rate, at what its driver
    /// makes of those, sets its
    /// controls, and waits for its first frame, which is thrown away: webcams and loopback devices
    /// start with a torn or stale one.
    ///
    /// # Errors
    ///
    /// [`CameraError::Open`], with a way out: no such device, no permission, in use, no camera,
    /// raw sensor data only, no format that this program reads or not the one that is wanted, or no
    /// frame within 5 s.
    pub fn open(path: &Path, wanted: &Wanted) -> Result<Self, CameraError> {
        panic::catch_unwind(AssertUnwindSafe(|| Self::try_open(path, *wanted)))
            .unwrap_or_else(|_| Err(CANT_TAKE.into()))
            .map_err(|why| CameraError::Open { source_name: path.to_owned(), why })
    }

    fn try_open(path: &Path, wanted: Wanted) -> Result<Self, String> {
        let device = Device::with_path(path).map_err(|error| open_failure(&error))?;
        let layout = set_up(&device, wanted)?;
        log::info!("{}: {layout:?}", path.display());
        controls::apply(&device, path, &wanted.controls);

        let stream = Stream::with_buffers(&device, buffer::Type::VideoCapture, BUFFERS)
            .map_err(|error| start_failure(&error))?;
        let counter = FrameCounter::default();
        // From here on, `drop` sees to the stream.
        let mut camera = Self {
            path: path.to_owned(),
            stream: Some(stream),
            layout,
            started: Instant::now(),
            counter,
            pace: Pace::new(wanted.max_fps),
        };
        let stream = camera.stream.as_mut().expect("it was just put there");
        stream.set_timeout(FIRST_FRAME_TIMEOUT);
        let (_, first) = CaptureStream::next(stream).map_err(|error| start_failure(&error))?;
        camera.counter = FrameCounter { driver: first.sequence, next: 0 };
        camera.started = Instant::now();
        Ok(camera)
    }

    /// The format that its pictures come in.
    pub fn format(&self) -> PixelFormat {
        self.layout.format
    }

    /// Waits for a frame that is not too many, and decodes it.
    fn capture(&mut self) -> Result<Frame, CaptureFailure> {
        let stream = self.stream.as_mut().ok_or(CaptureFailure::Closed)?;
        let (buffer, metadata, sequence, arrived) = loop {
            wait_for_frame(stream)?;
            let (buffer, metadata) = CaptureStream::next(stream)?;
            let sequence = self.counter.count(metadata.sequence);
            let arrived = Instant::now();
            if self.pace.wants(arrived.duration_since(self.started)) {
                break (buffer, metadata, sequence, arrived);
            }
        };
        let image = decode(self.layout, buffer, metadata)
            .map_err(|why| CaptureFailure::Broken { sequence, why })?;
        let time = arrived.duration_since(self.started);
        Ok(Frame { sequence, time, decode_time: arrived.elapsed(), image })
    }
}

impl Camera for V4lCamera {
    fn next_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        let source_name = self.path.clone();
        self.capture().map(Some).map_err(|failure| match failure {
            CaptureFailure::Broken { sequence, why } => {
                CameraError::BrokenFrame { source_name, sequence, why }
            }
            lost => {
                self.close();
                CameraError::Lost { source_name, why: lost.to_string() }
            }
        })
    }
}

impl V4lCamera {
    fn close(&mut self) {
        let Some(mut stream) = self.stream.take() else { return };
        match stream.stop() {
            Err(error) if error.raw_os_error() != Some(ENODEV) => {
                log::warn!(
                    "{}: can't stop the camera, so its buffers stay: {error}",
                    self.path.display()
                );
                mem::forget(stream);
            }
            _ => drop(stream),
        }
    }
}

impl Drop for V4lCamera {
    fn drop(&mut self) {
        self.close();
    }
}

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
enum CaptureFailure {
    #[error("frame {sequence}: {why}")]
    Broken { sequence: u64, why: String },
    #[error("no picture came within {} s: is the cable loose?", FRAME_TIMEOUT.as_secs())]
    Silent,
    #[error("the camera is gone: was it unplugged? ({0})")]
    Device(#[from] io::Error),
    #[error("it was lost before; open it again")]
    Closed,
}

/// Waits until the driver has a frame, or bad news that `Stream::next` will tell.
fn wait_for_frame(stream: &Stream) -> Result<(), CaptureFailure> {
    let handle = stream.handle();
    let deadline = Instant::now() + FRAME_TIMEOUT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, so that the last millisecond is not spent spinning.
        let left_ms = i32::try_from(left.as_millis() + 1).expect("the timeout is some seconds");
        match handle.poll(POLLIN, left_ms) {
            Ok(0) => return Err(CaptureFailure::Silent),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted && !left.is_zero() => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn decode(
    layout: Layout,
    buffer: &[u8],
    metadata: &Metadata,
) -> Result<crate::image::Grey, String> {
    if metadata.flags.contains(buffer::Flags::ERROR) {
        return Err("the driver marks it as corrupt".into());
    }
    layout.decode(&buffer[..buffer.len().min(metadata.bytesused as usize)])
}

/// The driver's 32-bit frame numbers, made to count up from 0 whatever the driver does.
#[derive(Default)]
struct FrameCounter {
    /// The driver's last number.
    driver: u32,
    /// Ours for the frame after that.
    next: u64,
}

impl FrameCounter {
    /// The number of a frame by its driver's. A driver that doesn't count, or starts again, is
    /// taken to have dropped nothing.
    fn count(&mut self, driver: u32) -> u64 {
        let step = driver.wrapping_sub(self.driver);
        let dropped = if step == 0 || step > u32::MAX / 2 { 0 } else { u64::from(step - 1) };
        let sequence = self.next + dropped;
        *self = Self { driver, next: sequence + 1 };
        sequence
    }
}

/// Sets format and rate; the layout is what the driver then said.
fn set_up(device: &Device, wanted: Wanted) -> Result<Layout, String> {
    let offers = offers(device, wanted)?;
    let best = best(&offers).ok_or("it offers no pictures")?;
    let format = Format::new(wanted.width, wanted.height, best.fourcc());
    let format = device.set_format(&format).map_err(|error| start_failure(&error))?;
    let layout = Layout::from_driver(&format)?;

    // Many drivers know no rates; frames then come as they come.
    let rate = wanted.fps.min(wanted.max_fps.unwrap_or(f32::INFINITY)).round().max(1.0) as u32;
    if let Err(error) = device.set_params(&Parameters::with_fps(rate)) {
        log::debug!("the driver won't set a rate of {rate} frames per second: {error}");
    }
    Ok(layout)
}

/// A format that a camera offers.
struct Offer {
    format: PixelFormat,
    /// Whether the wanted size is offered in it, and the wanted rate at that size.
    fits: (bool, bool),
}

/// What of a device's offer this program can read. Errors are sentences.
fn offers(device: &Device, wanted: Wanted) -> Result<Vec<Offer>, String> {
    let formats = device.enum_formats().map_err(|error| error.to_string())?;
    if formats.is_empty() {
        return Err("this is no camera, or not its picture node: try the other /dev/video* \
            (`v4l2-ctl --list-devices` shows which belong together)"
            .into());
    }
    let readable = PixelFormat::ALL
        .into_iter()
        .filter(|format| formats.iter().any(|offered| offered.fourcc == format.fourcc()))
        .filter(|&format| wanted.format.is_none_or(|only| only == format));
    let offers: Vec<_> = readable
        .map(|format| Offer {
            format,
            fits: (offers_size(device, format, wanted), offers_rate(device, format, wanted)),
        })
        .collect();
    if offers.is_empty() {
        let all_raw = formats.iter().all(|offered| is_raw_bayer(offered.fourcc));
        let names: Vec<_> = formats.iter().map(|offered| offered.fourcc.to_string()).collect();
        let names = names.join(", ");
        return Err(if let Some(format) = wanted.format {
            format!("it does not offer {}, only {names}", format.fourcc())
        } else if all_raw {
            format!("it offers only raw sensor data ({names}); {CSI_HINT}")
        } else {
            let readable = PixelFormat::ALL.map(|format| format.fourcc().to_string());
            format!("it offers only {names}; this program reads {}", readable.join(", "))
        });
    }
    Ok(offers)
}

/// The format that fits size and rate best; among equals, the preferred one.
fn best(offers: &[Offer]) -> Option<PixelFormat> {
    offers.iter().min_by_key(|offer| (!offer.fits.0, !offer.fits.1, offer.format)).map(|o| o.format)
}

/// Whether a driver lists a size; one that lists nothing is given the benefit of the doubt.
fn offers_size(device: &Device, format: PixelFormat, wanted: Wanted) -> bool {
    let Wanted { width, height, .. } = wanted;
    device.enum_framesizes(format.fourcc()).map_or(true, |sizes| {
        sizes.iter().any(|size| match &size.size {
            FrameSizeEnum::Discrete(size) => (size.width, size.height) == (width, height),
            FrameSizeEnum::Stepwise(range) => {
                (range.min_width..=range.max_width).contains(&width)
                    && (range.min_height..=range.max_height).contains(&height)
            }
        })
    })
}

/// Whether a driver lists a rate at least as high; one that lists nothing gets the benefit again.
fn offers_rate(device: &Device, format: PixelFormat, wanted: Wanted) -> bool {
    let intervals = device.enum_frameintervals(format.fourcc(), wanted.width, wanted.height);
    intervals.map_or(true, |intervals| {
        intervals.iter().any(|interval| {
            let shortest = match &interval.interval {
                FrameIntervalEnum::Discrete(interval) => interval,
                FrameIntervalEnum::Stepwise(range) => &range.min,
            };
            // Slack for 29.97 frames per second where 30 are wanted.
            shortest.denominator as f32 >= shortest.numerator as f32 * wanted.fps * 0.99
        })
    })
}

/// Why a device node can't be opened, and what to do.
fn open_failure(error: &io::Error) -> String {
    match error.raw_os_error() {
        _ if error.kind() == io::ErrorKind::NotFound => {
            "no such device: is the camera plugged in? \
            `v4l2-ctl --list-devices` lists the cameras"
                .into()
        }
        Some(EACCES | EPERM) => {
            "no permission: add the user to the group video (`sudo usermod -aG \
            video $USER`) and log in again"
                .into()
        }
        Some(EBUSY) => BUSY.into(),
        _ => error.to_string(),
    }
}

const BUSY: &str = "another program is using it; `fuser -v` with its path tells which";

/// Why a camera that could be opened doesn't stream, and what to do.
fn start_failure(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(EBUSY) => BUSY.into(),
        _ if error.kind() == io::ErrorKind::TimedOut => {
            format!(
                "it gave no picture within {} s: is its source running?",
                FIRST_FRAME_TIMEOUT.as_secs()
            )
        }
        Some(ENOSPC) => {
            "there is no room for its pictures on its USB bus: ask for a smaller size or rate, \
            or plug other cameras into another bus (`lsusb -t` shows which)"
                .into()
        }
        Some(EPIPE | EINVAL) => format!("it doesn't start ({error}); {CSI_HINT}"),
        _ => format!("it doesn't start: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_count_up_whatever_the_driver_does() {
        let mut counter = FrameCounter { driver: u32::MAX - 1, next: 0 };
        assert_eq!(counter.count(u32::MAX), 0);
        assert_eq!(counter.count(1), 2, "wrapped, one dropped");
        assert_eq!(counter.count(1), 3, "a driver that doesn't count");
        assert_eq!(counter.count(0), 4, "a driver that started again");
        assert_eq!(counter.count(3), 7);
    }

    #[test]
    fn the_wanted_size_then_the_rate_then_the_cheapest_format_wins() {
        let offer = |format, size, rate| Offer { format, fits: (size, rate) };
        let slow_raw = [
            offer(PixelFormat::Yuyv, true, false),
            offer(PixelFormat::Mjpeg, true, true),
            offer(PixelFormat::Grey, false, true),
        ];
        assert_eq!(best(&slow_raw), Some(PixelFormat::Mjpeg));
        let all_fit = [offer(PixelFormat::Mjpeg, true, true), offer(PixelFormat::Uyvy, true, true)];
        assert_eq!(best(&all_fit), Some(PixelFormat::Uyvy));
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn what_is_no_camera_is_refused_with_a_way_out() {
        let wanted = Wanted {
            width: 640,
            height: 480,
            fps: 30.0,
            max_fps: None,
            format: None,
            controls: ControlOptions::default(),
        };
        let why = |path: &str| match V4lCamera::open(Path::new(path), &wanted) {
            Err(CameraError::Open { source_name, why }) => {
                assert_eq!(source_name, Path::new(path));
                why
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("{path} opened"),
        };
        assert!(why("/dev/no-such-camera").contains("plugged in"));
        assert!(why("/dev/null").contains("no camera"));
        assert!(why("/dev/nul\0").contains("can't take"), "a panic of the crate is caught");
    }

    #[test]
    fn failures_name_the_way_out() {
        let denied = open_failure(&io::Error::from_raw_os_error(EACCES));
        assert!(denied.contains("group video"), "{denied}");
        let busy = start_failure(&io::Error::from_raw_os_error(EBUSY));
        assert!(busy.contains("another program"), "{busy}");
        let silent = start_failure(&io::Error::from(io::ErrorKind::TimedOut));
        assert!(silent.contains("5 s"), "{silent}");
        let unlinked = start_failure(&io::Error::from_raw_os_error(EPIPE));
        assert!(unlinked.contains("v4l2loopback"), "{unlinked}");
        let crowded = start_failure(&io::Error::from_raw_os_error(ENOSPC));
        assert!(crowded.contains("USB bus"), "{crowded}");
        let other = start_failure(&io::Error::from_raw_os_error(5));
        assert!(!other.contains("v4l2loopback"), "{other}");
    }
}
