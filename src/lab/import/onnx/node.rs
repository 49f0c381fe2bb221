//! A node's name and settings.

use super::super::super::float::window::Margins;
use super::super::super::float::{LayerError, Padding, Window};
use super::super::builder::{MAX_SIDE, explicit, side, sides};
use super::proto::{self, Attribute};

/// A node, and what errors call it.
pub struct Node<'n> {
    /// The file's name for it, or its output's.
    pub name: &'n str,
    /// What the file says.
    pub proto: &'n proto::Node,
}

impl<'n> Node<'n> {
    pub fn new(proto: &'n proto::Node) -> Self {
        let output = || proto.output.first().map_or("", String::as_str);
        let name = if proto.name.is_empty() { output() } else { &proto.name };
        Self { name, proto }
    }

    /// What is wrong with it.
    pub fn wrong(&self, why: impl AsRef<str>) -> LayerError {
        LayerError::new(self.name, format!("{}: {}", self.proto.op_type, why.as_ref()))
    }

    /// A setting.
    pub fn attribute(&self, name: &str) -> Option<&'n Attribute> {
        self.proto.attribute.iter().find(|attribute| attribute.name == name)
    }

    /// An integer setting.
    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i)
    }

    /// A real setting.
    pub fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |attribute| attribute.f)
    }

    /// A list of integers.
    pub fn ints(&self, name: &str) -> Option<&'n [i64]> {
        self.attribute(name).map(|attribute| &attribute.ints[..])
    }

    /// A text.
    pub fn text(&self, name: &str, default: &'n str) -> &'n str {
        let text = |attribute: &'n Attribute| str::from_utf8(&attribute.s).unwrap_or("?");
        self.attribute(name).map_or(default, text)
    }

    /// The place of an axis that the file may count from behind.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize, LayerError> {
        let from_front = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
        let place = from_front.and_then(|axis| usize::try_from(axis).ok());
        place
            .filter(|place| *place < rank)
            .ok_or_else(|| self.wrong(format!("axis {axis} of {rank}")))
    }

    /// The window of a convolution or pooling over a picture of these sides.
    pub fn window(&self, kernel: [usize; 2], picture: [usize; 2]) -> Result<Window, LayerError> {
        if kernel.iter().any(|side| !(1..=MAX_SIDE).contains(side)) {
            return Err(self.wrong(format!("a kernel of {kernel:?}")));
        }
        if self.ints("dilations").is_some_and(|steps| steps.iter().any(|step| *step != 1)) {
            return Err(self.wrong("it is dilated, which .tflite networks here can't be"));
        }
        let stride = self.ints("strides").unwrap_or(&[1, 1]);
        let stride = sides(stride).ok_or_else(|| self.wrong(format!("strides {stride:?}")))?;
        let window = |padding| Window { kernel, stride, padding };
        let padding = match self.text("auto_pad", "NOTSET") {
            "NOTSET" | "" => explicit(self.margins()?),
            "VALID" => Padding::Valid,
            "SAME_UPPER" => Padding::Same,
            "SAME_LOWER" => {
                let Margins { top, bottom, left, right } = window(Padding::Same).margins(picture);
                explicit(Margins { top: bottom, bottom: top, left: right, right: left })
            }
            other => return Err(self.wrong(format!("auto_pad `{other}` is not known"))),
        };
        Ok(window(padding))
    }

    /// The setting `pads`: before each axis, then after each.
    fn margins(&self) -> Result<Margins, LayerError> {
        let pads = self.ints("pads").unwrap_or(&[0; 4]);
        let margins: Vec<usize> = pads.iter().filter_map(|pad| side(*pad)).collect();
        match margins[..] {
            [top, left, bottom, right] if pads.len() == 4 => {
                Ok(Margins { top, bottom, left, right })
            }
            _ => {
                Err(self.wrong(format!("pads {pads:?}; four margins of a picture are understood")))
            }
        }
    }
}
