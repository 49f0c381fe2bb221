//! Capture in a thread of its own: the newest frame of a camera wins when the CPU is late, a recording
//! waits.

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::camera::{Camera, CameraError, Frame};

/// First wait before a lost camera is opened again; each failure doubles it.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// Longest wait between two tries: a camera plugged in again is back within half a minute.
const LAST_RETRY: Duration = Duration::from_secs(30);
/// A camera that gives only broken frames for so long, and so many of them, is as good as lost: its cable
/// is loose, or it gives another picture size than it said.
const BROKEN_PATIENCE: Duration = Duration::from_secs(2);
const BROKEN_FRAMES: u32 = 5;
/// At the end, a camera may take so long to return from the frame it waits for.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(1);

/// What a source brought, its frames as `T`.
#[derive(Debug)]
pub enum Arrival<T = Frame> {
    /// A frame, and how many before it were dropped because nobody fetched them in time.
    Frame { frame: T, late: u64 },
    /// So many frames since the last call could not be decoded; the latest one's reason.
    Broken { count: u64, latest: CameraError },
    /// The camera is gone; it is being opened again.
    Lost(CameraError),
    /// Nothing within the time allowed.
    Nothing,
    /// The source has ended, or failed for good.
    End(Option<CameraError>),
}

impl<T> Arrival<T> {
    /// The same, with another kind of frame.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Arrival<U> {
        match self {
            Self::Frame { frame, late } => Arrival::Frame { frame: change(frame), late },
            Self::Broken { count, latest } => Arrival::Broken { count, latest },
            Self::Lost(error) => Arrival::Lost(error),
            Self::Nothing => Arrival::Nothing,
            Self::End(error) => Arrival::End(error),
        }
    }

    /// As if a thread's work had failed for good: it panicked.
    pub fn panicked(thread: &str) -> Self {
        let why = "panicked; see the message above".into();
        Self::End(Some(CameraError::Lost { source_name: PathBuf::from(thread), why }))
    }
}

/// A camera captured by a thread into a slot that holds its newest frame.
#[derive(Debug)]
pub struct Mailbox {
    shared: Arc<Shared>,
    is_recording: bool,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    slot: Mutex<Slot>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Slot {
    frame: Option<Frame>,
    late: u64,
    broken: Option<(u64, CameraError)>,
    lost: Option<CameraError>,
    /// Capture is over, for this reason if it failed.
    end: Option<Option<CameraError>>,
    closed: bool,
}

impl Mailbox {
    /// Captures a live camera. If it can't be opened or is lost, `open` is tried again with growing
    /// pauses until it succeeds. Frames are stamped with the time since this call.
    pub fn live<C: Camera>(open: impl FnMut() -> Result<C, CameraError> + Send + 'static) -> Self {
        Self::spawn(false, move |shared| shared.capture_live(open))
    }

    /// Plays a replay at its nominal rate, as a camera would give it.
    pub fn paced(replay: impl Camera + 'static) -> Self {
        Self::spawn(false, move |shared| shared.capture_replay(replay, Shared::sleep_until))
    }

    /// Reads a recording as fast as its frames are fetched; none is dropped.
    pub fn recording(replay: impl Camera + 'static) -> Self {
        Self::spawn(true, move |shared| {
            shared.capture_replay(replay, |shared, _| shared.sleep_full())
        })
    }

    /// `capture` gives the reason if the source failed for good.
    fn spawn(
        is_recording: bool,
        capture: impl FnOnce(&Shared) -> Option<CameraError> + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            start: Instant::now(),
            slot: Mutex::default(),
            changed: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let end = capture(&theirs);
            theirs.post(|slot| slot.end = Some(end));
        });
        Self { shared, is_recording, thread: Some(thread) }
    }

    /// Whether it waits for its frames to be fetched; a camera does not.
    pub fn is_recording(&self) -> bool {
        self.is_recording
    }

    /// When capture started: the clock of a camera's frames.
    pub fn start(&self) -> Instant {
        self.shared.start
    }

    /// The next arrival, waiting up to `patience`.
    pub fn next(&self, patience: Duration) -> Arrival {
        let deadline = Instant::now() + patience;
        let mut slot = self.shared.lock();
        loop {
            if let Some(arrival) = slot.take() {
                self.shared.changed.notify_all();
                return arrival;
            }
            if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                return Arrival::panicked("capture thread");
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Arrival::Nothing;
            }
            let waited = self.shared.changed.wait_timeout(slot, left);
            slot = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Mailbox {
    /// Ends the thread if its camera returns soon from the frame it waits for. A driver or a pipe that
    /// hangs must not hold up the program: the thread then ends later, or with the program.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        let Some(thread) = self.thread.take() else { return };
        let deadline = Instant::now() + GOODBYE_PATIENCE;
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                log::info!("the source does not answer; it is left as it is");
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        if thread.join().is_err() {
            log::error!("the capture thread had panicked");
        }
    }
}

