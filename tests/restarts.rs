//! Promise: a camera that is opened anew again and again leaves no thread and no descriptor behind.
//! Alone in its program, whose threads and descriptors it counts.

use std::fs::{self, File};
use std::thread;
use std::time::Duration;

use mien::camera::{Camera, CameraError, Frame};
use mien::image::Grey;
use mien::kiosk::mailbox::{Arrival, Mailbox};

const RESTARTS: u32 = 1000;
/// The kernel may list a thread for a moment after it was waited for.
const LOOKS: u32 = 1000;
const LONG: Duration = Duration::from_secs(60);

/// Holds a descriptor as a device does; gives two frames, then is lost.
struct Fake {
    _device: File,
    frames: u64,
}

impl Fake {
    fn open() -> Result<Self, CameraError> {
        let device = File::open("/dev/null");
        let refuse = |error: std::io::Error| CameraError::Open {
            source_name: "fake".into(),
            why: error.to_string(),
        };
        Ok(Self { _device: device.map_err(refuse)?, frames: 0 })
    }
}

impl Camera for Fake {
    fn next_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        self.frames += 1;
        if self.frames > 2 {
            return Err(CameraError::Lost { source_name: "fake".into(), why: "unplugged".into() });
        }
        let (time, decode_time) = (Duration::ZERO, Duration::ZERO);
        Ok(Some(Frame { sequence: self.frames, time, decode_time, image: Grey::zeros((48, 64)) }))
    }
}

/// Threads and descriptors of this program.
fn held() -> (usize, usize) {
    let entries = |folder| fs::read_dir(folder).unwrap().count();
    (entries("/proc/self/task"), entries("/proc/self/fd"))
}

/// Opens the camera and sees it lost.
fn restart() {
    let mailbox = Mailbox::live(Fake::open);
    loop {
        match mailbox.next(LONG) {
            Arrival::Frame { .. } => {}
            Arrival::Lost(_) => break,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_thousand_restarts_leave_nothing_behind() {
    restart();
    let before = held();
    for _ in 0..RESTARTS {
        restart();
    }
    let mut after = held();
    for _ in 0..LOOKS {
        if after == before {
            break;
        }
        thread::sleep(Duration::from_millis(1));
        after = held();
    }
    assert_eq!(after, before, "threads and descriptors");
    // What would be seen of one that stays.
    let _stays = Fake::open().unwrap();
    assert_eq!(held().1, before.1 + 1);
}
