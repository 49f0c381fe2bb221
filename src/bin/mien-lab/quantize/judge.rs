//! How well the int8 network answers, beside the float one.

use anyhow::ensure;
use mien::engine::{Calibration, LOGITS, Model};
use mien::expression::Expression;
use mien::image::Grey;
use mien::lab::calibration;
use mien::lab::candidate::Candidate;
use mien::lab::dataset;
use mien::lab::evaluate::reliability::{coverage_at, judge_expressions, reliability};
use mien::lab::evaluate::test_set::TestSet;
use mien::lab::evaluate::{expression_answers, gender_answers};
use mien::lab::network::EXPRESSION_LOGITS;
use mien::lab::representative::Representative;
use mien::lab::samples::spread_evenly;
use mien::lab::source::Source;
use mien::lab::split::{Part, Split, positions};
use mien::lab::tflite::{self, Int8Network};

use super::Args;

/// Pictures that float and int8 are compared on where no labelled ones are given.
const UNLABELLED: usize = 256;

/// Faces and their expressions, none that the network does not tell, and none that it learned from.
#[derive(Default)]
pub struct Labelled {
    /// To fit and to hold by.
    pub validation: Vec<(Grey, usize)>,
    /// Of FER2013's PublicTest, to report on.
    pub test: Vec<(Grey, usize)>,
}

impl Labelled {
    pub fn read(args: &Args, source: &Source) -> anyhow::Result<Self> {
        let Some(path) = &args.labels else { return Ok(Self::default()) };
        let (validation, test) = if path.is_dir() {
            let faces = dataset::read_image_folder(path)?.faces.into_iter();
            (faces.map(|face| (face.face, face.label)).collect(), Vec::new())
        } else {
            let rows = dataset::read_fer2013(path)?;
            let faces = |positions: Vec<usize>| -> Vec<(Grey, usize)> {
                positions.into_iter().map(|i| (rows[i].face.clone(), rows[i].label)).collect()
            };
            let public = positions(&rows, Part::PublicTest);
            let (validation, test) = match source.is_own {
                true => (Split::of_expressions(&rows).validation, public),
                false => halves(&public),
            };
            (faces(validation), faces(test))
        };
        let told = |faces: Vec<(Grey, usize)>, count| -> Vec<(Grey, usize)> {
            let tells = |label: usize| source.heads.tells(Expression::ALL[label]);
            spread_evenly(faces.into_iter().filter(|face| tells(face.1)).collect(), count)
        };
        let labelled =
            Self { validation: told(validation, args.validation), test: told(test, args.compare) };
        ensure!(
            !labelled.validation.is_empty(),
            "{} has no faces to judge by: none that is {} and shows what the network tells",
            path.display(),
            if source.is_own { "kept back from training" } else { "of PublicTest" }
        );
        Ok(labelled)
    }
}

/// Every other one, and the others: nobody knows which of Training's a network from elsewhere has seen.
fn halves(positions: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let half = |first| positions.iter().copied().skip(first).step_by(2).collect();
    (half(0), half(1))
}

/// Logits of some faces, by both networks.
pub struct Pair {
    float: Vec<[f32; LOGITS]>,
    int8: Vec<[f32; LOGITS]>,
}

impl Pair {
    /// Per cent of the faces that each answers right.
    fn percent_right(&self, labelled: &[(Grey, usize)]) -> [f64; 2] {
        [&self.float, &self.int8].map(|logits| {
            let answers = expression_answers(logits);
            let right = answers.iter().zip(labelled).filter(|(answer, face)| **answer == face.1);
            100.0 * right.count() as f64 / labelled.len() as f64
        })
    }
}

