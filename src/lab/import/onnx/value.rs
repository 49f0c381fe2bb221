//! What stands behind a tensor's name: a constant, or something computed from the picture.

use std::rc::Rc;

use super::super::super::network::Shape;
use super::proto;

/// Most axes of a tensor.
const MAX_RANK: usize = 8;
/// Values of `TensorProto.DataType`.
pub const FLOAT: i32 = 1;
pub const INT32: i32 = 6;
pub const INT64: i32 = 7;
/// Value of `TensorProto.DataLocation`.
const EXTERNAL: i32 = 1;

/// Behind a name.
#[derive(Clone)]
pub enum Value {
    /// Known beforehand.
    Constant(Rc<Constant>),
    /// Computed from the picture.
    Live(Live),
}

/// A tensor of the file; as many values as the product of its sizes.
#[derive(Debug)]
pub struct Constant {
    /// Sizes, slowest first.
    pub dims: Vec<usize>,
    /// Row-major.
    pub data: Data,
}

/// A tensor's elements.
#[derive(Debug)]
pub enum Data {
    /// Weights.
    Float(Vec<f32>),
    /// Shapes and axes.
    Int(Vec<i64>),
}

/// A computed tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// The layer that gives it.
    pub value: usize,
    /// What each of its axes is.
    pub axes: Vec<Axis>,
    /// Its channels are a flattened picture of this shape, in the file's order: channels first.
    /// (The layer's are in this project's.)
    pub flattened: Option<Shape>,
}

/// An axis of a computed tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Pictures: one.
    Batch,
    Height,
    Width,
    Channels,
    /// Of size 1.
    One,
}

/// How a convolution's input and output lie.
pub const CHANNELS_FIRST: [Axis; 4] = [Axis::Batch, Axis::Channels, Axis::Height, Axis::Width];

impl Constant {
    /// A tensor of the file, if it is whole.
    pub fn new(tensor: &proto::Tensor) -> Result<Self, String> {
        if tensor.data_location == EXTERNAL {
            return Err(
                "its data are in another file (external data); save the model as one file".into()
            );
        }
        if tensor.dims.len() > MAX_RANK {
            return Err(format!("it has {} axes, more than {MAX_RANK}", tensor.dims.len()));
        }
        let dims: Option<Vec<usize>> =
            tensor.dims.iter().map(|dim| usize::try_from(*dim).ok()).collect();
        let dims = dims.ok_or_else(|| format!("it has the shape {:?}", tensor.dims))?;
        let data = match tensor.data_type {
            FLOAT => Data::Float(match tensor.raw_data.is_empty() {
                true => tensor.float_data.clone(),
                false => numbers(&tensor.raw_data, f32::from_le_bytes)?,
            }),
            INT64 => Data::Int(match tensor.raw_data.is_empty() {
                true => tensor.int64_data.clone(),
                false => numbers(&tensor.raw_data, i64::from_le_bytes)?,
            }),
            INT32 => {
                let narrow = match tensor.raw_data.is_empty() {
                    true => tensor.int32_data.clone(),
                    false => numbers(&tensor.raw_data, i32::from_le_bytes)?,
                };
                Data::Int(narrow.into_iter().map(i64::from).collect())
            }
            other => {
                return Err(format!(
                    "its elements are {}; export the float32 model, without quantization",
                    type_name(other)
                ));
            }
        };
        let constant = Self { dims, data };
        let len = constant.dims.iter().try_fold(1usize, |len, dim| len.checked_mul(*dim));
        if len != Some(constant.len()) {
            let (dims, len) = (&constant.dims, constant.len());
            return Err(format!("it is {dims:?}, but holds {len} values; the file is damaged"));
        }
        Ok(constant)
    }

    /// A vector.
    pub fn vector(data: Data) -> Self {
        let mut vector = Self { dims: Vec::new(), data };
        vector.dims.push(vector.len());
        vector
    }

