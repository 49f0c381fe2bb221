//! `mien-lab quantize`.

mod judge;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use mien::engine::Model;
use mien::engine::test_vector::{self, TEST_CODES};
use mien::face::normalization::Normalization;
use mien::lab::float::FloatGraph;
use mien::lab::import::extension;
use mien::lab::quantize::interpret::interpret;
use mien::lab::quantize::page;
use mien::lab::quantize::sensitivity::{self, layer_costs, own_answers};
use mien::lab::quantize::{
    MAX_WEIGHTS, Quantized, Ranges, Rounding, Settings, quantize_watched, too_large,
};
use mien::lab::representative::Representative;
use mien::lab::samples::spread_evenly;
use mien::lab::source::{Source, Unsaid};
use mien::lab::tflite::{self, Int8Network};
use mien::lab::whole;

use self::judge::Labelled;

/// Turn a trained float network into the int8 .tflite file that mien runs.
///
/// IN is a checkpoint of `mien-lab train`, or a model of another framework: .onnx (PyTorch), .h5 or
/// .keras, or a .tflite file without quantization. Of these say also how their pictures were
/// normalized, and which expression each output stands for unless they are FER2013's seven in their order.
///
/// The file is read back and held to the arithmetic that it should compute before it is written.
/// With --labels it is run on labelled faces too: that fits the temperature that makes its shares
/// mean what they say, and the share below which mien answers "unsure"; and nothing is written if it
/// answers worse than the float network.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mien-lab quantize model.safetensors -o model.tflite \\
      --calibrate fer2013.csv.xz --labels fer2013.csv.xz
  mien-lab quantize mini_xception.h5 -o mini_xception.tflite \\
      --normalization -1..1 --calibrate faces/
  mien-lab quantize resnet.onnx -o resnet.tflite --side 64 --normalization 0..1 \\
      --classes 'neutral happy sad surprise fear disgust angry -' \\
      --calibrate calibration.npy --labels test_faces/")]
pub struct Args {
    /// .safetensors, .onnx, .h5, .hdf5, .keras or float .tflite.
    #[arg(value_name = "IN")]
    source: PathBuf,
    /// File to write.
    #[arg(short, long, value_name = "OUT.tflite")]
    out: PathBuf,
    /// Faces like those it will see, to choose the ranges of its values by: FER2013 (.csv, .csv.xz;
    /// its Training rows), a face pack (.u8.xz), a folder of pictures or of folders of them, whatever
    /// their names, or .npy: bytes [n, height, width] or what the network reads, float32 [n, height,
    /// width, channels].
    #[arg(long, value_name = "DATA")]
    calibrate: PathBuf,
    /// Faces labelled with expressions, to judge the file by: FER2013, or a folder with a folder of
    /// pictures for each class. Of FER2013 the Training rows that `mien-lab train` keeps back fit, and
    /// PublicTest rows are reported; of another framework's network, which may have learned from any of
    /// Training, every other PublicTest row fits, and the others are reported.
    #[arg(long, value_name = "DATA")]
    labels: Option<PathBuf>,
    /// A face pack NAME.u8.xz: the faces of it kept back from training fit the gender temperature.
    #[arg(long, value_name = "FILE", requires = "labels")]
    genders: Option<PathBuf>,
    /// How the pictures of a model of another framework were normalized: standardized (each by its own
    /// mean and deviation), 0..1, -1..1, 0..255, or MEAN/DEVIATION in pixels, as 127.5/127.5 or, by
    /// channel, 124,116,104/58,57,57.
    #[arg(long, value_name = "HOW", allow_hyphen_values = true)]
    normalization: Option<Normalization>,
    /// What the outputs of a model of another framework stand for, in order: of angry, disgust, fear,
    /// happy, sad, surprise, neutral, female, male; - for one that mien has no name for.
    #[arg(long, value_name = "NAMES", allow_hyphen_values = true)]
    classes: Option<String>,
    /// Side in pixels of its pictures, for a model that leaves it open.
    #[arg(long, value_name = "PIXELS", value_parser = crate::at_least_one())]
    side: Option<usize>,
    /// Pictures to calibrate on, spread evenly over DATA.
    #[arg(long, default_value_t = 2048, value_parser = crate::at_least_one())]
    faces: usize,
    /// Labelled faces on which to fit temperatures and threshold, and to hold int8 to float.
    #[arg(long, default_value_t = 1200, value_parser = crate::at_least_one())]
    validation: usize,
    /// PublicTest faces on which to compare int8 with float.
    #[arg(long, default_value_t = 1000, value_parser = crate::at_least_one())]
    compare: usize,
    /// How the ranges of activations are chosen.
    #[arg(long, value_enum, default_value = "mse")]
    ranges: Ranges,
    /// How weights are rounded; adaptive for filters of up to 4,096 weights.
    #[arg(long, value_enum, default_value = "adaptive")]
    rounding: Rounding,
    /// Leave channels as uneven as training left them.
    #[arg(long)]
    no_equalization: bool,
    /// Leave biases as training left them.
    #[arg(long)]
    no_bias_correction: bool,
    /// Also write into this folder what the rounding of each layer costs, as layers.txt,
    /// layers.json and, with plots, layers.html. Measured on the faces of --labels; without, on those of
    /// --calibrate, by what the float network says of them.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Refuse to write a file that answers fewer of the labelled faces that fit right than the float
    /// network, by more than this many points. Without --labels nobody knows.
    #[arg(long, default_value_t = 1.0, value_name = "POINTS", allow_negative_numbers = true,
        value_parser = points)]
    max_drop: f64,
    /// Write it all the same.
    #[arg(long)]
    force: bool,
    /// Do and say all, but write no file; what --report would hold is printed.
    #[arg(long)]
    dry_run: bool,
}

