//! Draws what was found onto a picture: boxes, labels, bars, and a legend below.

use ::image::{Rgb, RgbImage};
use font8x8::legacy::BASIC_LEGACY;

use crate::classifier::Scores;
use crate::expression::{Expression, answer_name};
use crate::image::{Grey, Rect};

/// Pictures narrower than this are enlarged by a whole factor, so that text fits.
const MIN_WIDTH: usize = 320;
/// Text is drawn twice as large for each so many pixels of width.
const WIDTH_PER_TEXT_SCALE: u32 = 800;
/// Side of a glyph at scale 1, in pixels.
pub const GLYPH: u32 = 8;
/// Height of a full bar in glyphs.
const BAR_GLYPHS: u32 = 4;
/// Characters that a legend's entry takes: swatch, longest name, gap.
const LEGEND_CHARS: u32 = 11;

const WHITE: Rgb<u8> = Rgb([255, 255, 255]);
const BACKGROUND: Rgb<u8> = Rgb([24, 24, 28]);

/// The colour an expression is drawn in: Okabe and Ito's set, which the colour-blind can tell
/// apart.
pub fn colour(expression: Expression) -> [u8; 3] {
    match expression {
        Expression::Angry => [213, 94, 0],
        Expression::Disgust => [0, 158, 115],
        Expression::Fear => [204, 121, 167],
        Expression::Happy => [240, 228, 66],
        Expression::Sad => [0, 114, 178],
        Expression::Surprise => [86, 180, 233],
        Expression::Neutral => [170, 170, 170],
    }
}

/// `picture` in colour with each face's box, its strongest expression and, if told, gender in per cent, a
/// bar an expression below the box, and a legend under the whole. A face whose strongest
/// expression has a share below `unsure_below` is labelled "unsure", in white. Small pictures are
/// enlarged.
pub fn annotate(picture: &Grey, faces: &[(Rect, Scores)], unsure_below: f32) -> RgbImage {
    let (height, width) = picture.dim();
    let zoom = MIN_WIDTH.div_ceil(width.max(1)).max(1) as u32;
    let (width, height) = (width as u32 * zoom, height as u32 * zoom);
    let mut canvas = Canvas::new(width, height);
    for (x, y, pixel) in canvas.image.enumerate_pixels_mut().filter(|&(_, y, _)| y < height) {
        let grey = picture[[(y / zoom) as usize, (x / zoom) as usize]];
        *pixel = Rgb([grey; 3]);
    }
    for (rect, scores) in faces {
        canvas.face(Area::scaled(rect, zoom), scores, unsure_below);
    }
    canvas.legend();
    canvas.image
}

/// Column and row of each inked pixel of a line of text at scale 1. What the font does not have
/// is left blank.
pub fn ink(text: &str) -> impl Iterator<Item = (u32, u32)> {
    let glyphs = (0..).step_by(GLYPH as usize).zip(text.bytes());
    glyphs.flat_map(|(left, c)| {
        let rows = BASIC_LEGACY.get(usize::from(c)).unwrap_or(&BASIC_LEGACY[0]);
        (0..GLYPH).zip(rows).flat_map(move |(row, bits)| {
            let columns = (0..GLYPH).filter(move |column| bits >> column & 1 == 1);
            columns.map(move |column| (left + column, row))
        })
    })
}

/// A rectangle of whole pixels; it may reach over the picture's edge.
#[derive(Clone, Copy)]
struct Area {
    x: i64,
    y: i64,
    w: i64,
    h: i64,
}

impl Area {
    fn scaled(rect: &Rect, zoom: u32) -> Self {
        let scaled = |v: f32| (v * zoom as f32).round() as i64;
        Self { x: scaled(rect.x), y: scaled(rect.y), w: scaled(rect.w), h: scaled(rect.h) }
    }
}

struct Canvas {
    image: RgbImage,
    /// Height of the picture itself; the legend lies below.
    height: u32,
    /// Text scale; also the thickness of lines.
    scale: u32,
    legend_columns: u32,
}

impl Canvas {
    fn new(width: u32, height: u32) -> Self {
        let scale = width.div_ceil(WIDTH_PER_TEXT_SCALE).max(1);
        let legend_columns = (width / (LEGEND_CHARS * GLYPH * scale)).clamp(1, 7);
        let rows = 7u32.div_ceil(legend_columns);
        let legend_height = (rows + 1) * GLYPH * 3 / 2 * scale;
        let image = RgbImage::from_pixel(width, height + legend_height, BACKGROUND);
        Self { image, height, scale, legend_columns }
    }

    fn glyph(&self) -> i64 {
        i64::from(GLYPH * self.scale)
    }

    fn face(&mut self, area: Area, scores: &Scores, unsure_below: f32) {
        let answer = scores.answer(unsure_below);
        let (_, share) = scores.top_expression();
        let tint = answer.map_or(WHITE, |expression| Rgb(colour(expression)));
        self.frame(area, tint);
        let expression = format!("{} {:.0}%", answer_name(answer), share * 100.0);
        let gender = scores
            .top_gender()
            .map(|(gender, share)| format!("{} {:.0}%", gender.name(), share * 100.0));
        let line_height = self.glyph() + i64::from(2 * self.scale);
        let top = (area.y - 2 * line_height).max(0);
        for (line, y) in [Some(expression), gender].iter().flatten().zip([top, top + line_height]) {
            self.label(area.x, y, line, tint);
        }
        self.bars(area, scores);
    }

