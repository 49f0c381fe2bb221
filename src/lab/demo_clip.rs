//! The clip that `mien` plays without a camera: mean faces on plain grey, acting to a script.

use std::collections::BTreeSet;

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use ndarray::{Array2, s};
use serde::{Deserialize, Serialize};

use crate::expression::Expression;
use crate::face::FACE_SIDE;
use crate::image::{Grey, Rect, resample};

/// Shade of the wall behind the faces.
const WALL: u8 = 112;
/// Time from one expression to the next, and to appear and vanish.
const FADE_S: f32 = 0.5;
/// JPEG quality, of 100: the clip is carried in the program.
const JPEG_QUALITY: u8 = 80;
/// Where the soft elliptic edge starts, in radii of the ellipse that fills a face's square.
const EDGE_START: f32 = 0.8;

/// What a clip shows; it lies beside the clip as TOML.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Rate of the frames.
    pub frames_per_second: f32,
    /// Number of frames.
    pub frames: u32,
    /// Width of a frame in pixels.
    pub width: usize,
    /// Height of a frame in pixels.
    pub height: usize,
    /// What is to be seen when. Within half a second before and after, a face changes.
    pub shown: Vec<Shown>,
}

/// One face showing one expression.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// Which of the faces.
    pub face: u32,
    /// What it shows.
    pub expression: Expression,
    /// From when on, in seconds.
    pub from_s: f32,
    /// Until when, in seconds.
    pub to_s: f32,
    /// Where it is at first: the square that frames it as in training.
    pub start: Square,
    /// Where it gets, moving evenly.
    pub end: Square,
}

/// A square in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Square {
    /// Horizontal place of its centre.
    pub x: f32,
    /// Vertical place of its centre.
    pub y: f32,
    /// Its side.
    pub side: f32,
}

/// The bundled clip's script: two faces that move, then keep still, an empty wall, three faces.
/// Only expressions whose mean faces come out clear, to the eye and to the network: an angry face's
/// frown blurs away in the mean.
pub fn script() -> Script {
    use Expression::{Happy, Neutral, Sad, Surprise};
    let at = |x: f32, y: f32, side: f32| Square { x, y, side };
    let shown = |face, expression, (from_s, to_s), start, end| Shown {
        face,
        expression,
        from_s,
        to_s,
        start,
        end,
    };
    let left = at(105.0, 112.0, 120.0);
    let right = at(222.0, 124.0, 120.0);
    Script {
        frames_per_second: 10.0,
        frames: 150,
        width: 320,
        height: 240,
        shown: vec![
            shown(0, Neutral, (0.0, 2.0), at(84.0, 120.0, 120.0), at(92.0, 118.0, 120.0)),
            shown(0, Happy, (2.5, 5.0), at(94.0, 117.0, 120.0), left),
            shown(0, Happy, (5.5, 8.0), left, left),
            shown(1, Surprise, (0.0, 2.5), at(240.0, 116.0, 112.0), at(232.0, 120.0, 116.0)),
            shown(1, Sad, (3.0, 5.0), at(230.0, 121.0, 117.0), right),
            shown(1, Sad, (5.5, 8.0), right, right),
            shown(2, Sad, (10.0, 12.0), at(58.0, 92.0, 96.0), at(58.0, 100.0, 96.0)),
            shown(2, Neutral, (12.5, 15.0), at(58.0, 102.0, 96.0), at(58.0, 110.0, 96.0)),
            shown(3, Happy, (10.0, 15.0), at(160.0, 132.0, 96.0), at(164.0, 124.0, 96.0)),
            shown(4, Surprise, (10.0, 12.0), at(262.0, 92.0, 96.0), at(266.0, 98.0, 96.0)),
            shown(4, Happy, (12.5, 15.0), at(266.0, 99.0, 96.0), at(262.0, 106.0, 96.0)),
        ],
    }
}

/// Draws a clip as a motion JPEG stream; `face_of` gives the 48×48 face that shows an expression.
pub fn draw<'a>(
    script: &Script,
    face_of: impl Fn(Expression) -> &'a Grey,
) -> image::ImageResult<Vec<u8>> {
    let mut stream = Vec::new();
    for frame in 0..script.frames {
        let time = frame as f32 / script.frames_per_second;
        let picture = draw_frame(script, time, &face_of);
        let pixels: Vec<u8> = picture.into_iter().collect();
        let (width, height) = (script.width as u32, script.height as u32);
        JpegEncoder::new_with_quality(&mut stream, JPEG_QUALITY).encode(
            &pixels,
            width,
            height,
            ExtendedColorType::L8,
        )?;
    }
    Ok(stream)
}