fn points(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "is no number".to_owned())?;
    if number.is_finite() { Ok(number) } else { Err("must be finite".into()) }
}

impl Args {
    /// Whether file and report can be written where they are to go, before an hour of work is lost on
    /// them, and over nothing that is read.
    fn check_out(&self) -> anyhow::Result<()> {
        let out = self.out.display();
        let folder = self.out.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        ensure!(folder.is_dir(), "can't write {out}: there is no such folder");
        ensure!(!self.out.is_dir(), "can't write {out}: it is a folder; add a file's name");
        if let Some(report) = &self.report {
            let report_out = report.display();
            ensure!(report.is_dir() || !report.exists(), "--report {report_out} is no folder");
        }
        let there = self.out.canonicalize().ok();
        let is_out = |read: &Path| there.is_some() && read.canonicalize().ok() == there;
        ensure!(!is_out(&self.source), "{out} is what is to be quantized; give --out another name");
        let data = [Some(&self.calibrate), self.labels.as_ref(), self.genders.as_ref()];
        let data_is_out = data.into_iter().flatten().any(|data| is_out(data));
        ensure!(!data_is_out, "{out} is data to be read; give --out another name");
        ensure!(
            extension(&self.out) == "tflite",
            "{out} must end in .tflite, as what reads it expects"
        );
        Ok(())
    }

    fn settings(&self) -> Settings {
        Settings {
            ranges: self.ranges,
            equalize: !self.no_equalization,
            rounding: self.rounding,
            correct_bias: !self.no_bias_correction,
        }
    }
}

/// Faces on which layers' costs are measured.
const REPORT_FACES: usize = 512;
/// What to do about a network that is no good though it should be.
const REPORT_THIS: &str = "so it was not written; please report this with the model";
/// Pictures on which the written file is held to the plain arithmetic.
const CHECKED_PICTURES: usize = 8;

pub fn run(args: &Args) -> anyhow::Result<()> {
    args.check_out()?;
    let unsaid = Unsaid {
        normalization: args.normalization.clone(),
        labels: args.classes.clone(),
        side: args.side,
    };
    let source = Source::read(&args.source, unsaid)?;
    let labelled = Labelled::read(args, &source)?;
    let seen = Representative::read(&args.calibrate, &source, args.faces)?;
    let Quantized { graph, mut network } = quantized(args, &source, &seen)?;
    if let Some(folder) = &args.report {
        let (pictures, labels) = report_faces(&source, &labelled, &seen, &graph);
        let bar = crate::progress(labels.len() as u64, "faces", "weighing each layer's rounding")?;
        let faces = (&pictures[..], &labels[..]);
        let costs = layer_costs(&graph, &network, &source.heads, faces, |n| bar.inc(n as u64));
        bar.finish_and_clear();
        if args.dry_run {
            print!("{}", sensitivity::text(&costs));
        } else {
            report(folder, &costs, &network)?;
        }
    }
    let judged = judge::judge(args, &source, &labelled, &mut network)?;
    let picture = test_vector::picture(network.values[network.input].shape.iter().product());
    let codes = test_vector::text(&interpret(&network, &picture));
    network.metadata.insert(TEST_CODES.into(), codes);

    let bytes = tflite::write(&network);
    // Whatever stood at --out stays unless the new file loads and computes what it should.
    let name = args.out.to_string_lossy();
    let (model, written) = tflite::read(&name, &bytes)?;
    check(&model, &graph, &written, &seen.pictures)?;
    judge::compare(&source, &labelled, judged, &seen, model)?;
    if args.dry_run {
        println!("{name}: {} bytes, not written (--dry-run)", bytes.len());
    } else {
        whole::write(&args.out, &bytes).with_context(|| format!("can't write {name}"))?;
        println!("{name}: {} bytes", bytes.len());
    }
    Ok(())
}

