//! Distillation: a student learns from a trained network's answers alone; the answers are asked
//! for once and kept.
#![cfg(feature = "lab")]

#[path = "common/stripes.rs"]
mod stripes;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use mien::lab::checkpoint::CheckpointError;
use mien::lab::loss::Target;
use mien::lab::samples::Sample;
use mien::lab::teacher::{Answer, TeacherError, TeacherSettings, answers, taught};
use mien::lab::train::MODEL_FILE;
use stripes::samples;

/// A trained network's folder, and settings that name it as the teacher.
fn teacher() -> (tempfile::TempDir, TeacherSettings) {
    let folder = tempfile::tempdir().unwrap();
    let mut run = stripes::run(1);
    while run.epoch(|_| ()).unwrap().is_some() {}
    run.save(folder.path()).unwrap();
    let checkpoints = vec![folder.path().join(MODEL_FILE)];
    let answers = Vec::new();
    (folder, TeacherSettings { checkpoints, answers, share: 0.5, temperature: 1.0 })
}

/// The answers, and how many faces had to be asked about.
fn ask(
    settings: &TeacherSettings,
    samples: &[Sample],
    kept: &Path,
) -> Result<(Vec<Answer>, usize), TeacherError> {
    let asked = AtomicUsize::new(0);
    let samples: Vec<&Sample> = samples.iter().collect();
    let answers = answers(settings, &samples, kept, |n| {
        asked.fetch_add(n, Ordering::Relaxed);
    })?;
    Ok((answers, asked.into_inner()))
}

#[test]
fn a_student_learns_from_answers_alone() {
    let (folder, settings) = teacher();
    let (mut expressions, genders) = samples();
    let (answers, _) = ask(&settings, &expressions, &folder.path().join("kept")).unwrap();
    for (sample, answer) in expressions.iter_mut().zip(&answers) {
        sample.target = taught(&Target::default(), answer, settings.share);
    }
    let mut student = stripes::run_with(2, expressions, genders);
    while student.epoch(|_| ()).unwrap().is_some() {}
    let right = stripes::expressions_right(&student.checkpoint());
    assert!(right >= 100, "{right} of 120 expressions");
    let right = stripes::genders_right(&student.checkpoint());
    assert!(right >= 36, "{right} of 40 genders");
}

#[test]
fn answers_are_kept_until_the_question_changes() {
    let (folder, settings) = teacher();
    let kept = folder.path().join("kept.safetensors");
    let (expressions, _) = samples();
    let (first, asked) = ask(&settings, &expressions, &kept).unwrap();
    assert_eq!(asked, expressions.len());
    assert_eq!(ask(&settings, &expressions, &kept).unwrap(), (first.clone(), 0));
    for shares in &first {
        let (expression, gender) = shares.split_at(7);
        assert!((expression.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        assert!((gender.iter().sum::<f32>() - 1.0).abs() < 1e-4);
    }

    let softer = TeacherSettings { temperature: 4.0, ..settings.clone() };
    let (soft, asked) = ask(&softer, &expressions, &kept).unwrap();
    assert_eq!(asked, expressions.len());
    let most = |answer: &Answer| answer[..7].iter().copied().fold(0.0, f32::max);
    assert!(most(&soft[0]) < most(&first[0]));
    let (_, asked) = ask(&softer, &expressions[1..], &kept).unwrap();
    assert_eq!(asked, expressions.len() - 1);
}

/// What one run kept teaches another without the checkpoint; each file counts as one teacher.
#[test]
fn kept_answers_stand_for_their_checkpoint() {
    let (folder, settings) = teacher();
    let (expressions, genders) = samples();
    let [kept, of_genders] = ["kept", "genders"].map(|name| folder.path().join(name));
    let (first, _) = ask(&settings, &expressions, &kept).unwrap();
    let with = |answers: &Path| TeacherSettings {
        checkpoints: Vec::new(),
        answers: vec![answers.into()],
        ..settings.clone()
    };
    let again = folder.path().join("again");
    assert_eq!(ask(&with(&kept), &expressions, &again).unwrap(), (first.clone(), 0));

    // Beside the softened checkpoint: the mean of both.
    let soft = TeacherSettings { temperature: 4.0, ..settings.clone() };
    let both = TeacherSettings { answers: vec![kept.clone()], ..soft.clone() };
    let (soft, _) = ask(&soft, &expressions, &again).unwrap();
    let (both, asked) = ask(&both, &expressions, &again).unwrap();
    assert_eq!(asked, expressions.len());
    for ((both, soft), first) in both.iter().zip(&soft).zip(&first) {
        assert!((both[3] - (soft[3] + first[3]) / 2.0).abs() < 1e-6);
    }

    ask(&settings, &genders, &of_genders).unwrap();
    let error = ask(&with(&of_genders), &expressions, &again).unwrap_err();
    assert!(matches!(error, TeacherError::OtherFaces { .. }), "{error}");
    let model = folder.path().join(MODEL_FILE);
    let error = ask(&with(&model), &expressions, &again).unwrap_err().to_string();
    assert!(error.contains("faces_crc32") && error.contains(MODEL_FILE), "{error}");
}

#[test]
fn the_mirror_image_is_answered_alike() {
    let (folder, settings) = teacher();
    let (expressions, _) = samples();
    let mirrored: Vec<Sample> = expressions
        .iter()
        .map(|sample| Sample {
            face: sample.face.slice(ndarray::s![.., ..;-1]).to_owned(),
            ..sample.clone()
        })
        .collect();
    let kept = folder.path().join("kept");
    let (plain, _) = ask(&settings, &expressions, &kept).unwrap();
    let (mirrored, _) = ask(&settings, &mirrored, &kept).unwrap();
    for (a, b) in plain.as_flattened().iter().zip(mirrored.as_flattened()) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn teachers_that_cannot_teach_are_refused() {
    let (folder, settings) = teacher();
    let (expressions, _) = samples();
    let kept = folder.path().join("kept");
    let refused = |settings: TeacherSettings| ask(&settings, &expressions, &kept).unwrap_err();
    let nobody = TeacherSettings { checkpoints: Vec::new(), ..settings.clone() };
    assert!(refused(nobody).to_string().contains("names no checkpoints"));
    let too_much = TeacherSettings { share: 1.5, ..settings.clone() };
    assert!(refused(too_much).to_string().contains("share 1.5"));
    let cold = TeacherSettings { temperature: 0.0, ..settings.clone() };
    assert!(refused(cold).to_string().contains("temperature 0"));
    let absent =
        TeacherSettings { checkpoints: vec![folder.path().join("absent.safetensors")], ..settings };
    let error = refused(absent);
    assert!(matches!(error, TeacherError::Checkpoint(CheckpointError::Io { .. })), "{error}");
}

#[test]
fn a_label_keeps_its_share_and_an_unknown_one_is_the_answer() {
    let answer = [0.1, 0.2, 0.3, 0.4, 0.0, 0.0, 0.0, 0.25, 0.75];
    let mut label = [0.0; 7];
    label[0] = 1.0;
    let target = taught(&Target::expression(label), &answer, 0.25);
    let expression = target.expression.unwrap();
    assert!((expression[0] - 0.775).abs() < 1e-6 && (expression[3] - 0.1).abs() < 1e-6);
    assert_eq!(target.gender, Some([0.25, 0.75]));
}
