//! Pictures cut from clips.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, ensure};
use mien::camera::Camera;
use mien::camera::mjpeg::{MjpegStream, Piece};
use mien::camera::replay::Replay;
use mien::image::{self, Grey};

use crate::feed;

/// A face of the bundled clip that shows one expression, by `models/demo.toml`: the frame, and the
/// face's centre and side in pixels.
struct Scene {
    expression: &'static str,
    frame: u64,
    centre: (usize, usize),
    side: usize,
}

const SCENES: [Scene; 4] = [
    Scene { expression: "neutral", frame: 10, centre: (88, 119), side: 120 },
    Scene { expression: "happy", frame: 70, centre: (105, 112), side: 120 },
    Scene { expression: "sad", frame: 70, centre: (222, 124), side: 120 },
    Scene { expression: "surprise", frame: 15, centre: (235, 118), side: 114 },
];

/// Cuts the scenes from the bundled clip; everything else in a picture is its background.
pub fn cut(clip: &Path, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let mut replay = Replay::open(clip, 10.0)?;
    let mut blank = None;
    while let Some(frame) = replay.next_frame()? {
        let empty = Grey::from_elem(frame.image.dim(), frame.image[(0, 0)]);
        for scene in SCENES.iter().filter(|scene| scene.frame == frame.sequence) {
            save(&alone(&frame.image, &empty, scene), folder, scene.expression)?;
        }
        blank.get_or_insert(empty);
    }
    save(&blank.context("the clip is empty")?, folder, "blank")
}

fn alone(image: &Grey, empty: &Grey, scene: &Scene) -> Grey {
    let mut alone = empty.clone();
    let half = scene.side / 2;
    for ((y, x), pixel) in alone.indexed_iter_mut() {
        if x.abs_diff(scene.centre.0) < half && y.abs_diff(scene.centre.1) < half {
            *pixel = image[(y, x)];
        }
    }
    alone
}

fn save(image: &Grey, folder: &Path, name: &str) -> anyhow::Result<()> {
    let (height, width) = image.dim();
    let pixels = image.iter().copied().collect();
    ::image::GrayImage::from_raw(width as u32, height as u32, pixels)
        .context("every pixel is there")?
        .save(folder.join(name).with_extension("png"))?;
    Ok(())
}

/// Writes `count` of a clip's pictures, every `one_in`-th, as they are, each followed by a dark one.
pub fn split(clip: &Path, folder: &Path, count: usize, one_in: usize) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let mut stream = MjpegStream::new(
        File::open(clip).with_context(|| format!("can't open {}", clip.display()))?,
    );
    let mut written = 0;
    let mut seen = 0;
    while written < count
        && let Some(piece) = stream.next_piece()?
    {
        if let Piece::Jpeg(jpeg) = piece
            && seen % one_in == 0
        {
            let (height, width) = image::decode(&jpeg)?.dim();
            let dark = feed::dark_jpeg(u32::try_from(width)?, u32::try_from(height)?)?;
            fs::write(folder.join(format!("{written:04}.jpg")), jpeg)?;
            fs::write(folder.join(format!("{written:04}_dark.jpg")), dark)?;
            written += 1;
        }
        seen += 1;
    }
    ensure!(written == count, "{} has only {written} such pictures", clip.display());
    Ok(())
}