/// Pictures on which layers' costs are measured, and the expression of each.
fn report_faces(
    source: &Source,
    labelled: &Labelled,
    seen: &Representative,
    graph: &FloatGraph,
) -> (Vec<f32>, Vec<usize>) {
    if labelled.validation.is_empty() {
        let pictures: Vec<&[f32]> = seen.pictures.chunks_exact(graph.input_len()).collect();
        let pictures = spread_evenly(pictures, REPORT_FACES).concat();
        let labels = own_answers(graph, &source.heads, &pictures);
        return (pictures, labels);
    }
    let faces = spread_evenly(labelled.validation.clone(), REPORT_FACES);
    let pictures = source.pictures(faces.iter().map(|(face, _)| face));
    (pictures, faces.iter().map(|(_, label)| *label).collect())
}

/// Quantizes, calibrating the ranges on faces to learn from.
fn quantized(args: &Args, source: &Source, seen: &Representative) -> anyhow::Result<Quantized> {
    if args.rounding == Rounding::Adaptive {
        for layer in too_large(&source.graph) {
            println!(
                "layer `{layer}`: more than {MAX_WEIGHTS} weights a filter, each rounded to the nearest"
            );
        }
    }
    let looks = args.settings().looks() * seen.pictures.len() / source.graph.input_len();
    let bar = crate::progress(looks as u64, "looks", "calibrating")?;
    let own = [
        ("mien.quantization", serde_json::to_string(&args.settings())?),
        ("mien.ranges_from", seen.title.clone()),
        ("mien.ranges_from_sha256", seen.sha256.clone()),
    ];
    let metadata = source.metadata.iter().cloned().chain(own);
    let metadata = metadata.map(|(name, text)| (name.to_owned(), text)).collect();
    let bounds = source.normalization.bounds();
    let watch = &mut |pictures| bar.inc(pictures as u64);
    let graph = source.graph.clone();
    let quantized =
        quantize_watched(graph, bounds, args.settings(), &seen.pictures, metadata, watch)?;
    bar.finish_and_clear();
    Ok(quantized)
}

/// Writes what each layer's rounding costs.
fn report(
    folder: &Path,
    costs: &[sensitivity::LayerCost],
    network: &Int8Network,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))
    };
    write("layers.txt", sensitivity::text(costs))?;
    write("layers.html", page::page(costs, network))?;
    write("layers.json", serde_json::to_string_pretty(costs)?)
}

/// Holds what the engine and tract compute from the file to the plain arithmetic, code by code. Of averages and
/// zero padding tract is not asked, see docs/engine.md.
fn check(
    model: &Model,
    graph: &FloatGraph,
    network: &Int8Network,
    pictures: &[f32],
) -> anyhow::Result<()> {
    if model.reference() != "tract" {
        ensure!(!graph.is_known_to_tract(), "tract can't run it, {REPORT_THIS}");
        println!(
            "held to the plain arithmetic alone: tract averages otherwise than LiteRT, and its padding is untried"
        );
    }
    let mut answers = Vec::new();
    for picture in pictures.chunks_exact(model.input_len()).take(CHECKED_PICTURES) {
        let codes: Vec<i8> = picture.iter().map(|&value| model.input().quantize(value)).collect();
        let plain = interpret(network, &codes);
        ensure!(
            model.run_raw(&codes)? == plain && model.run_raw_by_reference(&codes)? == plain,
            "the engine or tract runs this network otherwise than its arithmetic says; {REPORT_THIS}"
        );
        answers.push(plain);
    }
    if answers.len() > 1 && answers.windows(2).all(|pair| pair[0] == pair[1]) {
        println!(
            "warning: it answers {} calibration pictures alike; is the network trained, and is \
             --normalization that of its training?",
            answers.len()
        );
    }
    Ok(())
}
