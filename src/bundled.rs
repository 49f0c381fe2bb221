//! What the programs carry inside themselves, compressed by `build.rs`: 1.6 of 2.0 MB.

use miniz_oxide::inflate::decompress_to_vec;

macro_rules! inflated {
    ($file:literal) => {
        inflate(include_bytes!(concat!(env!("OUT_DIR"), "/", $file)))
    };
}

/// The int8 network; see its card in `models/`.
pub fn model() -> Vec<u8> {
    inflated!("mien-slim.tflite")
}

/// Mean faces that move and change, as motion JPEG; `models/demo.toml` says what they show when.
pub fn clip() -> Vec<u8> {
    inflated!("demo.mjpeg")
}

/// The cascade of face detection, as SeetaFace published it (BSD-2-Clause, see beside it). The crate
/// `rustface` carries it as a file but gives no access to it.
pub(crate) fn cascade() -> Vec<u8> {
    words(&inflated!("seeta_fd_frontal_v1.0.bin"))
}

/// Words of four bytes, of which `by_place` has all first bytes, then all second ones, and so on.
fn words(by_place: &[u8]) -> Vec<u8> {
    let mut words = vec![0; by_place.len()];
    for (place, bytes) in by_place.chunks_exact(words.len() / 4).enumerate() {
        for (word, &byte) in words.chunks_exact_mut(4).zip(bytes) {
            word[place] = byte;
        }
    }
    words
}

fn inflate(compressed: &[u8]) -> Vec<u8> {
    decompress_to_vec(compressed).expect("`build.rs` compressed it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_come_out_as_they_went_in() {
        assert!(model() == include_bytes!("../models/mien-slim.tflite"));
        assert!(clip() == include_bytes!("../models/demo.mjpeg"));
        assert!(cascade() == include_bytes!("../models/seeta_fd_frontal_v1.0.bin"));
    }
}