fn draw_frame<'a>(script: &Script, time: f32, face_of: &impl Fn(Expression) -> &'a Grey) -> Grey {
    let mut picture = Grey::from_elem((script.height, script.width), WALL);
    let faces: BTreeSet<u32> = script.shown.iter().map(|shown| shown.face).collect();
    for face in faces {
        let looks: Vec<(f32, &Shown)> = script
            .shown
            .iter()
            .filter(|shown| shown.face == face)
            .map(|shown| (shown.weight(time), shown))
            .filter(|(weight, _)| *weight > 0.0)
            .collect();
        let sum: f32 = looks.iter().map(|(weight, _)| weight).sum();
        if sum <= 0.0 {
            continue;
        }
        let mut square = Square { x: 0.0, y: 0.0, side: 0.0 };
        let mut mixed = Array2::<f32>::zeros((FACE_SIDE, FACE_SIDE));
        for (weight, shown) in looks {
            let share = weight / sum;
            let at = shown.place(time);
            square.x += share * at.x;
            square.y += share * at.y;
            square.side += share * at.side;
            mixed.zip_mut_with(face_of(shown.expression), |m, &p| *m += share * f32::from(p));
        }
        paint(&mut picture, &mixed.map(|v| v.round() as u8), &square, sum.min(1.0));
    }
    picture
}

impl Shown {
    /// How much of the face's look this is: 1 in its time, fading before and after.
    fn weight(&self, time: f32) -> f32 {
        let outside = (self.from_s - time).max(time - self.to_s);
        1.0 - (outside / FADE_S).clamp(0.0, 1.0)
    }

    fn place(&self, time: f32) -> Square {
        let share = ((time - self.from_s) / (self.to_s - self.from_s)).clamp(0.0, 1.0);
        let mix = |a: f32, b: f32| a + (b - a) * share;
        let (a, b) = (&self.start, &self.end);
        Square { x: mix(a.x, b.x), y: mix(a.y, b.y), side: mix(a.side, b.side) }
    }
}

/// Paints a face into its square with an elliptic soft edge.
fn paint(picture: &mut Grey, face: &Grey, square: &Square, opacity: f32) {
    let (height, width) = picture.dim();
    let half = square.side / 2.0;
    let span = |centre: f32, size: usize| {
        let low = (centre - half).floor().clamp(0.0, size as f32) as usize;
        let high = (centre + half).ceil().clamp(0.0, size as f32) as usize;
        low..high
    };
    let (rows, columns) = (span(square.y, height), span(square.x, width));
    // The part of the face under these whole pixels.
    let unit = FACE_SIDE as f32 / square.side;
    let region = Rect {
        x: (columns.start as f32 - square.x + half) * unit,
        y: (rows.start as f32 - square.y + half) * unit,
        w: columns.len() as f32 * unit,
        h: rows.len() as f32 * unit,
    };
    let drawn = resample(face, region, rows.len(), columns.len());
    let mut target = picture.slice_mut(s![rows.clone(), columns.clone()]);
    for (((i, j), pixel), &shade) in target.indexed_iter_mut().zip(&drawn) {
        let y = ((rows.start + i) as f32 + 0.5 - square.y) / half;
        let x = ((columns.start + j) as f32 + 0.5 - square.x) / half;
        let inwards = ((1.0 - x.hypot(y)) / (1.0 - EDGE_START)).clamp(0.0, 1.0);
        let cover = opacity * inwards * inwards * (3.0 - 2.0 * inwards);
        *pixel = (f32::from(*pixel) * (1.0 - cover) + f32::from(shade) * cover).round() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(time: f32) -> Grey {
        let bright = Grey::from_elem((FACE_SIDE, FACE_SIDE), 220);
        let dark = Grey::from_elem((FACE_SIDE, FACE_SIDE), 30);
        let face_of = |e| if e == Expression::Happy { &bright } else { &dark };
        draw_frame(&script(), time, &face_of)
    }

    #[test]
    fn a_face_shows_its_expression_in_its_time_and_place() {
        for shown in script().shown {
            for time in [shown.from_s, shown.to_s - 0.05] {
                let at = shown.place(time);
                let expected = if shown.expression == Expression::Happy { 220 } else { 30 };
                assert_eq!(frame(time)[(at.y as usize, at.x as usize)], expected, "{shown:?}");
            }
        }
    }

    #[test]
    fn a_changing_face_lets_no_wall_through() {
        // Between dark neutral and bright happy.
        let half = frame(2.25)[(118, 93)];
        assert!(half.abs_diff(125) <= 1, "{half}");
    }

    #[test]
    fn the_scene_keeps_still_and_the_wall_gets_empty() {
        assert_eq!(frame(5.6), frame(7.9));
        assert_ne!(frame(4.0), frame(4.5));
        assert!(frame(9.0).iter().all(|&p| p == WALL));
    }

    #[test]
    fn faces_never_overlap_and_stay_within_the_frame() {
        let script = script();
        for tick in 0..script.frames {
            let time = tick as f32 / script.frames_per_second;
            let seen: Vec<_> = script.shown.iter().filter(|s| s.weight(time) > 0.0).collect();
            for (i, a) in seen.iter().enumerate() {
                let p = a.place(time);
                let half = p.side / 2.0;
                assert!(p.x >= half && p.x + half <= script.width as f32, "{a:?}");
                assert!(p.y >= half && p.y + half <= script.height as f32, "{a:?}");
                for b in seen[..i].iter().filter(|b| b.face != a.face) {
                    let q = b.place(time);
                    assert!((p.x - q.x).hypot(p.y - q.y) >= half + q.side / 2.0 - 3.0, "{a:?}");
                }
            }
        }
    }

    #[test]
    fn a_script_survives_toml() {
        let text = toml::to_string(&script()).unwrap();
        assert_eq!(toml::from_str::<Script>(&text).unwrap(), script());
    }
}