    /// Elements.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::Float(values) => values.len(),
            Data::Int(values) => values.len(),
        }
    }

    /// Its elements, if they are floats.
    pub fn floats(&self) -> Option<&[f32]> {
        match &self.data {
            Data::Float(values) => Some(values),
            Data::Int(_) => None,
        }
    }

    /// Its elements, if they are integers.
    pub fn ints(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Int(values) => Some(values),
            Data::Float(_) => None,
        }
    }
}

/// Numbers of so many bytes, one after the other.
fn numbers<const N: usize, T>(bytes: &[u8], of: impl Fn([u8; N]) -> T) -> Result<Vec<T>, String> {
    let (chunks, []) = bytes.as_chunks::<N>() else {
        return Err(format!("its {} bytes are no whole numbers; the file is damaged", bytes.len()));
    };
    Ok(chunks.iter().map(|chunk| of(*chunk)).collect())
}

fn type_name(data_type: i32) -> String {
    match data_type {
        2 => "uint8".into(),
        3 => "int8".into(),
        10 => "float16".into(),
        11 => "float64".into(),
        16 => "bfloat16".into(),
        other => format!("of data type {other}"),
    }
}

impl Axis {
    /// Its size, in a value of this shape.
    pub fn size(self, [h, w, c]: Shape) -> usize {
        match self {
            Self::Batch | Self::One => 1,
            Self::Height => h,
            Self::Width => w,
            Self::Channels => c,
        }
    }
}

impl Live {
    /// A picture with its channels first.
    pub fn channels_first(value: usize) -> Self {
        Self { value, axes: CHANNELS_FIRST.into(), flattened: None }
    }

    /// Sizes of its axes.
    pub fn dims(&self, shape: Shape) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.size(shape)).collect()
    }

    /// Whether its axes are these, where axes of size 1 may stand for each other.
    pub fn lies_as(&self, axes: &[Axis], shape: Shape) -> bool {
        let alike = |(own, other): (&Axis, &Axis)| {
            own == other
                || (*own != Axis::Batch
                    && *other != Axis::Batch
                    && own.size(shape) == 1
                    && other.size(shape) == 1)
        };
        self.axes.len() == axes.len() && self.axes.iter().zip(axes).all(alike)
    }

    /// The axes that say where a value is: all but those of size 1.
    fn long_axes(&self, shape: Shape) -> Vec<Axis> {
        self.axes.iter().copied().filter(|axis| axis.size(shape) > 1).collect()
    }

    /// It with the axes of a tensor of these sizes, if those only differ by sizes of 1.
    pub fn regrouped(&self, dims: &[usize], shape: Shape) -> Option<Self> {
        let mut long = self.long_axes(shape).into_iter();
        let mut axes = vec![Axis::Batch];
        for dim in dims.get(1..)? {
            axes.push(if *dim == 1 { Axis::One } else { long.next()? });
            if *dim != axes.last()?.size(shape) {
                return None;
            }
        }
        let is_whole = long.next().is_none() && dims.first() == Some(&1);
        // One axis that is all there is: the channels, be there several or one.
        if let [_, axis @ Axis::One] = &mut axes[..] {
            *axis = Axis::Channels;
        }
        is_whole.then_some(Self { axes, ..self.clone() })
    }

    /// In which order flattening takes the values, if it is one of the two known.
    pub fn flattening(&self, shape: Shape) -> Option<Flattening> {
        let long = self.long_axes(shape);
        let is_in = |order: [Axis; 3]| {
            let mut order = order.into_iter();
            self.axes.first() == Some(&Axis::Batch)
                && long.iter().all(|axis| order.any(|other| other == *axis))
        };
        if is_in([Axis::Height, Axis::Width, Axis::Channels]) {
            Some(Flattening::ChannelsLast)
        } else if is_in([Axis::Channels, Axis::Height, Axis::Width]) {
            Some(Flattening::ChannelsFirst)
        } else {
            None
        }
    }
}

/// Order of a flattened picture's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flattening {
    /// This project's.
    ChannelsLast,
    /// ONNX's.
    ChannelsFirst,
}
