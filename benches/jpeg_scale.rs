//! Does decoding a JPEG at half its size save time? At full size by zune-jpeg, luma only, as cameras'
//! frames are; against jpeg-decoder, which can transform 8×8 blocks to fewer pixels.
//!
//! `cargo run --release --example jpeg_scale [RUNS]`

use std::time::{Duration, Instant};

use anyhow::Context;
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage, imageops};
use mien::image::decode;

/// A camera's, 1080p.
const SIZE: [u32; 2] = [1920, 1080];
/// About a webcam's.
const QUALITY: u8 = 80;

fn main() -> anyhow::Result<()> {
    let runs: usize = std::env::args().nth(1).map_or(Ok(20), |runs| runs.parse())?;
    let jpeg = jpeg()?;
    let [width, height] = SIZE;
    println!("{width}×{height}, {} bytes, fastest of {runs}", jpeg.len());
    let full = fastest(runs, || decode(&jpeg).map(drop).map_err(Into::into))?;
    println!("  full size, luma, zune-jpeg  {:6.2} ms", full.as_secs_f64() * 1e3);
    for part in [1, 2, 4, 8] {
        let took = fastest(runs, || scaled(&jpeg, part))?;
        let ratio = took.as_secs_f64() / full.as_secs_f64();
        println!(
            "  1/{part} size, jpeg-decoder      {:6.2} ms, {ratio:.2} ×",
            took.as_secs_f64() * 1e3
        );
    }
    Ok(())
}

fn scaled(jpeg: &[u8], part: u16) -> anyhow::Result<()> {
    let mut decoder = jpeg_decoder::Decoder::new(jpeg);
    // As it comes, without a way through RGB.
    decoder.set_color_transform(jpeg_decoder::ColorTransform::None);
    let [width, height] = SIZE.map(|side| side as u16 / part);
    decoder.scale(width, height)?;
    decoder.decode()?;
    Ok(())
}

/// A picture with edges and some noise, in colour.
fn jpeg() -> anyhow::Result<Vec<u8>> {
    let bytes = include_bytes!("../models/demo.mjpeg");
    let first = mien::camera::mjpeg::MjpegStream::new(&bytes[..]).next_piece()?;
    let Some(mien::camera::mjpeg::Piece::Jpeg(first)) = first else {
        anyhow::bail!("the bundled clip has no first picture");
    };
    let picture = image::load_from_memory(&first).context("the bundled clip")?.to_rgb8();
    let mut large: RgbImage =
        imageops::resize(&picture, SIZE[0], SIZE[1], imageops::FilterType::Triangle);
    let mut rng = fastrand::Rng::with_seed(1);
    large.pixels_mut().for_each(|Rgb(pixel)| {
        pixel.iter_mut().for_each(|value| *value = value.saturating_add(rng.u8(..8)));
    });
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(&large)?;
    Ok(jpeg)
}

fn fastest(runs: usize, mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..runs {
        let start = Instant::now();
        work()?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}
