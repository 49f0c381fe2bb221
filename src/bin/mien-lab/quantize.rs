//! `mien-lab quantize`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use indicatif::ProgressBar;
use mien::engine::{Calibration, LOGITS, Model};
use mien::expression::{Expression, Gender};
use mien::face::crop::standardize;
use mien::image::Grey;
use mien::lab::calibration;
use mien::lab::candidate::{Candidate, PRESET_METADATA};
use mien::lab::checkpoint::Checkpoint;
use mien::lab::dataset::{self, LabelledFace};
use mien::lab::evaluate::reliability::{coverage_at, judge_expressions, reliability};
use mien::lab::evaluate::test_set::{TestSet, spread_evenly};
use mien::lab::evaluate::{expression_answers, gender_answers};
use mien::lab::float::FloatGraph;
use mien::lab::mixture::hex;
use mien::lab::quantize::interpret::interpret;
use mien::lab::quantize::sensitivity::{self, layer_costs};
use mien::lab::quantize::{Quantized, Ranges, Rounding, Settings, quantize};
use mien::lab::split::{Part, Split, positions};
use mien::lab::tflite::{self, Int8Network};
use sha2::{Digest, Sha256};

/// Turn a float checkpoint into the int8 .tflite file that mien runs.
///
/// The finished network is run on validation faces, to fit the temperatures that make its shares
/// mean what they say, and to choose the share below which mien answers "unsure". All three go
/// into the file's metadata.
#[derive(clap::Args)]
pub struct Args {
    /// Checkpoint that `mien-lab train` wrote.
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// FER2013, `fer2013.csv` or `.csv.xz`; Training rows calibrate, PublicTest rows check.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// A face pack NAME.u8.xz: the faces of it kept back from training fit the gender temperature.
    #[arg(long, value_name = "FILE")]
    genders: Option<PathBuf>,
    /// Training faces to calibrate on, spread evenly over the set.
    #[arg(long, default_value_t = 2048, value_parser = crate::at_least_one())]
    faces: usize,
    /// Validation faces of each set on which to fit temperatures and threshold.
    #[arg(long, default_value_t = 1200, value_parser = crate::at_least_one())]
    validation: usize,
    /// PublicTest faces on which to compare int8 with float.
    #[arg(long, default_value_t = 1000, value_parser = crate::at_least_one())]
    compare: usize,
    /// How the ranges of activations are chosen.
    #[arg(long, value_enum, default_value = "mse")]
    ranges: Ranges,
    /// How weights are rounded.
    #[arg(long, value_enum, default_value = "nearest")]
    rounding: Rounding,
    /// Leave channels as uneven as training left them.
    #[arg(long)]
    no_equalization: bool,
    /// Leave biases as training left them.
    #[arg(long)]
    no_bias_correction: bool,
    /// Also write into this folder what the rounding of each layer costs, as layers.txt,
    /// layers.json and, with plots, layers.html.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Refuse to write a file that answers fewer validation faces right than the float network, by
    /// more than this many points.
    #[arg(long, default_value_t = 1.0, value_name = "POINTS")]
    max_drop: f64,
    /// Write it all the same.
    #[arg(long)]
    force: bool,
    /// File to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Args {
    fn settings(&self) -> Settings {
        Settings {
            ranges: self.ranges,
            equalize: !self.no_equalization,
            rounding: self.rounding,
            correct_bias: !self.no_bias_correction,
        }
    }
}

/// Validation faces on which layers' costs are measured.
const REPORT_FACES: usize = 512;
/// Faces on which the written file is held to the plain arithmetic.
const CHECKED_FACES: usize = 8;

pub fn run(args: &Args) -> anyhow::Result<()> {
    let checkpoint = Checkpoint::read_for_device(&args.checkpoint)?;
    let rows = dataset::read_fer2013(&args.data)?;
    let split = Split::of_expressions(&rows);
    let faces = |positions: Vec<usize>, count| -> Vec<&LabelledFace> {
        spread_evenly(positions, count).into_iter().map(|i| &rows[i]).collect()
    };
    let Quantized { graph, mut network } =
        quantized(args, &checkpoint, &faces(split.training, args.faces))?;
    let validation = faces(split.validation, args.validation);
    if let Some(folder) = &args.report {
        report(folder, &graph, &network, &validation)?;
    }
    let (calibration, answers) = fit(args, &network, &validation)?;
    hold(args, &validation, &answers)?;
    let entries = calibration.to_metadata();
    network.metadata.extend(entries.map(|(name, text)| (name.to_owned(), text)));

    let bytes = tflite::write(&network);
    // Whatever stood at --out stays unless the new file loads and computes what it should.
    let name = args.out.to_string_lossy();
    let (model, written) = (Model::from_bytes(&name, &bytes)?, tflite::read(&name, &bytes)?);
    check(&model, &written, &faces(positions(&rows, Part::Training), CHECKED_FACES))?;
    let part = args.out.with_extension("part");
    std::fs::write(&part, &bytes)
        .and_then(|()| std::fs::rename(&part, &args.out))
        .with_context(|| format!("can't write {}", args.out.display()))?;
    println!("{}: {} bytes", args.out.display(), bytes.len());
    compare(args, &faces(positions(&rows, Part::PublicTest), args.compare))
}

