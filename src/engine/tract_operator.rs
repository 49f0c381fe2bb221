//! An operator that tract runs, on codes as they are or on the numbers that they stand for.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_tflite::internal::{
    IntoRunnable, TValue, TVec, Tensor, TractResult, TypedModel, TypedRunnableModel,
};

use super::Quantization;

/// What tract is given of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Its codes, for an operator that only moves or compares them.
    Codes,
    /// What its codes stand for, in single precision. What comes of that becomes the nearest code, which
    /// may be another than LiteRT's next to it.
    Reals,
}

impl Domain {
    /// What tract is given for codes of this quantization.
    pub fn tensor(
        self,
        shape: &[usize],
        codes: impl Iterator<Item = i8>,
        code: Quantization,
    ) -> TractResult<Tensor> {
        match self {
            Self::Codes => Tensor::from_shape(shape, &codes.collect::<Vec<_>>()),
            Self::Reals => {
                let reals: Vec<f32> = codes.map(|x| code.dequantize(x)).collect();
                Tensor::from_shape(shape, &reals)
            }
        }
    }
}

/// An operator with all but the values that it reads.
#[derive(Clone)]
pub struct TractOperator {
    name: &'static str,
    domain: Domain,
    /// Of what it reads.
    shapes: Vec<Vec<usize>>,
    /// Multiply-accumulates, of a product of matrices.
    macs: usize,
    model: Arc<TypedRunnableModel>,
}

impl TractOperator {
    /// Of a graph with inputs of these shapes; else what tract says. It has then run once.
    pub fn new(
        name: &'static str,
        domain: Domain,
        shapes: Vec<Vec<usize>>,
        macs: usize,
        graph: TypedModel,
    ) -> Result<Self, String> {
        let load = || -> TractResult<Self> {
            let operator = Self { name, domain, shapes, macs, model: graph.into_runnable()? };
            let zero = Quantization { scale: 1.0, zero_point: 0 };
            let lens = operator.shapes.iter().map(|shape| shape.iter().product());
            operator.try_run(lens.map(|len| (std::iter::repeat_n(0, len), zero)), zero)?;
            Ok(operator)
        };
        let loaded = catch_unwind(AssertUnwindSafe(load)).map_err(|_| "tract panicked")?;
        loaded.map_err(|error| format!("{error:#}"))
    }

    /// As files call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it is given.
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// Multiply-accumulates that it takes.
    pub fn macs(&self) -> usize {
        self.macs
    }

    /// The codes that it gives, for those of each value that it reads, which are of these quantizations.
    pub fn run<I: Iterator<Item = i8>>(
        &self,
        inputs: impl Iterator<Item = (I, Quantization)>,
        output: Quantization,
    ) -> Vec<i8> {
        // Nothing of what it does depends on the codes.
        self.try_run(inputs, output).expect("it ran in `new`")
    }

    fn try_run<I: Iterator<Item = i8>>(
        &self,
        inputs: impl Iterator<Item = (I, Quantization)>,
        output: Quantization,
    ) -> TractResult<Vec<i8>> {
        let inputs =
            self.shapes.iter().zip(inputs).map(|(shape, (codes, code))| {
                self.domain.tensor(shape, codes, code).map(TValue::from)
            });
        let outputs = self.model.run(inputs.collect::<TractResult<TVec<_>>>()?)?;
        let plain = outputs[0].try_as_plain_ram()?;
        Ok(match self.domain {
            Domain::Codes => plain.as_slice::<i8>()?.to_vec(),
            Domain::Reals => {
                // What is no number, like the logarithm of less than nothing, is the least.
                let code = |real: f32| if real.is_nan() { i8::MIN } else { output.quantize(real) };
                plain.as_slice::<f32>()?.iter().map(|&real| code(real)).collect()
            }
        })
    }
}

impl fmt::Debug for TractOperator {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} of {:?} in tract", self.name, self.shapes)
    }
}

/// Whether they are the same one.
impl PartialEq for TractOperator {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.model, &other.model)
    }
}
