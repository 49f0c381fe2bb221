//! All figures of one model on one test set.

use std::time::Instant;

use serde::Serialize;

use super::classes::Classes;
use super::counts::Evaluation;
use super::gender::{GenderReport, Person};
use super::reliability::{
    Coverage, Judged, Reliability, coverage_at, coverage_curve, judge_expressions, reliability,
};
use super::test_set::TestSet;
use crate::classifier::{Scores, argmax};
use crate::engine::Calibration;
use crate::image::Grey;
use crate::lab::candidate::{Candidate, CandidateError};
use crate::lab::network::LOGITS;

/// Faces that the time of one face is measured on.
const TIMED_FACES: usize = 32;

/// All figures of one model on one test set.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The model's file.
    pub model: String,
    /// Expressions against their labels; none without such faces.
    #[serde(flatten)]
    pub expression: Option<Evaluation>,
    /// Against the FER+ majority's labels, on the faces that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ferplus: Option<Evaluation>,
    /// Confidence against accuracy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationReport>,
    /// What holding unsure answers back gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<CoverageReport>,
    /// Apparent gender; none without such faces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gender: Option<GenderReport>,
    /// The worst mistakes asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub worst: Vec<Mistake>,
    /// Pictures of the test set that could not be read.
    pub skipped: usize,
    /// Multiply-accumulates of one face; none for a file of another maker.
    pub macs: Option<u64>,
    /// Trained parameters.
    pub parameters: Option<u64>,
    /// Size of the file.
    pub bytes: u64,
    /// Median time of one face on one thread, ms.
    pub ms_per_image: f64,
    /// Answers by face, indices into the classes.
    #[serde(skip)]
    pub answers: Vec<usize>,
}

/// Confidence against accuracy.
#[derive(Clone, Debug, Serialize)]
pub struct CalibrationReport {
    /// What the file says the expressions' logits are to be divided by.
    pub temperature: f32,
    /// The same for the genders'.
    pub gender_temperature: f32,
    /// At the file's temperature.
    #[serde(flatten)]
    pub calibrated: Reliability,
    /// At temperature 1.
    pub uncalibrated: Reliability,
}

/// What holding unsure answers back gives.
#[derive(Clone, Debug, Serialize)]
pub struct CoverageReport {
    /// At the file's threshold.
    pub at_threshold: Coverage,
    /// At others.
    pub curve: Vec<Coverage>,
}

/// A face answered wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mistake {
    /// Which, see [`super::test_set::ExpressionFace::name`].
    pub face: String,
    /// Its place in [`TestSet::expressions`].
    #[serde(skip)]
    pub index: usize,
    /// Its label's class.
    pub label: String,
    /// Share that this class was given.
    pub label_share: f32,
    /// The class answered.
    pub answer: String,
    /// Its share.
    pub answer_share: f32,
}

/// What to report.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Classes to score.
    pub classes: Classes,
    /// Worst mistakes to list.
    pub worst: usize,
}

impl Report {
    /// Runs a model on a test set; `on_batch` is told how many more faces are done.
    pub fn new(
        model: String,
        candidate: &mut Candidate,
        set: &TestSet,
        wanted: &Wanted,
        on_batch: impl Fn(usize) + Sync,
    ) -> Result<Self, CandidateError> {
        let faces: Vec<Grey> = set.expressions.iter().map(|face| face.face.clone()).collect();
        let logits = candidate.logits(&faces, &on_batch)?;
        let of_genders: Vec<Grey> = set.genders.iter().map(|(face, _)| face.clone()).collect();
        let gender_logits = candidate.logits(&of_genders, &on_batch)?;
        let timed = if faces.is_empty() { &of_genders } else { &faces };
        let mut report = Self {
            model,
            expression: None,
            ferplus: None,
            calibration: None,
            coverage: None,
            gender: None,
            worst: Vec::new(),
            skipped: set.skipped,
            macs: candidate.graph.as_ref().map(|graph| graph.macs()),
            parameters: candidate.graph.as_ref().map(|graph| graph.parameters()),
            bytes: candidate.bytes,
            ms_per_image: median_ms(candidate, &timed[..timed.len().min(TIMED_FACES)])?,
            answers: Vec::new(),
        };
        if !faces.is_empty() {
            report.score_expressions(&logits, &candidate.calibration, set, wanted);
        }
        if gender_logits.first().is_some_and(|row| row[LOGITS - 1] > f32::NEG_INFINITY) {
            let people: Vec<Person> =
                set.genders.iter().map(|(_, person)| person.clone()).collect();
            let shares = |calibration: &Calibration| -> Vec<[f32; 2]> {
                let scores = gender_logits.iter().map(|row| Scores::from_logits(row, calibration));
                scores.filter_map(|scores| scores.gender).collect()
            };
            let (calibrated, plain) =
                (shares(&candidate.calibration), shares(&Calibration::default()));
            report.gender = Some(GenderReport::new(&people, &calibrated, &plain));
        }
        Ok(report)
    }

