#![no_main]
#[path = "../readers.rs"]
mod readers;

// Panics that a reader itself catches are no finding: libFuzzer's hook would end the program there.
libfuzzer_sys::fuzz_target!(init: drop(std::panic::take_hook()), |bytes: &[u8]| {
    readers::read_journal(bytes);
});
