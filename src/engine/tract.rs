//! Stock tract.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_tflite::internal::{
    DatumType, Framework, IntoRunnable, Tensor, TractResult, TypedRunnableModel, tvec,
};

/// A file that tract has loaded.
pub struct Tract {
    plan: Arc<TypedRunnableModel>,
    input_type: DatumType,
    input_shape: [usize; 4],
}

impl Tract {
    /// Loads a file that `read` lets through; else says why tract doesn't.
    ///
    /// The plan is not optimized: `into_optimized` moves some requantizations from f32 to integers
    /// that round otherwise near halves, about one code in 100,000, which then spreads to the logits.
    /// As read, tract gives LiteRT's bytes.
    pub fn load(bytes: &[u8], input_shape: [usize; 4]) -> Result<Self, String> {
        // `read` refuses what is known to make tract panic; should a file get through, it must
        // not take the kiosk down.
        let load = || -> TractResult<Self> {
            let mut reader = bytes;
            let plan = tract_tflite::tflite().model_for_read(&mut reader)?.into_runnable()?;
            let input_type = plan.model().input_fact(0)?.datum_type;
            Ok(Self { plan, input_type, input_shape })
        };
        let loaded = catch_unwind(load).map_err(|_| "tract panicked while loading it")?;
        loaded.map_err(|e| format!("{e:#}"))
    }

    /// The output's codes for one picture.
    pub fn run(&self, picture: &[i8]) -> Result<Vec<i8>, String> {
        let run = || -> TractResult<Vec<i8>> {
            let mut input = Tensor::zero_dt(self.input_type, &self.input_shape)?;
            input.try_as_plain_ram_mut()?.as_slice_mut::<i8>()?.copy_from_slice(picture);
            let outputs = self.plan.run(tvec!(input.into()))?;
            Ok(outputs[0].try_as_plain_ram()?.as_slice::<i8>()?.to_vec())
        };
        let codes =
            catch_unwind(AssertUnwindSafe(run)).map_err(|_| "tract panicked while running it")?;
        codes.map_err(|e| format!("{e:#}"))
    }
}
