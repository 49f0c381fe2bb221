//! A picture is classified without allocating, in little memory: all is laid out before.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

use mien::engine::Model;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    /// Bytes that are allocated, and the most that ever were.
    static BYTES: Cell<[isize; 2]> = const { Cell::new([0; 2]) };
}

fn count_bytes(more: isize) {
    let [now, most] = BYTES.get();
    BYTES.set([now + more, most.max(now + more)]);
}

/// The system's allocator, which counts a thread's calls.
struct Counting;

// SAFETY: it passes every call on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        count_bytes(layout.size() as isize);
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count_bytes(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations while it runs so many pictures.
fn allocations(model: &Model, pictures: usize) -> usize {
    let codes = vec![7; pictures * model.input_len()];
    let before = ALLOCATIONS.get();
    model.run_raw(&codes).unwrap();
    ALLOCATIONS.get() - before
}

/// Of all faces of a full room, on one thread of the four that a Raspberry Pi has.
#[test]
fn thirty_faces_take_less_than_a_megabyte() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mien-slim.tflite");
    let model = Model::read(&file).unwrap();
    let codes = vec![7; 30 * model.input_len()];
    let [before, _] = BYTES.get();
    BYTES.set([before; 2]);
    model.run_raw(&codes).unwrap();
    let [_, most] = BYTES.get();
    // The thread's memory is there since the start.
    let taken = model.workspace_bytes() + (most - before) as usize;
    assert!(taken < 1 << 20, "{taken} bytes");
}

#[test]
fn only_the_answers_are_allocated() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mien-slim.tflite");
    let model = Model::read(&file).unwrap();
    assert!(model.is_planned());
    // The first call may take the thread's memory.
    allocations(&model, 1);
    assert_eq!([1, 2, 30].map(|pictures| allocations(&model, pictures)), [1; 3]);
}