impl Slot {
    /// Trouble is told before the frame that came after it.
    fn take(&mut self) -> Option<Arrival> {
        if let Some((count, latest)) = self.broken.take() {
            return Some(Arrival::Broken { count, latest });
        }
        if let Some(error) = self.lost.take() {
            return Some(Arrival::Lost(error));
        }
        if let Some(frame) = self.frame.take() {
            return Some(Arrival::Frame { frame, late: std::mem::take(&mut self.late) });
        }
        self.end.take().map(Arrival::End)
    }

    fn put(&mut self, frame: Frame) {
        self.late += u64::from(self.frame.replace(frame).is_some());
    }

    /// A frame not fetched yet came before, and is no longer true.
    fn put_lost(&mut self, error: CameraError) {
        self.late += u64::from(self.frame.take().is_some());
        self.lost = Some(error);
    }

    fn put_broken(&mut self, error: CameraError) {
        let count = self.broken.take().map_or(0, |(count, _)| count);
        self.broken = Some((count + 1, error));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        // A panic elsewhere leaves the slot whole: each change to it is a single assignment.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the slot and wakes the reader; whether capture should go on.
    fn post(&self, change: impl FnOnce(&mut Slot)) -> bool {
        let mut slot = self.lock();
        change(&mut slot);
        self.changed.notify_all();
        !slot.closed
    }

    /// Waits until `due` after the start; whether capture should go on.
    fn sleep_until(&self, due: Duration) -> bool {
        let mut slot = self.lock();
        while !slot.closed {
            let left = due.saturating_sub(self.start.elapsed());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(slot, left);
            slot = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !slot.closed
    }

    /// Waits until what is in the slot was fetched; whether capture should go on.
    fn sleep_full(&self) -> bool {
        let is_full =
            |slot: &mut Slot| !slot.closed && (slot.frame.is_some() || slot.broken.is_some());
        let waited = self.changed.wait_while(self.lock(), is_full);
        !waited.unwrap_or_else(PoisonError::into_inner).closed
    }

    /// `wait` returns when it is time for the frame of a time, and whether capture should go on.
    fn capture_replay(
        &self,
        mut replay: impl Camera,
        wait: impl Fn(&Self, Duration) -> bool,
    ) -> Option<CameraError> {
        let mut time = Duration::ZERO;
        loop {
            let go_on = match replay.next_frame() {
                Ok(Some(frame)) => {
                    time = frame.time;
                    wait(self, time) && self.post(|slot| slot.put(frame))
                }
                Ok(None) => return None,
                Err(error @ CameraError::BrokenFrame { .. }) => {
                    wait(self, time) && self.post(|slot| slot.put_broken(error))
                }
                Err(error) => return Some(error),
            };
            if !go_on {
                return None;
            }
        }
    }

    fn capture_live<C: Camera>(
        &self,
        mut open: impl FnMut() -> Result<C, CameraError>,
    ) -> Option<CameraError> {
        let mut pause = FIRST_RETRY;
        loop {
            // Crate v4l panics on answers of a driver that it does not expect.
            let lost = panic::catch_unwind(AssertUnwindSafe(|| {
                open().map_or_else(Some, |camera| self.capture_until_lost(camera, &mut pause))
            }));
            let lost = lost.unwrap_or_else(|_| {
                let source_name = PathBuf::from("camera");
                let why = "capture panicked; see the message above".into();
                Some(CameraError::Lost { source_name, why })
            });
            // Without a reason, the mailbox was closed.
            let error = lost?;
            if !self.post(|slot| slot.put_lost(error))
                || !self.sleep_until(self.start.elapsed() + pause)
            {
                return None;
            }
            pause = (pause * 2).min(LAST_RETRY);
        }
    }

    /// Captures until the camera is lost (the reason) or the mailbox closed (`None`). A frame
    /// resets the retry `pause`.
    fn capture_until_lost(
        &self,
        mut camera: impl Camera,
        pause: &mut Duration,
    ) -> Option<CameraError> {
        let (mut last_good, mut broken) = (Instant::now(), 0);
        loop {
            let go_on = match camera.next_frame() {
                Ok(Some(mut frame)) => {
                    *pause = FIRST_RETRY;
                    (last_good, broken) = (Instant::now(), 0);
                    frame.time = self.start.elapsed();
                    self.post(|slot| slot.put(frame))
                }
                Ok(None) => {
                    let source_name = PathBuf::from("camera");
                    return Some(CameraError::Lost { source_name, why: "it ended".into() });
                }
                Err(CameraError::BrokenFrame { source_name, why, .. })
                    if broken >= BROKEN_FRAMES && last_good.elapsed() >= BROKEN_PATIENCE =>
                {
                    let why = format!("it gives only broken pictures: {why}");
                    return Some(CameraError::Lost { source_name, why });
                }
                Err(error @ CameraError::BrokenFrame { .. }) => {
                    broken += 1;
                    self.post(|slot| slot.put_broken(error))
                }
                Err(error) => return Some(error),
            };
            if !go_on {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::image::Grey;

    const LONG: Duration = Duration::from_secs(60);

    /// Gives what the test sends; is lost when the test hangs up.
    struct Scripted(Receiver<Result<Frame, CameraError>>);

    impl Camera for Scripted {
        fn next_frame(&mut self) -> Result<Option<Frame>, CameraError> {
            self.0.recv().unwrap_or_else(|_| Err(lost())).map(Some)
        }
    }

    fn lost() -> CameraError {
        CameraError::Lost { source_name: "test".into(), why: "unplugged".into() }
    }

    fn broken(sequence: u64) -> CameraError {
        CameraError::BrokenFrame { source_name: "test".into(), sequence, why: "torn".into() }
    }

    fn frame(sequence: u64) -> Frame {
        Frame {
            sequence,
            time: Duration::from_millis(sequence),
            decode_time: Duration::ZERO,
            image: Grey::zeros((2, 2)),
        }
    }

    /// A replay of a list.
    struct List<I>(I);

    impl<I: Iterator<Item = Result<Frame, CameraError>> + Send> Camera for List<I> {
        fn next_frame(&mut self) -> Result<Option<Frame>, CameraError> {
            self.0.next().transpose()
        }
    }

    #[test]
    fn the_newest_frame_wins_and_the_others_are_counted() {
        let mut slot = Slot::default();
        for sequence in 0..3 {
            slot.put(frame(sequence));
        }
        slot.put_broken(broken(3));
        slot.put_broken(broken(4));
        let Some(Arrival::Broken { count: 2, .. }) = slot.take() else { panic!("trouble first") };
        let Some(Arrival::Frame { frame, late: 2 }) = slot.take() else { panic!("the newest") };
        assert_eq!(frame.sequence, 2);
        slot.put(frame);
        assert!(matches!(slot.take(), Some(Arrival::Frame { late: 0, .. })), "counted once");
        assert!(slot.take().is_none());
    }

    #[test]
    fn a_frame_from_before_a_loss_is_not_given_after_it() {
        let mut slot = Slot::default();
        slot.put(frame(0));
        slot.put_lost(lost());
        slot.put(frame(1));
        assert!(matches!(slot.take(), Some(Arrival::Lost(_))));
        let Some(Arrival::Frame { frame, late: 1 }) = slot.take() else { panic!("the new one") };
        assert_eq!(frame.sequence, 1);
    }

    #[test]
    fn a_lost_camera_is_opened_again() {
        let (send, receive) = channel();
        let (first, gone) = channel();
        drop(first);
        let mut cameras = [Scripted(gone), Scripted(receive)].into_iter();
        let mailbox = Mailbox::live(move || cameras.next().ok_or_else(lost));
        assert!(matches!(mailbox.next(LONG), Arrival::Lost(CameraError::Lost { .. })));
        send.send(Ok(frame(7))).unwrap();
        assert!(matches!(mailbox.next(LONG), Arrival::Frame { frame, .. } if frame.sequence == 7));
        drop(send);
        assert!(matches!(mailbox.next(LONG), Arrival::Lost(_)));
    }

    #[test]
    fn a_paced_replay_ends_after_its_last_frame() {
        let list = List(vec![Err(broken(0)), Ok(frame(1))].into_iter());
        let mailbox = Mailbox::paced(list);
        let mut seen = Vec::new();
        loop {
            match mailbox.next(LONG) {
                Arrival::Broken { count, .. } => seen.push(format!("broken {count}")),
                Arrival::Frame { frame, .. } => seen.push(format!("frame {}", frame.sequence)),
                Arrival::End(None) => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(seen, ["broken 1", "frame 1"]);
    }

    #[test]
    fn a_replay_that_fails_ends_with_its_reason() {
        let mailbox = Mailbox::paced(List(vec![Err(lost())].into_iter()));
        assert!(matches!(mailbox.next(LONG), Arrival::End(Some(CameraError::Lost { .. }))));
    }

    /// Each frame is there to be fetched, however late.
    #[test]
    fn a_recording_waits_for_whoever_reads_it() {
        let mut list: Vec<_> = (0..30).map(|sequence| Ok(frame(sequence))).collect();
        list.insert(7, Err(broken(7)));
        let mailbox = Mailbox::recording(List(list.into_iter()));
        assert!(mailbox.is_recording());
        let (mut sequences, mut failed) = (Vec::new(), 0);
        loop {
            match mailbox.next(LONG) {
                Arrival::Frame { frame, late: 0 } => sequences.push(frame.sequence),
                Arrival::Broken { count, .. } => failed += count,
                Arrival::End(None) => break,
                other => panic!("{other:?}"),
            }
            thread::sleep(Duration::from_millis(2));
        }
        assert_eq!((sequences, failed), (Vec::from_iter(0..30), 1));
    }

    #[test]
    fn a_camera_of_broken_frames_only_is_lost() {
        let camera = || {
            let sleepy = std::iter::from_fn(|| {
                thread::sleep(Duration::from_millis(10));
                Some(Err(broken(0)))
            });
            Ok(List(sleepy))
        };
        let mailbox = Mailbox::live(camera);
        loop {
            match mailbox.next(LONG) {
                Arrival::Broken { .. } => {}
                Arrival::Lost(error) => {
                    break assert!(error.to_string().contains("torn"), "{error}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    struct Panics;

    impl Camera for Panics {
        fn next_frame(&mut self) -> Result<Option<Frame>, CameraError> {
            panic!("as some drivers do")
        }
    }

    #[test]
    fn a_camera_that_panics_is_opened_again() {
        let mut tries = 0;
        let open = move || {
            tries += 1;
            Ok(List(std::iter::from_fn(move || match tries {
                1 => panic!("as some drivers do"),
                _ => Some(Ok(frame(7))),
            })))
        };
        let mailbox = Mailbox::live(open);
        let Arrival::Lost(error) = mailbox.next(LONG) else { panic!("it is lost first") };
        assert!(error.to_string().contains("panicked"), "{error}");
        assert!(matches!(mailbox.next(LONG), Arrival::Frame { frame, .. } if frame.sequence == 7));
    }

    #[test]
    fn a_panic_in_a_replay_ends_capture() {
        let mailbox = Mailbox::paced(Panics);
        // The thread can't wake its reader when it panics; polling finds out.
        let end = loop {
            match mailbox.next(Duration::from_millis(10)) {
                Arrival::Nothing => {}
                arrival => break arrival,
            }
        };
        assert!(matches!(end, Arrival::End(Some(_))), "{end:?}");
    }

    #[test]
    fn dropping_it_interrupts_a_pause() {
        let far = Frame { time: Duration::from_secs(3600), ..frame(0) };
        drop(Mailbox::paced(List(vec![Ok(far)].into_iter())));
        drop(Mailbox::recording(List(vec![Ok(frame(0)), Ok(frame(1))].into_iter())));
    }

    /// As a driver may, or a pipe.
    #[test]
    fn a_source_that_hangs_does_not_hold_up_the_end() {
        let (send, receive) = channel::<Result<Frame, CameraError>>();
        drop(Mailbox::recording(Scripted(receive)));
        drop(send);
    }
}
