//! Compresses what the programs carry inside themselves; `src/bundled.rs` takes it from there.

use std::path::Path;
use std::{env, fs, io};

use miniz_oxide::deflate::compress_to_vec;

const FILES: [&str; 3] = ["mien-slim.tflite", CASCADE, "demo.mjpeg"];
/// Floats, most of it.
const CASCADE: &str = "seeta_fd_frontal_v1.0.bin";
/// The most that zlib knows.
const LEVEL: u8 = 9;

fn main() -> io::Result<()> {
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    println!("cargo::rerun-if-changed=build.rs");
    for file in FILES {
        let path = Path::new("models").join(file);
        println!("cargo::rerun-if-changed={}", path.display());
        let mut bytes = fs::read(path)?;
        if file == CASCADE {
            bytes = by_place(&bytes);
        }
        fs::write(Path::new(&out).join(file), compress_to_vec(&bytes, LEVEL))?;
    }
    Ok(())
}

/// The first byte of each word of four, then all second ones, and so on. Floats compress better so: their
/// exponents, much alike, are together.
fn by_place(words: &[u8]) -> Vec<u8> {
    assert!(words.len().is_multiple_of(4));
    (0..4).flat_map(|place| words.iter().skip(place).step_by(4)).copied().collect()
}
