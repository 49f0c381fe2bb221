//! What a room of thirty faces takes in memory above a loaded network, on all of a Raspberry Pi's cores.

#[cfg(feature = "lab")]
#[expect(dead_code, reason = "benches have another network too")]
#[path = "../benches/engine/networks.rs"]
mod networks;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use mien::engine::Model;

/// Bytes that are allocated, and the most that ever were.
static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which counts bytes.
struct Counting;

// SAFETY: it passes every call on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const FACES: usize = 30;
const THREADS: usize = 4;
const ROUNDS: usize = 100;
const LIMIT: usize = 4 << 20;

fn assert_takes_little(name: &str, mut model: Model) {
    assert!(model.is_planned(), "{name}");
    let codes = vec![7; FACES * model.input_len()];
    // With the memory that the caller's thread has had since the start.
    let before = NOW.load(Ordering::Relaxed) - model.workspace_bytes();
    MOST.store(before, Ordering::Relaxed);
    model.set_threads(THREADS);
    // Often enough that a helper gets some, also where other programs want the cores.
    for _ in 0..ROUNDS {
        model.run_raw(&codes).unwrap();
    }
    let taken = MOST.load(Ordering::Relaxed) - before;
    assert!(
        taken >= THREADS * model.workspace_bytes() / 2,
        "{name}: {taken} bytes, so it ran alone"
    );
    println!("{name}: {taken} bytes");
    assert!(taken <= LIMIT, "{name}: {taken} bytes");
}

#[test]
fn thirty_faces_take_at_most_four_megabytes() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mien-slim.tflite");
    assert_takes_little("slim", Model::read(&file).unwrap());
    #[cfg(feature = "lab")]
    {
        let file = networks::quantized(networks::reference().unwrap());
        assert_takes_little("reference", Model::from_bytes("reference", &file).unwrap());
    }
}
