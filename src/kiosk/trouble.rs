//! Trouble that the service outlives, told without flooding the log.

use std::mem::{Discriminant, discriminant};
use std::time::{Duration, Instant};

use crate::camera::CameraError;

/// Least time between two warnings about broken frames.
const QUIET: Duration = Duration::from_secs(10);

/// Warns once per kind of error of one device, until it works again.
#[derive(Debug)]
pub struct Trouble<E> {
    device: &'static str,
    kinds: Vec<Discriminant<E>>,
}

impl<E: std::error::Error> Trouble<E> {
    /// No trouble yet with `device`, which names it in warnings.
    pub fn new(device: &'static str) -> Self {
        Self { device, kinds: Vec::new() }
    }

    /// Passes a success on; logs a failure of a kind not seen since the last success.
    pub fn note<T>(&mut self, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => {
                if !self.kinds.is_empty() {
                    log::info!("the {} works again", self.device);
                    self.kinds.clear();
                }
                Some(value)
            }
            Err(error) => {
                let kind = discriminant(&error);
                if !self.kinds.contains(&kind) {
                    log::warn!("the {} fails, going on without: {error}", self.device);
                    self.kinds.push(kind);
                }
                None
            }
        }
    }
}

/// Warns about broken frames, at most once every 10 s.
#[derive(Debug, Default)]
pub struct BrokenFrames {
    /// All of them.
    pub count: u64,
    unmentioned: u64,
    warned: Option<Instant>,
}

impl BrokenFrames {
    /// Counts `count` more.
    pub fn note(&mut self, count: u64, latest: &CameraError) {
        self.count += count;
        self.unmentioned += count;
        if self.warned.is_none_or(|warned| warned.elapsed() >= QUIET) {
            log::warn!("{latest}; skipped ({} since the last warning)", self.unmentioned);
            self.unmentioned = 0;
            self.warned = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_once_until_it_works_again() {
        let full = || Err::<(), _>(CameraError::Lost { source_name: "a".into(), why: "b".into() });
        let mut trouble = Trouble::new("journal");
        assert_eq!(trouble.note(full()), None);
        assert_eq!(trouble.note(full()), None);
        assert_eq!(trouble.kinds.len(), 1);
        assert_eq!(trouble.note(Ok(5).map(|_: i32| ())), Some(()));
        assert!(trouble.kinds.is_empty());
    }
}
