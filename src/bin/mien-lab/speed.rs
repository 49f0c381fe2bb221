//! `mien-lab speed`.

use mien::lab::device::Device;
use mien::lab::loss::Target;
use mien::lab::network::INPUT_SIDE;
use mien::lab::samples::Sample;
use mien::lab::train::{Recipe, Run};
use ndarray::Array2;

/// Measure training speed on random pictures, in images a second.
#[derive(clap::Args)]
pub struct Args {
    /// Network: slim, reference.
    #[arg(long, default_value = "slim")]
    preset: String,
    /// Faces in a batch.
    #[arg(long, default_value_t = 64, value_parser = crate::at_least_one())]
    batch: usize,
    /// Training steps.
    #[arg(long, default_value_t = 10)]
    steps: u32,
    /// What computes the network's passes.
    #[arg(long, value_enum, default_value = "cpu")]
    device: Device,
}

/// Times whole training steps: augmentation, forward, backward, optimizer.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let network = args.preset.parse()?;
    let face = Array2::from_shape_fn((INPUT_SIDE, INPUT_SIDE), |(y, x)| ((y * x) as f32).sin());
    let sample = Sample { face, target: Target::expression([1.0 / 7.0; 7]) };
    let recipe = Recipe {
        network,
        epochs: u64::MAX,
        batch: args.batch,
        gender_batch: 0,
        ..Recipe::default()
    };
    let mut run = Run::on(args.device, recipe, vec![sample; args.batch], Vec::new())?;
    run.epoch(|_| ())?; // the first step allocates
    let started = std::time::Instant::now();
    for _ in 0..args.steps {
        run.epoch(|_| ())?;
    }
    let images = args.batch as f64 * f64::from(args.steps);
    println!("{:.1} images/s", images / started.elapsed().as_secs_f64());
    Ok(())
}
