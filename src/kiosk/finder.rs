//! Faces are found in a thread of its own, while those of the frame before are read.
//!
//! It works on one frame at a time and only when it was [asked](Finder::ask): nothing queues up, and the
//! frame that it takes is the newest then.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::camera::Frame;
use crate::face::detector::{Detector, DetectorError, DetectorOptions};
use crate::image::{Grey, Rect};

use super::mailbox::{Arrival, Mailbox};
use super::night::{Night, NightOptions};
use super::reader;
use super::stages::Stage;
use super::still::{StillFilter, StillOptions};

/// Longest wait for a frame before the asker hears that there is none, or that it is looked at.
const PATIENCE: Duration = Duration::from_millis(100);

/// A frame in which faces were looked for.
#[derive(Debug)]
pub struct Found {
    /// The frame's.
    pub time: Duration,
    /// What was found.
    pub look: Look,
    /// What the stages took.
    pub took: Vec<(Stage, Duration)>,
}

/// What a look at a frame brought.
#[derive(Debug)]
pub enum Look {
    /// It was not looked at, as was asked.
    Away,
    /// It is too dark.
    Night,
    /// It shows no change.
    Still,
    /// Each face's box in pixels of the frame, and its crop; surest first.
    Faces(Vec<(Rect, Grey)>),
}

/// How to look at a frame.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Whether to look at all.
    pub look: bool,
    /// Whether also one that shows no change is looked at.
    pub afresh: bool,
}

/// How faces are looked for.
#[derive(Clone, Debug)]
pub struct FinderOptions {
    /// What the detector finds.
    pub detector: DetectorOptions,
    /// Side of the crops, pixels.
    pub side: usize,
    /// When a frame shows no change.
    pub still: StillOptions,
    /// When it is night.
    pub night: NightOptions,
}

/// Finds faces in a source's frames.
pub struct Finder {
    is_recording: bool,
    start: Instant,
    /// None: the finder is about to end.
    asks: Option<Sender<Ask>>,
    answers: Receiver<Arrival<Found>>,
    /// An answer is to come.
    asked: bool,
    thread: Option<JoinHandle<()>>,
}

impl Finder {
    /// Looks for faces in what `source` brings.
    pub fn start(source: Mailbox, options: FinderOptions) -> Result<Self, DetectorError> {
        let (asks, their_asks) = channel();
        let (their_answers, answers) = sync_channel(1);
        let (told, ready) = sync_channel(1);
        let (is_recording, start) = (source.is_recording(), source.start());
        let thread = thread::spawn(move || {
            // It has to be made where it is used.
            let made = Detector::new(options.detector);
            let detector = match made {
                Ok(detector) => detector,
                Err(error) => return drop(told.send(error)),
            };
            drop(told);
            Worker::new(detector, &options).work(&source, &their_asks, &their_answers);
        });
        if let Ok(error) = ready.recv() {
            return Err(error);
        }
        let (asks, thread) = (Some(asks), Some(thread));
        Ok(Self { is_recording, start, asks, answers, asked: false, thread })
    }

    /// Whether the source waits until its frames are asked for.
    pub fn is_recording(&self) -> bool {
        self.is_recording
    }

    /// Time since capture started, the clock of a camera's frames.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Asks for the next frame; `how` to look at it, unless it is asked for already.
    pub fn ask(&mut self, how: impl FnOnce() -> Ask) {
        if !std::mem::replace(&mut self.asked, true)
            && let Some(asks) = &self.asks
        {
            // A thread that is gone shows in the answer.
            let _ = asks.send(how());
        }
    }

    /// What was asked for, [`Arrival::Nothing`] if the source brought nothing for 100 ms; none if it is
    /// being looked at for so long.
    pub fn answer(&mut self) -> Option<Arrival<Found>> {
        match self.answers.recv_timeout(2 * PATIENCE) {
            Ok(arrival) => {
                self.asked = false;
                Some(arrival)
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Arrival::panicked("finder thread")),
        }
    }
}

impl Drop for Finder {
    /// Ends the thread once it has looked at its frame.
    fn drop(&mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the finder thread had panicked");
        }
    }
}

/// What the thread has.
struct Worker {
    detector: Detector,
    side: usize,
    still: StillFilter,
    night: Night,
}

