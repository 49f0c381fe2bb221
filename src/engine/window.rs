//! The geometry of convolutions and pooling, and the activations that follow them.

use std::fmt;

use super::Quantization;

/// Side length after a `SAME` operation of this stride.
pub fn same_side(side: usize, stride: usize) -> usize {
    side.div_ceil(stride)
}

/// Rows (or columns) of `SAME` padding before the first pixel, as TensorFlow counts them.
pub fn same_pad_before(side: usize, kernel: usize, stride: usize) -> usize {
    let covered = (same_side(side, stride) - 1) * stride + kernel;
    covered.saturating_sub(side) / 2
}

/// How a window meets the picture's edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// As TensorFlow's `SAME`: output side `ceil(side / stride)`, the odd row and column of padding
    /// below and to the right.
    Same,
    /// None.
    Valid,
    /// These rows and columns of zeros (for a max pool: of nothing).
    Explicit(Margins),
}

/// Rows and columns around a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Margins {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the left.
    pub left: usize,
    /// Columns to the right.
    pub right: usize,
}

impl fmt::Display for Margins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { top, bottom, left, right } = self;
        write!(f, "{top} rows above, {bottom} below, {left} columns left, {right} right")
    }
}

impl Margins {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Before and after the picture, along rows and along columns.
    pub fn by_axis(&self) -> [[usize; 2]; 2] {
        [[self.top, self.bottom], [self.left, self.right]]
    }

    /// Height and width of a picture with them around it.
    pub fn around(&self, [height, width]: [usize; 2]) -> [usize; 2] {
        [self.top + height + self.bottom, self.left + width + self.right]
    }

    /// Both around each other.
    pub fn plus(&self, other: Self) -> Self {
        Self {
            top: self.top + other.top,
            bottom: self.bottom + other.bottom,
            left: self.left + other.left,
            right: self.right + other.right,
        }
    }
}

/// A window sliding over a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width.
    pub kernel: [usize; 2],
    /// Steps down and to the right.
    pub stride: [usize; 2],
    /// How it meets the edge.
    pub padding: Padding,
}

impl Window {
    /// The window that takes each pixel by itself.
    pub const PIXEL: Self = Self { kernel: [1, 1], stride: [1, 1], padding: Padding::Valid };

    /// The window that takes a whole picture at once.
    pub fn whole(kernel: [usize; 2]) -> Self {
        Self { kernel, stride: [1, 1], padding: Padding::Valid }
    }

    /// Margins around a picture of these sides.
    pub fn margins(&self, sides: [usize; 2]) -> Margins {
        match self.padding {
            Padding::Valid => Margins::default(),
            Padding::Explicit(margins) => margins,
            Padding::Same => {
                let axis = |i: usize| {
                    let (side, kernel, stride) = (sides[i], self.kernel[i], self.stride[i]);
                    let covered = (same_side(side, stride) - 1) * stride + kernel;
                    let before = same_pad_before(side, kernel, stride);
                    (before, covered.saturating_sub(side) - before)
                };
                let ((top, bottom), (left, right)) = (axis(0), axis(1));
                Margins { top, bottom, left, right }
            }
        }
    }

    /// Sides of the output for a picture of these sides; none if the window is larger than it or
    /// never moves.
    pub fn output(&self, sides: [usize; 2]) -> Option<[usize; 2]> {
        if self.kernel.contains(&0) || self.stride.contains(&0) || sides.contains(&0) {
            return None;
        }
        let margins = self.margins(sides).by_axis();
        let axis = |i: usize| {
            let padded = sides[i].checked_add(margins[i][0])?.checked_add(margins[i][1])?;
            Some(padded.checked_sub(self.kernel[i])? / self.stride[i] + 1)
        };
        Some([axis(0)?, axis(1)?])
    }

    /// How many of its rows come first in turn where it slides down over as many kept ones, for an output
    /// of this height. A window as high as the picture stays where it is.
    pub fn first_rows(&self, output_height: usize) -> usize {
        self.kernel[0].min((output_height - 1) * self.stride[0] + 1)
    }