    fn score_expressions(
        &mut self,
        logits: &[[f32; LOGITS]],
        calibration: &Calibration,
        set: &TestSet,
        wanted: &Wanted,
    ) {
        let classes = &wanted.classes;
        let shares = |calibration: &Calibration| -> Vec<Vec<f32>> {
            let scores = logits.iter().map(|row| Scores::from_logits(row, calibration));
            scores.map(|scores| classes.shares(&scores.expression)).collect()
        };
        let (calibrated, plain) = (shares(calibration), shares(&Calibration::default()));
        let labels: Vec<usize> =
            set.expressions.iter().map(|face| classes.of(face.label)).collect();
        self.answers = calibrated.iter().map(|shares| argmax(shares)).collect();
        self.expression = Some(Evaluation::new(classes.names(), &labels, &self.answers));
        if set.has_votes {
            let voted = set.expressions.iter().zip(&self.answers);
            let (labels, answers): (Vec<usize>, Vec<usize>) =
                voted.filter_map(|(face, &a)| Some((classes.of(face.majority?), a))).unzip();
            self.ferplus = Some(Evaluation::new(classes.names(), &labels, &answers));
        }
        let judged = judge(&calibrated, &labels);
        // The device is unsure by the seven shares, whatever classes are made of them.
        let expressions: Vec<usize> = set.expressions.iter().map(|face| face.label).collect();
        let mut sure = judge_expressions(logits, &expressions, calibration);
        sure.iter_mut().zip(&judged).for_each(|(sure, judged)| sure.right = judged.right);
        self.calibration = Some(CalibrationReport {
            temperature: calibration.temperature,
            gender_temperature: calibration.gender_temperature,
            calibrated: reliability(&judged),
            uncalibrated: reliability(&judge(&plain, &labels)),
        });
        self.coverage = Some(CoverageReport {
            at_threshold: coverage_at(&sure, calibration.unsure_below),
            curve: coverage_curve(&sure),
        });
        self.worst = worst(set, classes, &calibrated, &labels, wanted.worst);
    }
}

fn judge(shares: &[Vec<f32>], labels: &[usize]) -> Vec<Judged> {
    let of_face = |(shares, label): (&Vec<f32>, &usize)| {
        let answer = argmax(shares);
        Judged { confidence: shares[answer], right: answer == *label }
    };
    shares.iter().zip(labels).map(of_face).collect()
}

/// Those answered wrong whose label was given the least share.
fn worst(
    set: &TestSet,
    classes: &Classes,
    shares: &[Vec<f32>],
    labels: &[usize],
    count: usize,
) -> Vec<Mistake> {
    let mut wrong: Vec<(usize, usize)> = shares
        .iter()
        .enumerate()
        .map(|(index, shares)| (index, argmax(shares)))
        .filter(|&(index, answer)| answer != labels[index])
        .collect();
    wrong.sort_by(|a, b| shares[a.0][labels[a.0]].total_cmp(&shares[b.0][labels[b.0]]));
    let mistake = |(index, answer): (usize, usize)| Mistake {
        face: set.expressions[index].name.clone(),
        index,
        label: classes.names()[labels[index]].clone(),
        label_share: shares[index][labels[index]],
        answer: classes.names()[answer].clone(),
        answer_share: shares[index][answer],
    };
    wrong.into_iter().take(count).map(mistake).collect()
}

/// Median time of one face, one at a time on one thread.
fn median_ms(candidate: &mut Candidate, faces: &[Grey]) -> Result<f64, CandidateError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.map_err(|source| CandidateError::Thread { source })?;
    let mut times = Vec::with_capacity(faces.len());
    pool.install(|| {
        // The first runs once more than it counts: it warms the caches.
        for (i, face) in faces.iter().take(1).chain(faces).enumerate() {
            let start = Instant::now();
            candidate.logits(std::slice::from_ref(face), |_| ())?;
            if i > 0 {
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
        Ok::<(), CandidateError>(())
    })?;
    times.sort_by(f64::total_cmp);
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

/// Share of the faces that two models answer alike; none without faces.
pub fn agreement(a: &Report, b: &Report) -> Option<f64> {
    let alike = a.answers.iter().zip(&b.answers).filter(|(a, b)| a == b).count();
    super::counts::share(alike, a.answers.len())
}
