//! The plan of a model, checked against tract, on as many threads as are allowed.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use super::kernels;
use super::plan::{Plan, Workspace};
use super::read;
use super::tract::Tract;

/// A plan and the memory that it runs in.
pub struct Fast {
    plan: Plan,
    /// Of threads that do not run at the moment.
    workspaces: Mutex<Vec<Workspace>>,
    input_len: usize,
    output_len: usize,
}

impl Fast {
    /// Plans an inspected file, of `input_len` and `output_len` codes a picture, and runs a test
    /// picture; else says why it is left to tract.
    pub fn checked(
        bytes: &[u8],
        input_len: usize,
        output_len: usize,
        tract: &Tract,
    ) -> Result<Self, String> {
        // Whatever is wrong with a file, tract can still have a go at it.
        let fast = catch_unwind(AssertUnwindSafe(|| {
            let fast = Self::planned(bytes, input_len, output_len)?;
            let picture = test_picture(input_len);
            let (ours, theirs) = (fast.run(&picture, 1), tract.run(&picture)?);
            match ours == theirs {
                true => Ok(fast),
                false => Err(format!(
                    "{} of {output_len} codes of a test picture are not tract's",
                    ours.iter().zip(&theirs).filter(|(a, b)| a != b).count()
                )),
            }
        }));
        fast.unwrap_or_else(|_| Err("its plan panicked".into()))
    }

    fn planned(bytes: &[u8], input_len: usize, output_len: usize) -> Result<Self, String> {
        let network = read::read(bytes, BTreeMap::new())
            .map_err(|part| format!("{part} is more than the plan knows"))?;
        let plan = Plan::new(&network, kernels::select()).map_err(|error| error.to_string())?;
        Ok(Self { plan, workspaces: Mutex::default(), input_len, output_len })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The output's codes for pictures one after the other, dealt out to at most `threads` threads.
    pub fn run(&self, input: &[i8], threads: usize) -> Vec<i8> {
        let pictures = input.len() / self.input_len;
        let mut output = vec![0; pictures * self.output_len];
        let each = pictures.div_ceil(threads.max(1)).max(1);
        let inputs = input.chunks(each * self.input_len);
        let mut parts = inputs.zip(output.chunks_mut(each * self.output_len));
        let own = parts.next();
        // A thread that panics makes this one panic.
        std::thread::scope(|scope| {
            for (input, output) in parts {
                scope.spawn(|| self.run_here(input, output));
            }
            if let Some((input, output)) = own {
                self.run_here(input, output);
            }
        });
        output
    }

    fn run_here(&self, input: &[i8], output: &mut [i8]) {
        let lent = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut workspace = lent.unwrap_or_else(|| self.plan.workspace());
        self.plan.run(&mut workspace, input, output);
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
    }
}

/// Noise in all codes, the same at each start: what vectors, tails and edges a plan has, it meets.
fn test_picture(len: usize) -> Vec<i8> {
    let mut state = 0x9E37_79B9_u32;
    let next = || {
        // Marsaglia's xorshift, 32 bits.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).map(u8::cast_signed).collect()
}