impl Worker {
    fn new(detector: Detector, options: &FinderOptions) -> Self {
        let FinderOptions { side, still, night, .. } = options;
        let (still, night) = (StillFilter::new(still.clone()), Night::new(night.clone()));
        Self { detector, side: *side, still, night }
    }

    fn work(
        mut self,
        source: &Mailbox,
        asks: &Receiver<Ask>,
        answers: &SyncSender<Arrival<Found>>,
    ) {
        for ask in asks {
            if ask.afresh {
                self.still.forget();
            }
            let arrival = source.next(PATIENCE).map(|frame| self.find(&frame, ask.look));
            if answers.send(arrival).is_err() {
                return;
            }
        }
    }

    fn find(&mut self, frame: &Frame, look: bool) -> Found {
        let Frame { time, decode_time, ref image, .. } = *frame;
        let mut took = vec![(Stage::Decode, decode_time)];
        let look = if !look {
            Look::Away
        } else if self.night.is_night(time, image) {
            // The first frame by day is a new one.
            self.still.forget();
            Look::Night
        } else if self.still.is_still(time, image) {
            Look::Still
        } else {
            let mut note = |stage, duration| took.push((stage, duration));
            Look::Faces(reader::find(&mut self.detector, self.side, image, &mut note))
        };
        Found { time, look, took }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::{Camera, CameraError};

    /// Plain frames, of a level each.
    struct Levels(std::vec::IntoIter<u8>);

    impl Camera for Levels {
        fn next_frame(&mut self) -> Result<Option<Frame>, CameraError> {
            Ok(self.0.next().map(|level| Frame {
                sequence: 0,
                time: Duration::from_secs(1),
                decode_time: Duration::ZERO,
                image: Grey::from_elem((60, 80), level),
            }))
        }
    }

    fn finder(levels: Vec<u8>, detector: DetectorOptions) -> Result<Finder, DetectorError> {
        let options = FinderOptions {
            detector,
            side: 48,
            still: StillOptions::default(),
            night: NightOptions { after_s: 0.0, ..NightOptions::default() },
        };
        Finder::start(Mailbox::recording(Levels(levels.into_iter())), options)
    }

    /// What each way to look brings of a frame; "end" at the end.
    fn looks(levels: Vec<u8>, asks: &[Ask]) -> Vec<&'static str> {
        let mut finder = finder(levels, DetectorOptions::default()).unwrap();
        let look = |arrival| match arrival {
            Arrival::Frame { frame: Found { look, .. }, .. } => Some(match look {
                Look::Away => "away",
                Look::Night => "night",
                Look::Still => "still",
                Look::Faces(faces) if faces.is_empty() => "nobody",
                Look::Faces(_) => "somebody",
            }),
            Arrival::End(None) => Some("end"),
            _ => None,
        };
        let each = asks.iter().map(|&ask| {
            loop {
                finder.ask(|| ask);
                if let Some(look) = finder.answer().and_then(look) {
                    return look;
                }
            }
        });
        each.collect()
    }

    #[test]
    fn a_frame_is_looked_at_as_was_asked() {
        let [look, away] = [true, false].map(|look| Ask { look, afresh: false });
        let afresh = Ask { look: true, afresh: true };
        let asks = [look, look, afresh, away, look, look, look, look];
        let seen = looks(vec![90, 90, 90, 90, 90, 9, 90], &asks);
        assert_eq!(seen, ["nobody", "still", "nobody", "away", "still", "night", "nobody", "end"]);
    }

    #[test]
    fn a_detector_that_can_t_be_is_an_error_at_the_start() {
        let options = DetectorOptions { max_pixels: 1, ..DetectorOptions::default() };
        assert!(matches!(finder(Vec::new(), options), Err(DetectorError::Option { .. })));
    }

    /// One ask, one answer, however often it is repeated.
    #[test]
    fn asking_twice_asks_once() {
        let mut finder = finder(vec![90; 10], DetectorOptions::default()).unwrap();
        let ask = || Ask { look: false, afresh: false };
        let mut arrivals = 0;
        for _ in 0..3 {
            finder.ask(ask);
            finder.ask(|| panic!("asked again"));
            while finder.asked {
                arrivals += u32::from(finder.answer().is_some());
            }
        }
        assert_eq!(arrivals, 3);
    }
}