/// Fits how the network's logits are to be read and writes it into its metadata; gives those of the
/// validation faces. Fails if it answers worse than it may.
pub fn judge(
    args: &Args,
    source: &Source,
    labelled: &Labelled,
    network: &mut Int8Network,
) -> anyhow::Result<Option<Pair>> {
    if labelled.validation.is_empty() {
        println!("no temperature fitted and accuracy unknown: give --labels");
        return Ok(None);
    }
    let (calibration, int8) = fit(args, network, &labelled.validation)?;
    let pair = Pair { float: float_logits(source, &labelled.validation)?, int8 };
    hold(args, &labelled.validation, &pair)?;
    let entries = calibration.to_metadata();
    network.metadata.extend(entries.map(|(name, text)| (name.to_owned(), text)));
    Ok(Some(pair))
}

/// Runs the int8 network on labelled faces and fits how its logits are to be read; gives these too.
fn fit(
    args: &Args,
    network: &Int8Network,
    labelled: &[(Grey, usize)],
) -> anyhow::Result<(Calibration, Vec<[f32; LOGITS]>)> {
    let (faces, labels): (Vec<Grey>, Vec<usize>) = labelled.iter().cloned().unzip();
    let genders = match &args.genders {
        Some(pack) => TestSet::pack(pack, Some(Part::Validation))?.genders,
        None => Vec::new(),
    };
    let genders = spread_evenly(genders, args.validation).into_iter();
    let (gender_faces, gender_labels): (Vec<Grey>, Vec<usize>) =
        genders.map(|(face, who)| (face, usize::from(who.is_male))).unzip();

    let model = Model::from_bytes(&args.out.to_string_lossy(), &tflite::write(network))?;
    ensure!(
        model.heads().tells_gender() || gender_faces.is_empty(),
        "{} does not tell gender; leave out --genders",
        args.source.display()
    );
    let mut candidate = Candidate::from_model(model, 0);
    let count = (faces.len() + gender_faces.len()) as u64;
    let bar = crate::progress(count, "faces", "fitting temperatures")?;
    let logits = candidate.logits(&faces, |n| bar.inc(n as u64))?;
    let gender_logits = candidate.logits(&gender_faces, |n| bar.inc(n as u64))?;
    bar.finish_and_clear();
    let fitted = calibration::fit((&logits, &labels), (&gender_logits, &gender_labels));
    tell_fit(&fitted, &logits, &labels, gender_labels.len());
    Ok((fitted, logits))
}

fn tell_fit(fitted: &Calibration, logits: &[[f32; LOGITS]], labels: &[usize], genders: usize) {
    let judged = |calibration: &Calibration| judge_expressions(logits, labels, calibration);
    let error = |calibration| 100.0 * reliability(&judged(calibration)).expected_calibration_error;
    let answered = coverage_at(&judged(fitted), fitted.unsure_below);
    println!(
        "{} labelled faces: temperature {}, calibration error {:.2} % (without {:.2} %); \
         unsure below {}: {:.1} % answered, {:.1} % of these right",
        labels.len(),
        fitted.temperature,
        error(fitted),
        error(&Calibration::default()),
        fitted.unsure_below,
        100.0 * answered.coverage,
        100.0 * answered.accuracy.unwrap_or_default(),
    );
    match genders {
        0 => println!("no gender temperature: give --genders to fit one"),
        n => println!("{n} labelled faces: gender temperature {}", fitted.gender_temperature),
    }
}

/// Refuses an int8 network that answers right less often than the float network.
fn hold(args: &Args, labelled: &[(Grey, usize)], pair: &Pair) -> anyhow::Result<()> {
    let [float, int8] = pair.percent_right(labelled);
    println!("{} labelled faces: float {float:.2} % right, int8 {int8:.2} %", labelled.len());
    ensure!(
        args.force || float - int8 <= args.max_drop,
        "int8 answers {:.2} points fewer of the labelled faces right, more than --max-drop {}; \
         {} was not written. Try --ranges auto or more --faces, or write it all the same by --force",
        float - int8,
        args.max_drop,
        args.out.display()
    );
    Ok(())
}