    /// Four lines, 2 × scale thick.
    fn frame(&mut self, area: Area, tint: Rgb<u8>) {
        let thick = i64::from(2 * self.scale);
        let Area { x, y, w, h } = area;
        for line in [
            Area { x, y, w, h: thick },
            Area { x, y: y + h - thick, w, h: thick },
            Area { x, y, w: thick, h },
            Area { x: x + w - thick, y, w: thick, h },
        ] {
            self.fill(line, tint);
        }
    }

    /// Text on a dark strip, moved left if it would leave the picture.
    fn label(&mut self, x: i64, y: i64, text: &str, tint: Rgb<u8>) {
        let width = text.len() as i64 * self.glyph();
        let pad = i64::from(self.scale);
        let x = x.min(i64::from(self.image.width()) - width - pad).max(0);
        self.fill(Area { x, y, w: width + pad, h: self.glyph() + 2 * pad }, BACKGROUND);
        self.text(x + pad, y + pad, text, tint);
    }

    /// One upright bar an expression on a dark strip: below the box, or inside it where the
    /// picture ends.
    fn bars(&mut self, area: Area, scores: &Scores) {
        let full = i64::from(BAR_GLYPHS) * self.glyph();
        let bottom = (area.y + area.h + full).min(i64::from(self.height));
        self.fill(Area { x: area.x, y: bottom - full, w: area.w, h: full }, BACKGROUND);
        for (i, expression) in (0..).zip(Expression::ALL) {
            let (left, right) = (area.x + i * area.w / 7, area.x + (i + 1) * area.w / 7);
            let gap = i64::from(self.scale).min((right - left) / 3);
            let h = (scores.expression[expression as usize] * full as f32).round() as i64;
            let bar = Area { x: left + gap, y: bottom - h, w: right - left - 2 * gap, h };
            self.fill(bar, Rgb(colour(expression)));
        }
    }

    fn legend(&mut self) {
        let (cell, row_height) = (i64::from(LEGEND_CHARS) * self.glyph(), self.glyph() * 3 / 2);
        let columns = i64::from(self.legend_columns);
        for (i, expression) in (0..).zip(Expression::ALL) {
            let x = i % columns * cell + self.glyph() / 2;
            let y = i64::from(self.height) + i / columns * row_height + self.glyph();
            let swatch = Area { x, y, w: self.glyph(), h: self.glyph() };
            self.fill(swatch, Rgb(colour(expression)));
            self.text(x + self.glyph() * 3 / 2, y, expression.name(), WHITE);
        }
    }

    fn text(&mut self, x: i64, y: i64, text: &str, tint: Rgb<u8>) {
        let scale = i64::from(self.scale);
        for (column, row) in ink(text) {
            let (x, y) = (x + i64::from(column) * scale, y + i64::from(row) * scale);
            self.fill(Area { x, y, w: scale, h: scale }, tint);
        }
    }

    /// Fills what of `area` lies in the image.
    fn fill(&mut self, area: Area, tint: Rgb<u8>) {
        let clip = |v: i64, size: u32| v.clamp(0, i64::from(size)) as u32;
        let (width, height) = self.image.dimensions();
        for y in clip(area.y, height)..clip(area.y + area.h, height) {
            for x in clip(area.x, width)..clip(area.x + area.w, width) {
                self.image.put_pixel(x, y, tint);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happy() -> Scores {
        Scores { expression: [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], gender: Some([0.25, 0.75]) }
    }

    #[test]
    fn the_box_and_the_bar_of_the_winner_are_drawn_in_its_colour() {
        let rect = Rect { x: 100.0, y: 100.0, w: 140.0, h: 140.0 };
        let drawn = annotate(&Grey::from_elem((400, 640), 128), &[(rect, happy())], 0.5);
        let yellow = Rgb(colour(Expression::Happy));
        assert_eq!(*drawn.get_pixel(100, 170), yellow, "left edge of the box");
        assert_eq!(*drawn.get_pixel(170, 245), yellow, "the fourth of seven bars, full");
        assert_eq!(*drawn.get_pixel(110, 245), BACKGROUND, "anger's bar, empty");
        assert_eq!(*drawn.get_pixel(170, 170), Rgb([128; 3]), "the face stays visible");
        assert_eq!(*drawn.get_pixel(10, 10), Rgb([128; 3]), "and so does the rest");
        assert!(drawn.height() > 400, "legend");
    }

    #[test]
    fn an_unsure_face_has_a_white_box() {
        let rect = Rect { x: 100.0, y: 100.0, w: 140.0, h: 140.0 };
        let unsure = Scores { expression: [1.0 / 7.0; 7], ..happy() };
        let drawn = annotate(&Grey::from_elem((400, 640), 128), &[(rect, unsure)], 0.5);
        assert_eq!(*drawn.get_pixel(100, 170), WHITE);
    }

    #[test]
    fn a_small_face_is_enlarged_and_boxes_may_leave_the_picture() {
        let over = Rect { x: -10.0, y: -10.0, w: 1e6, h: 80.0 };
        let gone = Rect { x: 500.0, y: 500.0, w: 4.0, h: 4.0 };
        let drawn = annotate(&Grey::zeros((48, 48)), &[(over, happy()), (gone, happy())], 0.0);
        assert_eq!(drawn.width(), 48 * 7);
    }
}
