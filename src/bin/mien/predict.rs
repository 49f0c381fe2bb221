//! `mien predict`: what the faces in pictures show.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::CommandFactory;
use clap::error::ErrorKind;
use mien::classifier::Scores;
use mien::engine::ModelError;
use mien::expression::{Expression, Gender, answer_name};
use mien::face::detector::{Detector, DetectorOptions};
use mien::image::{self, Grey, Rect};
use mien::kiosk::reader::FaceReader;
use mien::report::event::{box_json, scores_json};
use mien::report::picture;
use serde_json::{Value, json};

use crate::args::{Cli, PredictArgs};
use crate::parts::{self, Reader};

/// Shares in JSON are rounded to 1/10,000: finer than the int8 network's steps.
const JSON_PARTS: f64 = 1e4;
/// Characters of a bar for 100 %.
const BAR_WIDTH: f32 = 40.0;

/// Reads each picture in turn; one that can't be read is named and the others are still done.
pub fn predict(args: &PredictArgs, model: Option<&Path>) -> anyhow::Result<ExitCode> {
    if args.annotate.is_some() && args.images.len() > 1 {
        let text = "--annotate draws one picture; give one IMAGE";
        Cli::command().error(ErrorKind::ArgumentConflict, text).exit();
    }
    let Reader { classifier, unsure_below, .. } = parts::reader(model, true)?;
    let mut reader = FaceReader::new(Detector::new(DetectorOptions::default())?, classifier);
    let unsure_below = args.unsure_below.unwrap_or(unsure_below);
    let mut code = ExitCode::SUCCESS;
    for path in &args.images {
        let picture = match image::read(path) {
            Ok(picture) => picture,
            Err(error) => {
                eprintln!("error: {error}");
                code = ExitCode::FAILURE;
                continue;
            }
        };
        let faces = faces(&mut reader, &picture, args.face)?;
        let text = match args.json {
            true => json_line(path, &faces, unsure_below),
            false => text(path, &faces, unsure_below),
        };
        io::stdout().write_all(text.as_bytes())?;
        if let Some(out) = &args.annotate {
            save(out, &picture, &faces, unsure_below)?;
        }
    }
    Ok(code)
}

fn faces(
    reader: &mut FaceReader,
    picture: &Grey,
    is_face: bool,
) -> Result<Vec<(Rect, Scores)>, ModelError> {
    if !is_face {
        return reader.read(picture);
    }
    let (height, width) = picture.dim();
    let whole = Rect { x: 0.0, y: 0.0, w: width as f32, h: height as f32 };
    Ok(vec![(whole, reader.read_face(picture)?)])
}

fn json_line(path: &Path, faces: &[(Rect, Scores)], unsure_below: f32) -> String {
    let faces = faces.iter().map(|(rect, scores)| {
        let answer = answer_name(scores.answer(unsure_below));
        let mut face = json!({ "box": box_json(rect), "answer": answer });
        if let (Value::Object(face), Value::Object(shares)) =
            (&mut face, scores_json(scores, JSON_PARTS))
        {
            face.extend(shares);
        }
        face
    });
    let faces: Vec<Value> = faces.collect();
    format!("{}\n", json!({ "image": path.to_string_lossy(), "faces": faces }))
}

fn text(path: &Path, faces: &[(Rect, Scores)], unsure_below: f32) -> String {
    let mut text = match faces.len() {
        0 => format!("{}: no face found\n", path.display()),
        1 => format!("{}: 1 face\n", path.display()),
        n => format!("{}: {n} faces\n", path.display()),
    };
    for (i, (Rect { x, y, w, h }, scores)) in faces.iter().enumerate() {
        let expression = bars(Expression::ALL.map(Expression::name), &scores.expression);
        let gender = scores.gender.map(|shares| bars(Gender::ALL.map(Gender::name), &shares));
        let gender = gender.map(|bars| format!("\n{bars}")).unwrap_or_default();
        let _ = write!(
            text,
            "\n  Face {} at ({x:.0}, {y:.0}), {w:.0}×{h:.0} pixels: {}\n{expression}{gender}",
            i + 1,
            answer_name(scores.answer(unsure_below))
        );
    }
    text
}

/// A line a share, greatest first.
fn bars<const N: usize>(names: [&str; N], shares: &[f32; N]) -> String {
    let mut lines: Vec<(&str, f32)> = names.into_iter().zip(shares.iter().copied()).collect();
    lines.sort_by(|a, b| b.1.total_cmp(&a.1));
    lines.iter().fold(String::new(), |mut text, &(name, share)| {
        let bar = "█".repeat((share * BAR_WIDTH).round() as usize);
        let line = format!("    {name:<8} {:5.1} % {bar}", share * 100.0);
        let _ = writeln!(text, "{}", line.trim_end());
        text
    })
}

fn save(
    out: &Path,
    picture: &Grey,
    faces: &[(Rect, Scores)],
    unsure_below: f32,
) -> anyhow::Result<()> {
    let format = ::image::ImageFormat::from_path(out).ok();
    if !format.is_some_and(|f| matches!(f, ::image::ImageFormat::Png | ::image::ImageFormat::Jpeg))
    {
        bail!("can't write {}: let its name end in .png or .jpg", out.display());
    }
    picture::annotate(picture, faces, unsure_below)
        .save(out)
        .with_context(|| format!("can't write {}; does its folder exist?", out.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_documented_shape_and_order() {
        let rect = Rect { x: 1.0, y: 2.4, w: 3.0, h: 4.6 };
        let scores =
            Scores { expression: [0.1, 0.0, 0.0, 0.7, 0.0, 0.2, 0.0], gender: Some([0.25, 0.75]) };
        assert_eq!(
            json_line(Path::new("a.png"), &[(rect, scores)], 0.5),
            concat!(
                r#"{"image":"a.png","faces":[{"box":[1.0,2.4,3.0,4.6],"answer":"happy","expression":{"#,
                r#""angry":0.1,"disgust":0.0,"fear":0.0,"happy":0.7,"sad":0.0,"surprise":0.2,"#,
                r#""neutral":0.0},"gender":{"female":0.25,"male":0.75}}]}"#,
                "\n"
            )
        );
    }

    #[test]
    fn an_unsure_face_is_called_so() {
        let rect = Rect { x: 0.0, y: 0.0, w: 9.0, h: 9.0 };
        let scores =
            Scores { expression: [0.1, 0.0, 0.0, 0.7, 0.0, 0.2, 0.0], gender: Some([0.25, 0.75]) };
        let faces = [(rect, scores)];
        assert!(json_line(Path::new("a.png"), &faces, 0.71).contains(r#""answer":"unsure""#));
        assert!(text(Path::new("a.png"), &faces, 0.71).contains("9×9 pixels: unsure\n"));
    }

    #[test]
    fn bars_are_sorted_and_scaled() {
        let text = bars(["female", "male"], &[0.25, 0.75]);
        let bar = |n: usize| "█".repeat(n);
        assert_eq!(
            text,
            format!("    male      75.0 % {}\n    female    25.0 % {}\n", bar(30), bar(10))
        );
    }
}