/// Writes what each layer's rounding costs on some validation faces.
fn report(
    folder: &Path,
    graph: &FloatGraph,
    network: &Int8Network,
    validation: &[&LabelledFace],
) -> anyhow::Result<()> {
    let faces = spread_evenly(validation.to_vec(), REPORT_FACES);
    let pictures: Vec<f32> = faces.iter().flat_map(|row| standardize(row.face.view())).collect();
    let labels: Vec<usize> = faces.iter().map(|row| row.label).collect();
    let costs = layer_costs(graph, network, &pictures, &labels);
    std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))
    };
    write("layers.txt", sensitivity::text(&costs))?;
    write("layers.html", mien::lab::quantize::page::page(&costs, network))?;
    write("layers.json", serde_json::to_string_pretty(&costs)?)
}

/// Refuses an int8 network whose `answers` are right less often than the float network's.
fn hold(args: &Args, validation: &[&LabelledFace], answers: &[usize]) -> anyhow::Result<()> {
    if validation.is_empty() {
        return Ok(());
    }
    let faces: Vec<Grey> = validation.iter().map(|row| row.face.clone()).collect();
    let bar = crate::progress(faces.len() as u64, "faces", "comparing accuracies")?;
    let float = Candidate::read(&args.checkpoint)?.logits(&faces, |n| bar.inc(n as u64))?;
    bar.finish_and_clear();
    let [float, int8] = [&expression_answers(&float)[..], answers]
        .map(|answers| percent_right(answers, validation));
    println!("{} validation faces: float {float:.2} % right, int8 {int8:.2} %", faces.len());
    ensure!(
        args.force || float - int8 <= args.max_drop,
        "int8 answers {:.2} points fewer of the validation faces right, more than --max-drop {}; \
         nothing was written. Try --ranges auto or more --faces, or write it all the same by --force",
        float - int8,
        args.max_drop
    );
    Ok(())
}

fn percent_right(answers: &[usize], rows: &[&LabelledFace]) -> f64 {
    let right = answers.iter().zip(rows).filter(|(answer, row)| **answer == row.label).count();
    100.0 * right as f64 / rows.len() as f64
}

/// Holds what tract computes from the file to the plain arithmetic, code by code.
fn check(model: &Model, network: &Int8Network, rows: &[&LabelledFace]) -> anyhow::Result<()> {
    for row in rows {
        let pixels = standardize(row.face.view());
        let codes: Vec<i8> = pixels.iter().map(|&value| model.input().quantize(value)).collect();
        ensure!(
            model.run_raw(&codes)? == interpret(network, &codes),
            "tract runs this network otherwise than its arithmetic says, so it was not written; \
             please report this with the checkpoint"
        );
    }
    Ok(())
}

/// Quantizes, calibrating the ranges on faces to learn from.
fn quantized(
    args: &Args,
    checkpoint: &Checkpoint,
    training: &[&LabelledFace],
) -> anyhow::Result<Quantized> {
    ensure!(!training.is_empty(), "{} has no Training rows", args.data.display());
    let pictures: Vec<f32> = training.iter().flat_map(|row| standardize(row.face.view())).collect();
    let bar = ProgressBar::new_spinner().with_message("calibrating");
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let graph = FloatGraph::of_checkpoint(checkpoint)?;
    let metadata = metadata(args, checkpoint, training)?;
    Ok(quantize(graph, args.settings(), &pictures, metadata))
}

/// What the file says about itself.
fn metadata(
    args: &Args,
    checkpoint: &Checkpoint,
    training: &[&LabelledFace],
) -> anyhow::Result<BTreeMap<String, String>> {
    let labels = Expression::ALL.map(Expression::name).into_iter();
    let labels: Vec<&str> = labels.chain(Gender::ALL.map(Gender::name)).collect();
    let pixels: Vec<u8> = training.iter().flat_map(|row| &row.face).copied().collect();
    let faces = format!("{} faces, evenly from FER2013's Training rows", training.len());
    let entries = [
        ("labels", labels.join(" ")),
        ("normalization", "(pixel - mean) / (deviation + 8), per 48x48 face".into()),
        (PRESET_METADATA, serde_json::to_string(&checkpoint.preset)?),
        ("mien.quantization", serde_json::to_string(&args.settings())?),
        ("mien.checkpoint_sha256", sha256(&std::fs::read(&args.checkpoint)?)),
        ("mien.ranges_from", faces),
        ("mien.ranges_from_sha256", sha256(&pixels)),
    ];
    Ok(entries.map(|(name, text)| (name.to_owned(), text)).into())
}

fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

/// Runs the int8 network on validation faces and fits how its logits are to be read; gives its
/// answers too.
fn fit(
    args: &Args,
    network: &Int8Network,
    validation: &[&LabelledFace],
) -> anyhow::Result<(Calibration, Vec<usize>)> {
    let (faces, labels): (Vec<Grey>, Vec<usize>) =
        validation.iter().map(|row| (row.face.clone(), row.label)).unzip();
    let genders = match &args.genders {
        Some(pack) => TestSet::pack(pack, Some(Part::Validation))?.genders,
        None => Vec::new(),
    };
    let genders = spread_evenly(genders, args.validation).into_iter();
    let (gender_faces, gender_labels): (Vec<Grey>, Vec<usize>) =
        genders.map(|(face, who)| (face, usize::from(who.is_male))).unzip();

    let model = Model::from_bytes(&args.out.to_string_lossy(), &tflite::write(network))?;
    let mut candidate = Candidate::from_model(model, 0);
    let count = (faces.len() + gender_faces.len()) as u64;
    let bar = crate::progress(count, "faces", "fitting temperatures")?;
    let logits = candidate.logits(&faces, |n| bar.inc(n as u64))?;
    let gender_logits = candidate.logits(&gender_faces, |n| bar.inc(n as u64))?;
    bar.finish_and_clear();
    let fitted = calibration::fit((&logits, &labels), (&gender_logits, &gender_labels));
    tell_fit(&fitted, &logits, &labels, gender_labels.len());
    Ok((fitted, expression_answers(&logits)))
}

fn tell_fit(fitted: &Calibration, logits: &[[f32; LOGITS]], labels: &[usize], genders: usize) {
    let judged = |calibration: &Calibration| judge_expressions(logits, labels, calibration);
    let error = |calibration| 100.0 * reliability(&judged(calibration)).expected_calibration_error;
    let answered = coverage_at(&judged(fitted), fitted.unsure_below);
    println!(
        "{} validation faces: temperature {}, calibration error {:.2} % (without {:.2} %); \
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
        n => println!("{n} validation faces: gender temperature {}", fitted.gender_temperature),
    }
}

/// Loads the written file and prints how far its answers agree with the float network's.
fn compare(args: &Args, rows: &[&LabelledFace]) -> anyhow::Result<()> {
    if rows.is_empty() {
        println!("no PublicTest rows to compare on");
        return Ok(());
    }
    let faces: Vec<Grey> = rows.iter().map(|row| row.face.clone()).collect();
    let logits = |path: &Path, kind: &str| -> anyhow::Result<_> {
        let bar = crate::progress(faces.len() as u64, "faces", format!("comparing: {kind}"))?;
        let logits = Candidate::read(path)?.logits(&faces, |n| bar.inc(n as u64))?;
        bar.finish_and_clear();
        Ok(logits)
    };
    let float = logits(&args.checkpoint, "float")?;
    let int8 = logits(&args.out, "int8")?;
    let n = faces.len();
    let percent_alike = |answers: fn(&[[f32; LOGITS]]) -> Vec<usize>| {
        let pairs = answers(&float).into_iter().zip(answers(&int8));
        100.0 * pairs.filter(|(float, int8)| float == int8).count() as f64 / n as f64
    };
    let squares: f32 =
        float.iter().zip(&int8).map(|(f, i)| squared_distance(&f[..7], &i[..7])).sum();
    println!(
        "{n} PublicTest faces: float {:.2} % right, int8 {:.2} %; they agree on {:.2} % of \
         expressions and {:.2} % of genders; rms error of an expression's logit {:.4}",
        percent_right(&expression_answers(&float), rows),
        percent_right(&expression_answers(&int8), rows),
        percent_alike(expression_answers),
        percent_alike(gender_answers),
        (squares / (7 * n) as f32).sqrt()
    );
    Ok(())
}

/// Of one head's logits, each about its mean, which softmax does not see.
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let shift = a.iter().zip(b).map(|(a, b)| a - b).sum::<f32>() / a.len() as f32;
    a.iter().zip(b).map(|(a, b)| (a - b - shift).powi(2)).sum()
}
