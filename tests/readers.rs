//! Files that come from elsewhere, cut short, damaged, spliced: no reader panics, asks for much more
//! memory than a whole file needs, or takes long. The readers and seeds are the fuzz targets'
//! (`tests/fuzz/`); here a fixed number of mutations runs wherever the other tests do.
#![cfg(feature = "lab")]

#[path = "fuzz/readers.rs"]
mod readers;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use readers::{READERS, Reader, seeds};

/// Mutations of each seed.
const MUTATIONS: usize = 1000;
/// Most memory that reading one of the seeds' mutations may take, in bytes. A value of a network may
/// take 64 MiB, see `float::layers::MAX_VALUE_LEN`.
const MAX_BYTES: usize = 256 << 20;
/// Most time, also on a busy machine.
const MAX_TIME: Duration = Duration::from_secs(20);

/// Counts what is allocated, and the most there ever was at once.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

impl Counting {
    fn add(bytes: usize) {
        PEAK.fetch_max(LIVE.fetch_add(bytes, Relaxed) + bytes, Relaxed);
    }
}

// SAFETY: all is left to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Changes some bytes' values, cuts the file, or puts a part of it elsewhere.
fn mutate(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let at = random.usize(0..bytes.len());
    let len = random.usize(1..=64.min(bytes.len() - at));
    match random.u8(0..8) {
        0 => bytes[at] ^= 1 << random.u8(0..8),
        1 => bytes[at] = random.u8(..),
        2 => bytes[at..at + len.min(8)].fill(0xff),
        3 => bytes[at..at + len.min(8)].fill(0),
        4 => bytes[at] = bytes[at].wrapping_add(1),
        5 => bytes.truncate(at.max(1)),
        6 => {
            let part = bytes[at..at + len].to_vec();
            let to = random.usize(0..=bytes.len() - len);
            bytes[to..to + len].copy_from_slice(&part);
        }
        _ => {
            bytes.drain(at..at + len);
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
    }
}

/// Reads one file and checks what it took.
fn read((name, _, read): Reader, from: &Path, which: usize, bytes: &[u8]) -> bool {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let started = Instant::now();
    let taken = read(bytes);
    let (time, memory) = (started.elapsed(), PEAK.load(Relaxed).saturating_sub(before));
    let what = format!("{name}, {}, mutation {which}", from.display());
    assert!(memory <= MAX_BYTES, "{what}: {memory} bytes");
    assert!(time <= MAX_TIME, "{what}: {time:?}");
    taken
}

/// One test, so that nothing else allocates meanwhile.
#[test]
fn no_file_makes_a_reader_panic_or_ask_for_much() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for reader in READERS {
        let seeds = seeds(root, reader);
        assert!(!seeds.is_empty(), "{} has no seeds", reader.0);
        let mut whole = 0;
        for seed in &seeds {
            let bytes = std::fs::read(seed).unwrap();
            whole += usize::from(read(reader, seed, 0, &bytes));
            let mut random = fastrand::Rng::with_seed(bytes.len() as u64);
            for which in 1..=MUTATIONS {
                let mut damaged = bytes.clone();
                for _ in 0..random.usize(1..5) {
                    mutate(&mut damaged, &mut random);
                }
                read(reader, seed, which, &damaged);
            }
        }
        assert!(whole > 0, "{} takes none of its seeds", reader.0);
    }
}
