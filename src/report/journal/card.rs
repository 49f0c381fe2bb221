//! What the journal costs the card.

use std::ops::Range;

/// What file systems write at least: data comes and goes in whole blocks.
const BLOCK: u64 = 4096;
/// Blocks that ext4 writes besides the data when a file that has grown is synced: its journal's
/// descriptor, the inode, and the commit. An estimate.
const METADATA_BLOCKS: u64 = 3;

/// Writes counted since the journal was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes of records and segment headers handed to the kernel.
    pub bytes: u64,
    /// Syncs that had something to write.
    pub syncs: u64,
    /// Blocks of 4 KiB that these syncs made the card write: those their bytes lie in, rewritten
    /// whole, and an estimated 3 of the file system's own.
    pub blocks: u64,
}

impl Written {
    /// Bytes were handed to the kernel.
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// This part of a file was synced.
    pub(super) fn add_sync(&mut self, part: &Range<u64>) {
        if !part.is_empty() {
            self.syncs += 1;
            self.blocks += part.end.div_ceil(BLOCK) - part.start / BLOCK + METADATA_BLOCKS;
        }
    }

    /// Bytes of the blocks.
    pub fn block_bytes(&self) -> u64 {
        self.blocks * BLOCK
    }
}
