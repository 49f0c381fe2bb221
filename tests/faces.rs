//! Faces are found: in recorded rooms, and in the bundled clip where its script says.

mod common;

use std::path::Path;
use std::time::Duration;

use mien::camera::Camera;
use mien::camera::replay::Replay;
use mien::face::crop::TRAINING_FRAMING;
use mien::face::detector::{Detector, DetectorOptions};
use mien::image::Rect;

/// Every this many frames of a recorded clip is enough.
const STRIDE: u64 = 4;

/// Intersection over union from which a face counts as found, as in PASCAL VOC. The detector's
/// boxes vary in size from frame to frame, most while a mouth opens or closes.
const FOUND_OVERLAP: f32 = 0.5;
/// What half of the frames must exceed, or crops would not be framed as in training.
const TYPICAL_OVERLAP: f32 = 0.75;

/// Number of faces found in each of some frames of a clip.
fn counts(clip: &Path) -> Vec<usize> {
    let mut detector = Detector::new(DetectorOptions::default()).unwrap();
    let mut replay = Replay::open(clip, 10.0).unwrap();
    let mut counts = Vec::new();
    while let Some(frame) = replay.next_frame().unwrap() {
        if frame.sequence % STRIDE == 0 {
            counts.push(detector.detect(&frame.image).len());
        }
    }
    counts
}

#[test]
fn one_person_is_found_in_nearly_every_frame_and_nobody_else() {
    let Some(shared) = common::shared_data() else { return };
    let counts = counts(&shared.join("data/clips/one_face_640.mjpeg"));
    let right = counts.iter().filter(|&&n| n == 1).count();
    assert!(counts.len() == 20 && right >= 19, "{counts:?}");
}

#[test]
fn several_people_are_found_in_a_classroom() {
    let Some(shared) = common::shared_data() else { return };
    let counts = counts(&shared.join("data/clips/classroom_848.mjpeg"));
    // Most are turned away or look down; the cascade is for frontal faces.
    let found: usize = counts.iter().sum();
    assert!(counts.len() == 20 && found >= 30, "{counts:?}");
    assert!(counts.iter().any(|&n| n >= 3), "{counts:?}");
}

/// As in `models/demo.toml`.
#[derive(serde::Deserialize)]
struct Script {
    frames_per_second: f32,
    frames: usize,
    shown: Vec<Shown>,
}

#[derive(serde::Deserialize)]
struct Shown {
    from_s: f32,
    to_s: f32,
    start: Square,
    end: Square,
}

#[derive(serde::Deserialize)]
struct Square {
    x: f32,
    y: f32,
    side: f32,
}

impl Shown {
    /// The square that frames the face as in training.
    fn frame_at(&self, time: f32) -> Rect {
        let share = (time - self.from_s) / (self.to_s - self.from_s);
        let mix = |a: f32, b: f32| a + (b - a) * share;
        let side = mix(self.start.side, self.end.side);
        let (x, y) = (mix(self.start.x, self.end.x), mix(self.start.y, self.end.y));
        Rect { x: x - side / 2.0, y: y - side / 2.0, w: side, h: side }
    }

    fn is_on(&self, time: Duration) -> bool {
        (self.from_s..self.to_s).contains(&time.as_secs_f32())
    }
}

#[test]
fn the_bundled_clips_faces_are_found_where_its_script_says() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let script = std::fs::read_to_string(models.join("demo.toml")).unwrap();
    let script: Script = toml::from_str(&script).unwrap();
    let mut replay = Replay::open(&models.join("demo.mjpeg"), script.frames_per_second).unwrap();
    let mut detector = Detector::new(DetectorOptions::default()).unwrap();
    let mut overlaps = Vec::new();
    let mut frames = 0;
    let mut without_faces = 0;
    while let Some(frame) = replay.next_frame().unwrap() {
        let found = detector.detect(&frame.image);
        for shown in script.shown.iter().filter(|shown| shown.is_on(frame.time)) {
            let expected = shown.frame_at(frame.time.as_secs_f32());
            let overlap = |rect| TRAINING_FRAMING.around(rect).iou(&expected);
            let best = found.iter().map(|f| overlap(f.rect)).fold(0.0, f32::max);
            assert!(best > FOUND_OVERLAP, "{:?}: best overlap {best} of {found:?}", frame.time);
            overlaps.push(best);
        }
        frames += 1;
        without_faces += usize::from(found.is_empty());
    }
    overlaps.sort_by(f32::total_cmp);
    let median = overlaps[overlaps.len() / 2];
    assert!(median > TYPICAL_OVERLAP, "median overlap {median}");
    assert_eq!(frames, script.frames);
    assert!((10..=20).contains(&without_faces), "{without_faces} frames without a face");
}
