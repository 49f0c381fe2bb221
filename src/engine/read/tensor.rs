//! A file's tensors.

use std::borrow::Cow;

use tract_tflite::tflite::{Model, Tensor as Table, TensorType};

use super::super::Quantization;
use super::super::network::Shape;
use super::blocks::Blocks;
use super::{Fault, ensure};

/// No tensor of the family comes near; keeps a forged shape from asking for all memory.
const MAX_LEN: usize = 1 << 24;
/// As many as LiteRT's own operators take; some work grows with its square.
pub const MAX_RANK: usize = 8;

/// How a tensor is used beside another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Value by value.
    Alike,
    /// For all pixels.
    Row,
    /// For all values.
    Number,
}

/// Height, width and channels of a picture, of a line of pixels, or of a row.
pub fn picture(axes: &[usize]) -> Option<Shape> {
    match axes[..] {
        [1, height, width, channels] => Some([height, width, channels]),
        [1, pixels, channels] => Some([1, pixels, channels]),
        [1, channels] => Some([1, 1, channels]),
        _ => None,
    }
}

/// How values of these axes lie: as a picture, or all in a row.
pub fn layout(axes: &[usize]) -> Shape {
    picture(axes)
        .unwrap_or_else(|| [1, 1, axes.iter().fold(1, |len, side| len.saturating_mul(*side))])
}

/// A checked tensor.
pub struct Tensor<'m> {
    pub name: String,
    pub type_: TensorType,
    pub shape: Vec<usize>,
    /// Whether the file leaves some of its sides to the pictures, until something computes it.
    pub is_open: bool,
    pub scales: Vec<f32>,
    /// The axis along which there is one for each.
    pub scales_axis: usize,
    pub zero_point: i64,
    /// Its values, if they are in the file, or numbers that such tell.
    pub data: Option<Cow<'m, [u8]>>,
    /// What blocks of the value that it holds it is made of, if it is.
    pub blocks: Option<Blocks>,
}

impl<'m> Tensor<'m> {
    pub fn new(model: &Model<'m>, tensor: Table<'m>, index: usize) -> Result<Self, Fault> {
        let name = tensor.name().unwrap_or_default();
        let part = format!("tensor {index} `{name}`");
        ensure(tensor.name().is_some(), &part, || "has no name".into())?;
        let shape: Vec<usize> = (tensor.shape().into_iter().flatten())
            .map(|side| usize::try_from(side).unwrap_or(0))
            .collect();
        let rank = shape.len();
        ensure(rank <= MAX_RANK, &part, || format!("has {rank} axes, more than {MAX_RANK}"))?;
        let len = shape.iter().try_fold(1usize, |len, &side| len.checked_mul(side));
        let len = len.filter(|len| (1..=MAX_LEN).contains(len));
        let len = len.ok_or_else(|| (part.clone(), format!("has the shape {shape:?}")))?;
        let type_ = tensor.type_();
        let size = match type_ {
            TensorType::INT8 | TensorType::BOOL => 1,
            TensorType::INT32 => 4,
            other => return Err((part, format!("is {other:?}, not INT8, INT32 or BOOL"))),
        };
        let code = tensor.quantization();
        let mut scales: Vec<f32> = code.and_then(|c| c.scale()).into_iter().flatten().collect();
        let mut zeros: Vec<i64> = code.and_then(|c| c.zero_point()).into_iter().flatten().collect();
        if type_ == TensorType::BOOL {
            (scales, zeros) = (vec![1.0], vec![0]);
        }
        let usable = scales.iter().all(|scale| scale.is_normal() && *scale > 0.0)
            && zeros.iter().all(|zero| i8::try_from(*zero).is_ok() && *zero == zeros[0]);
        // Of numbers like axes there need be none.
        let coded = !scales.is_empty() || type_ == TensorType::INT32;
        ensure(usable && coded && scales.len() == zeros.len(), &part, || {
            "has no usable quantization (scales > 0, one zero point)".into()
        })?;
        let buffers = model.buffers();
        let buffer = buffers.and_then(|all| {
            let i = tensor.buffer() as usize;
            (i < all.len()).then(|| all.get(i))
        });
        let buffer = buffer.ok_or_else(|| (part.clone(), "refers to no buffer".into()))?;
        let data = buffer.data().filter(|data| tensor.buffer() != 0 && !data.is_empty());
        if let Some(data) = data {
            ensure(data.len() == len * size, &part, || {
                format!("of shape {shape:?} has {} bytes", data.len())
            })?;
        }
        let scales_axis = code.map_or(0, |code| code.quantized_dimension());
        let mut signature = tensor.shape_signature().into_iter().flatten();
        Ok(Self {
            name: name.into(),
            type_,
            shape,
            is_open: signature.any(|side| side < 0),
            scales,
            scales_axis: usize::try_from(scales_axis).unwrap_or(usize::MAX),
            zero_point: zeros.first().copied().unwrap_or_default(),
            data: data.map(|data| data.bytes().into()),
            blocks: None,
        })
    }

    /// Whether it is INT8 of one scale, or truths, which are the codes 0 and 1.
    pub fn is_value(&self) -> bool {
        matches!(self.type_, TensorType::INT8 | TensorType::BOOL) && self.scales.len() == 1
    }

    /// Its values, if it is a constant.
    pub fn codes(&self) -> impl Iterator<Item = i8> + Clone {
        self.data.as_deref().unwrap_or_default().iter().map(|byte| byte.cast_signed())
    }

    /// How it is used beside one of this shape, axes counted from the last.
    pub fn beside(&self, shape: &[usize]) -> Option<Beside> {
        let missing = shape.len().checked_sub(self.shape.len())?;
        let own: Vec<usize> = std::iter::repeat_n(1, missing).chain(self.shape.clone()).collect();
        let (&last, before) = own.split_last()?;
        if own == shape {
            Some(Beside::Alike)
        } else if before.iter().all(|side| *side == 1) && shape.last() == Some(&last) {
            Some(Beside::Row)
        } else {
            (own.iter().product::<usize>() == 1).then_some(Beside::Number)
        }
    }

    /// The code of an INT8 value.
    pub fn code(&self) -> Quantization {
        let zero_point = i8::try_from(self.zero_point).expect("checked in `new`");
        Quantization { scale: self.scales[0], zero_point }
    }
}
