//! One piece of memory for all activations, places reused as soon as their value has been read for the
//! last time.

use std::ops::{Deref, DerefMut, Range};

/// Bytes of a cache line; places begin at one.
pub const LINE: usize = 64;

/// Bytes that begin at a cache line.
pub struct Memory {
    bytes: Vec<u8>,
    start: usize,
}

impl Memory {
    /// `len` zeros.
    pub fn new(len: usize) -> Self {
        let bytes = vec![0u8; len + LINE - 1];
        // An offset that can't be told (`usize::MAX`) costs speed, nothing else.
        let start = bytes.as_ptr().align_offset(LINE).min(LINE - 1);
        Self { bytes, start }
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..][..self.bytes.len() + 1 - LINE]
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.bytes.len() + 1 - LINE;
        &mut self.bytes[self.start..][..len]
    }
}

/// Gives places to values in the order in which they are computed.
#[derive(Default)]
pub struct Allocator {
    /// Places taken, in order.
    taken: Vec<Range<usize>>,
    /// The most that was ever needed.
    pub len: usize,
}

impl Allocator {
    /// The first gap of this many bytes, a multiple of [`LINE`].
    pub fn take(&mut self, len: usize) -> usize {
        let mut start = 0;
        let mut index = 0;
        for place in &self.taken {
            if start + len <= place.start {
                break;
            }
            start = place.end;
            index += 1;
        }
        self.taken.insert(index, start..start + len);
        self.len = self.len.max(start + len);
        start
    }

    /// Gives back the place that begins at `start`.
    pub fn give_back(&mut self, start: usize) {
        self.taken.retain(|place| place.start != start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_used_again() {
        let mut places = Allocator::default();
        assert_eq!([places.take(128), places.take(64), places.take(64)], [0, 128, 192]);
        places.give_back(0);
        assert_eq!([places.take(64), places.take(128), places.take(64)], [0, 256, 64]);
        assert_eq!(places.len, 384);
    }

    #[test]
    fn memory_begins_at_a_line() {
        let memory = Memory::new(100);
        assert_eq!((memory.len(), memory.as_ptr().align_offset(LINE)), (100, 0));
    }
}
