//! How capture, detection and classification share the CPU's cores.

use std::num::NonZero;
use std::thread;

/// The cores that the process may use.
#[derive(Clone, Copy, Debug)]
pub struct Cores(usize);

impl Cores {
    /// Those of this machine that the system lets the process use.
    pub fn available() -> Self {
        Self(thread::available_parallelism().map_or(1, NonZero::get))
    }

    /// Threads that classify faces, the caller's among them: all but one core, where capture decodes.
    pub fn classifying(self) -> usize {
        (self.0 - 1).max(1)
    }

    /// Whether faces of the next frame are looked for while so many of this one are classified, so that
    /// these, the finder and capture have cores of their own. A room of faces keeps all cores busy, and a
    /// frame found early would only be older when its turn comes.
    pub fn find_beside(self, faces: usize) -> bool {
        faces + 2 <= self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_threads_capture_find_and_classify_than_there_are_cores() {
        for cores in 2..=64 {
            let shared = Cores(cores);
            for faces in 0..100 {
                // A face dealt out by its rows takes all of these threads but the caller's.
                let by_rows = if faces > 0 { shared.classifying() - 1 } else { 0 };
                let classify = faces.min(shared.classifying()).max(by_rows);
                let (capture, find) = (1, usize::from(shared.find_beside(faces)));
                assert!(capture + find + classify <= cores, "{faces} faces on {cores} cores");
            }
        }
    }
}
