//! Where the two passes of a training step run: on the CPU, by [`Executor`], or on a CUDA GPU, by
//! the same arithmetic written for burn's backends.
//!
//! Weights, loss and optimizer stay on the host whatever the device is: a step sends the weights
//! (1 MB) and the pictures, and fetches the logits and the gradients.

#[cfg(feature = "burn")]
pub mod burn;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "device/cuda_absent.rs"]
mod cuda;

use rand_pcg::Pcg64;

use super::executor::{Executor, Precision, Weights};
use super::network::Graph;

/// What can run a training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Device {
    /// All cores of this machine.
    Cpu,
    /// The first GPU that CUDA lists (`CUDA_VISIBLE_DEVICES` chooses).
    Cuda,
}

/// Why a device can't train.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Cargo's feature `cuda` is off.
    #[error(
        "this build can't use CUDA; build it with `cargo build --release --features cuda`, or \
         train on the CPU"
    )]
    NotBuilt,
    /// A library that is looked for at run time isn't there.
    #[error("{library} was not found: {remedy}")]
    NoLibrary { library: &'static str, remedy: &'static str },
    /// The driver has no GPU to give.
    #[error("the CUDA driver has no GPU: {why}; see what `nvidia-smi` lists")]
    NoGpu { why: String },
    /// The device broke off a pass.
    #[error("the device failed: {why}; if its memory is full, take a smaller --batch")]
    Failed { why: String },
}

/// The two passes of a training step over one graph.
pub trait Passes {
    /// The graph they run.
    fn graph(&self) -> &Graph;

    /// The forward pass, as [`Executor::train_forward`] has it: `pictures` [n, 48, 48] to logits
    /// [n, 9]; moves the running statistics in `weights`.
    fn train_forward(
        &mut self,
        weights: &mut Weights,
        pictures: &[f32],
        rng: &mut Pcg64,
    ) -> Result<&[f32], DeviceError>;

    /// The backward pass after it, as [`Executor::backward`] has it: `weights` are those of the
    /// forward pass, `dlogits` is [n, 9].
    fn backward(
        &mut self,
        weights: &Weights,
        dlogits: &[f32],
        gradients: &mut Weights,
    ) -> Result<(), DeviceError>;
}

impl Device {
    /// Tells whether this machine and this build have the device.
    pub fn find(self) -> Result<(), DeviceError> {
        match self {
            Self::Cpu => Ok(()),
            Self::Cuda => cuda::find(),
        }
    }

    /// Gets the device ready to train `graph`. `precision` is the CPU's; a GPU has its own, single
    /// precision whose products may be TF32.
    pub fn passes(
        self,
        graph: Graph,
        precision: Precision,
    ) -> Result<Box<dyn Passes>, DeviceError> {
        self.find()?;
        match self {
            Self::Cpu => Ok(Box::new(Executor::with_precision(graph, precision))),
            Self::Cuda => cuda::passes(graph),
        }
    }
}

impl Passes for Executor {
    fn graph(&self) -> &Graph {
        self.graph()
    }

    fn train_forward(
        &mut self,
        weights: &mut Weights,
        pictures: &[f32],
        rng: &mut Pcg64,
    ) -> Result<&[f32], DeviceError> {
        Ok(self.train_forward(weights, pictures, rng))
    }

    fn backward(
        &mut self,
        weights: &Weights,
        dlogits: &[f32],
        gradients: &mut Weights,
    ) -> Result<(), DeviceError> {
        self.backward(weights, dlogits, gradients);
        Ok(())
    }
}
