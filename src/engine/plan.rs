//! A network compiled into stages that run in memory laid out ahead: no allocation per picture.
//!
//! A stage is a convolution with all that goes with it (the depthwise convolution before it, the sum
//! after it), or what stands alone. Pictures go through one after the other.

mod arena;
mod average;
mod band;
mod build;
mod pad;
mod rows;
mod stage;
#[cfg(test)]
mod tests;

pub use build::Unplanned;
use stage::Stage;

use super::kernels::{Kernels, QUAD};
use super::network::Int8Network;

/// How a network runs.
pub struct Plan {
    kernels: &'static Kernels,
    stages: Vec<Stage>,
    input: Place,
    output: Place,
    sizes: Sizes,
}

/// Where a value lies in the arena.
#[derive(Clone, Debug)]
struct Place {
    offset: usize,
    height: usize,
    width: usize,
    /// Bytes of a pixel.
    step: usize,
    /// Of these in use.
    channels: usize,
}

impl Place {
    fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Bytes of its pixels.
    fn len(&self) -> usize {
        self.pixels() * self.step
    }

    /// Bytes that it takes, with those that kernels read beyond the last pixel.
    fn room(&self) -> usize {
        (self.len() + QUAD).next_multiple_of(arena::LINE)
    }

    /// The bytes of its pixels that are in use, in order.
    fn used<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = u8> + use<'a> {
        let channels = self.channels;
        bytes[..self.len()]
            .chunks_exact(self.step)
            .flat_map(move |pixel| &pixel[..channels])
            .copied()
    }

    fn used_mut<'a>(&self, bytes: &'a mut [u8]) -> impl Iterator<Item = &'a mut u8> + use<'a> {
        let (len, channels) = (self.len(), self.channels);
        bytes[..len].chunks_exact_mut(self.step).flat_map(move |pixel| &mut pixel[..channels])
    }

    fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.room()
    }
}

/// What running takes besides the weights, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    arena: usize,
    /// The largest stage's padded rows.
    rows: usize,
    /// The largest stage's tile between a depthwise convolution and the next.
    tile: usize,
}

/// Memory that a plan runs in.
pub struct Workspace {
    arena: arena::Memory,
    /// Of each thread that runs in it.
    scratches: Vec<Scratch>,
}

/// What a thread needs for itself.
struct Scratch {
    rows: arena::Memory,
    tile: arena::Memory,
}

impl Plan {
    /// Compiles a network.
    pub fn new(network: &Int8Network, kernels: &'static Kernels) -> Result<Self, Unplanned> {
        build::plan(network, kernels)
    }

    /// Memory to run in, each stage's rows dealt out to this many threads.
    pub fn workspace(&self, threads: usize) -> Workspace {
        let Sizes { arena, rows, tile } = self.sizes;
        let scratch = || Scratch { rows: arena::Memory::new(rows), tile: arena::Memory::new(tile) };
        let scratches = std::iter::repeat_with(scratch).take(threads.max(1)).collect();
        Workspace { arena: arena::Memory::new(arena), scratches }
    }

    /// The kernels it runs on.
    pub fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    /// Bytes of a [`Workspace`] for one thread.
    pub fn workspace_bytes(&self) -> usize {
        self.sizes.arena + self.sizes.rows + self.sizes.tile
    }

    /// The output's codes for pictures one after the other; `output` has room for as many.
    pub fn run(&self, workspace: &mut Workspace, input: &[i8], output: &mut [i8]) {
        let input_len = self.input.pixels() * self.input.channels;
        let output_len = self.output.pixels() * self.output.channels;
        let inputs = input.chunks_exact(input_len);
        for (input, output) in inputs.zip(output.chunks_exact_mut(output_len)) {
            self.store(workspace, input);
            for stage in &self.stages {
                stage.run(self.kernels, workspace);
            }
            self.fetch(workspace, output);
        }
    }

    fn store(&self, workspace: &mut Workspace, input: &[i8]) {
        let Place { step, channels, .. } = self.input;
        let place = &mut workspace.arena[self.input.range()];
        for (stored, codes) in place.chunks_exact_mut(step).zip(input.chunks_exact(channels)) {
            for (stored, code) in stored.iter_mut().zip(codes) {
                *stored = code.cast_unsigned() ^ self.kernels.flip;
            }
        }
    }

    fn fetch(&self, workspace: &Workspace, output: &mut [i8]) {
        let Place { step, channels, .. } = self.output;
        let place = &workspace.arena[self.output.range()];
        for (stored, codes) in place.chunks_exact(step).zip(output.chunks_exact_mut(channels)) {
            for (stored, code) in stored.iter().zip(codes) {
                *code = (stored ^ self.kernels.flip).cast_signed();
            }
        }
    }
}