    /// The taps that fall on a picture of these sides at output (`y`, `x`): index in the window,
    /// row, column.
    pub fn taps(
        &self,
        sides: [usize; 2],
        [y, x]: [usize; 2],
    ) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let Margins { top, left, .. } = self.margins(sides);
        let (kernel, stride) = (self.kernel, self.stride);
        (0..kernel[0] * kernel[1]).filter_map(move |tap| {
            let row = (y * stride[0] + tap / kernel[1]).checked_sub(top)?;
            let column = (x * stride[1] + tap % kernel[1]).checked_sub(left)?;
            (row < sides[0] && column < sides[1]).then_some((tap, row, column))
        })
    }
}

/// What follows an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `min(max(x, −1), 1)`.
    ReluN1To1,
}

impl Activation {
    /// Of one value.
    pub fn of(self, x: f32) -> f32 {
        match self {
            Self::None => x,
            Self::Relu => x.max(0.0),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::ReluN1To1 => x.clamp(-1.0, 1.0),
        }
    }

    /// The least and the greatest code that it lets through. As in LiteRT, the zero point is added
    /// before rounding.
    pub fn limits(self, code: Quantization) -> [i32; 2] {
        let of = |value: f32| {
            let limit = value / code.scale + f32::from(code.zero_point);
            i32::from(limit.round_ties_even() as i8)
        };
        match self {
            Self::None => [i32::from(i8::MIN), i32::from(i8::MAX)],
            Self::Relu => [of(0.0), i32::from(i8::MAX)],
            Self::Relu6 => [of(0.0), of(6.0)],
            Self::ReluN1To1 => [of(-1.0), of(1.0)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(kernel: usize, stride: usize, padding: Padding) -> Window {
        Window { kernel: [kernel; 2], stride: [stride; 2], padding }
    }

    #[test]
    fn sides_are_tensorflow_s_and_pytorch_s() {
        let around = |n| Padding::Explicit(Margins { top: n, bottom: n, left: n, right: n });
        for (side, kernel, stride, padding, expected) in [
            (48, 3, 2, Padding::Same, Some(24)),
            (47, 3, 2, Padding::Same, Some(24)),
            (48, 3, 2, Padding::Valid, Some(23)),
            (48, 3, 2, around(1), Some(24)),
            (48, 5, 1, around(2), Some(48)),
            (2, 3, 1, Padding::Valid, None),
            (2, 3, 1, Padding::Same, Some(2)),
            (8, 0, 1, Padding::Valid, None),
            (8, 1, 0, Padding::Valid, None),
        ] {
            let output = window(kernel, stride, padding).output([side; 2]);
            assert_eq!(output, expected.map(|n| [n; 2]), "{side} {kernel} {stride} {padding:?}");
        }
    }

    #[test]
    fn six_is_rounded_as_litert_does() {
        // 6 / scale is a half: LiteRT's codes, run on such files.
        for (scale, zero_point, six) in [(2.4, -7, -4), (4.0, -7, -6), (12.0, -7, -6)] {
            let limits = Activation::Relu6.limits(Quantization { scale, zero_point });
            assert_eq!(limits, [-7, six], "{scale}");
        }
    }

    #[test]
    fn same_puts_the_odd_row_below() {
        let margins = window(3, 2, Padding::Same).margins([48, 47]);
        assert_eq!(margins, Margins { top: 0, bottom: 1, left: 1, right: 1 });
        let corner: Vec<_> = window(3, 2, Padding::Same).taps([48, 47], [0, 0]).collect();
        assert_eq!(corner[0], (1, 0, 0));
        assert_eq!(corner.len(), 6);
    }

    #[test]
    fn same_padding_is_tensorflows() {
        assert_eq!((same_side(48, 2), same_pad_before(48, 3, 2)), (24, 0));
        assert_eq!((same_side(3, 2), same_pad_before(3, 3, 2)), (2, 1));
        assert_eq!((same_side(48, 1), same_pad_before(48, 3, 1)), (48, 1));
    }
}
