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

    /// Threads that classify faces, the caller's among them: all but one core, which captures and finds.
    pub fn classifying(self) -> usize {
        (self.0 - 1).max(1)
    }

    /// Whether faces of the next frame are looked for while so many of this one are classified. A room of
    /// faces keeps all cores busy, and a frame found early would only be older when its turn comes.
    pub fn find_beside(self, faces: usize) -> bool {
        faces < self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_threads_find_and_classify_than_there_are_cores() {
        for cores in 1..=64 {
            let shared = Cores(cores);
            for faces in 0..100 {
                // One face may be dealt out to all threads, by its rows.
                let classify = if faces > 0 { shared.classifying() } else { 0 };
                let find = usize::from(shared.find_beside(faces));
                assert!(classify + find <= cores, "{faces} faces on {cores} cores");
            }
        }
    }
}
