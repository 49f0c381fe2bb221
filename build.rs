//! Compresses what the programs carry inside themselves; `src/bundled.rs` takes it from there.

use std::path::Path;
use std::{env, fs, io};

const FILES: [&str; 3] = ["mien-slim.tflite", "seeta_fd_frontal_v1.0.bin", "demo.mjpeg"];
/// The most that zlib knows.
const LEVEL: u8 = 9;

fn main() -> io::Result<()> {
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    println!("cargo::rerun-if-changed=build.rs");
    for file in FILES {
        let path = Path::new("models").join(file);
        println!("cargo::rerun-if-changed={}", path.display());
        let compressed = miniz_oxide::deflate::compress_to_vec(&fs::read(path)?, LEVEL);
        fs::write(Path::new(&out).join(file), compressed)?;
    }
    Ok(())
}
