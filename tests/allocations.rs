//! A picture is classified without allocating: all is laid out before.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

use mien::engine::Model;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, which counts a thread's calls.
struct Counting;

// SAFETY: it passes every call on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
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

#[test]
fn only_the_answers_are_allocated() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mien-slim.tflite");
    let model = Model::read(&file).unwrap();
    assert!(model.is_planned());
    // The first call may take the thread's memory.
    allocations(&model, 1);
    assert_eq!([1, 2, 30].map(|pictures| allocations(&model, pictures)), [1; 3]);
}