fn float_logits(source: &Source, faces: &[(Grey, usize)]) -> anyhow::Result<Vec<[f32; LOGITS]>> {
    let bar = crate::progress(faces.len() as u64, "faces", "running the float network")?;
    let mut logits = Vec::with_capacity(faces.len());
    for batch in faces.chunks(64) {
        logits.extend(source.logits(&source.pictures(batch.iter().map(|(face, _)| face))));
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    Ok(logits)
}

/// Prints how far the file's answers agree with the float network's: on PublicTest, or else on the
/// faces that it was judged by, or on some pictures that it was calibrated on.
pub fn compare(
    source: &Source,
    labelled: &Labelled,
    judged: Option<Pair>,
    seen: &Representative,
    model: Model,
) -> anyhow::Result<()> {
    let (kind, faces, pair) = match judged {
        None => {
            let pair = on_calibration(source, seen, &model)?;
            let agreement = agreement(source, &pair);
            println!("{} of the calibration pictures: {agreement}", pair.float.len());
            return Ok(());
        }
        Some(pair) if labelled.test.is_empty() => ("labelled", &labelled.validation, pair),
        Some(_) => ("PublicTest", &labelled.test, on_faces(source, &labelled.test, model)?),
    };
    let [float, int8] = pair.percent_right(faces);
    println!(
        "{} {kind} faces: float {float:.2} % right, int8 {int8:.2} %; {}",
        faces.len(),
        agreement(source, &pair)
    );
    Ok(())
}

fn on_calibration(source: &Source, seen: &Representative, model: &Model) -> anyhow::Result<Pair> {
    let len = seen.pictures.len().min(UNLABELLED * model.input_len());
    let pictures = &seen.pictures[..len];
    let codes: Vec<i8> = pictures.iter().map(|&value| model.input().quantize(value)).collect();
    let output = model.run_raw(&codes)?;
    let own = output.chunks_exact(model.heads().logits());
    let int8 = own.map(|codes| model.logits(codes)).collect();
    Ok(Pair { float: source.logits(pictures), int8 })
}

fn on_faces(source: &Source, faces: &[(Grey, usize)], model: Model) -> anyhow::Result<Pair> {
    let float = float_logits(source, faces)?;
    let bar = crate::progress(faces.len() as u64, "faces", "running the int8 network")?;
    let pictures: Vec<Grey> = faces.iter().map(|(face, _)| face.clone()).collect();
    let int8 = Candidate::from_model(model, 0).logits(&pictures, |n| bar.inc(n as u64))?;
    bar.finish_and_clear();
    Ok(Pair { float, int8 })
}

fn agreement(source: &Source, Pair { float, int8 }: &Pair) -> String {
    let percent_alike = |answers: fn(&[[f32; LOGITS]]) -> Vec<usize>| {
        let pairs = answers(float).into_iter().zip(answers(int8));
        100.0 * pairs.filter(|(float, int8)| float == int8).count() as f64 / float.len() as f64
    };
    let mut text =
        format!("they agree on {:.2} % of expressions", percent_alike(expression_answers));
    if source.heads.tells_gender() {
        text += &format!(" and {:.2} % of genders", percent_alike(gender_answers));
    }
    let told = Expression::ALL.map(|expression| source.heads.tells(expression));
    let squares: f32 = float.iter().zip(int8).map(|(f, i)| squared_distance(told, f, i)).sum();
    let logits = told.iter().filter(|told| **told).count() * float.len();
    let rms = (squares / logits as f32).sqrt();
    format!("{text}; rms error of an expression's logit {rms:.4}")
}

/// Of the expressions' logits that are told, about their mean, which softmax does not see.
fn squared_distance(told: [bool; EXPRESSION_LOGITS], a: &[f32; LOGITS], b: &[f32; LOGITS]) -> f32 {
    let differences = || (0..told.len()).filter(|i| told[*i]).map(|i| a[i] - b[i]);
    let shift = differences().sum::<f32>() / differences().count() as f32;
    differences().map(|difference| (difference - shift).powi(2)).sum()
}
