//! Convolutions between a SPACE_TO_BATCH_ND and a BATCH_TO_SPACE_ND, as which files for any number of
//! pictures have dilated ones: each block is every so many rows and columns of a picture, so a window on
//! the block is a dilated one on the picture.

use super::super::window::{Margins, Padding};
use super::operator::{Operator, Outcome, Picture};
use super::sliding::Sliding;
use super::{Fault, SIDES};

/// How a picture is made into several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Rows and columns from one of a block to its next.
    size: [usize; 2],
    /// Zeros around the picture before that.
    margins: Margins,
}

impl Blocks {
    /// The axes of such blocks of a picture.
    pub fn axes(&self, [height, width, channels]: [usize; 3]) -> Vec<usize> {
        let sides = self.margins.around([height, width]);
        let [rows, columns] = [0, 1].map(|i| sides[i] / self.size[i]);
        vec![self.size[0] * self.size[1], rows, columns, channels]
    }

    /// What slides over the picture, for what slides over each block.
    pub fn spread(&self, on_block: &Sliding) -> Option<Sliding> {
        let window = on_block.window;
        if window.stride != [1, 1] || on_block.dilation != [1, 1] {
            return None;
        }
        // At a stride of 1 they depend on the window alone.
        let [[top, bottom], [left, right]] = window.margins(window.kernel).by_axis();
        let [down, along] = self.size;
        let own = Margins {
            top: top * down,
            bottom: bottom * down,
            left: left * along,
            right: right * along,
        };
        let padding = Padding::Explicit(self.margins.plus(own));
        Some(Sliding {
            window: super::Window { padding, ..window },
            dilation: self.size,
            ..*on_block
        })
    }

    /// The blocks that a convolution of these makes.
    pub fn convolved(self) -> Self {
        Self { margins: Margins::default(), ..self }
    }
}

impl Operator<'_, '_> {
    /// SPACE_TO_BATCH_ND.
    pub fn parted(&self) -> Result<Outcome, Fault> {
        let Picture { input, shape, code } = self.one(3)?;
        self.keeps_code(code)?;
        let axes = &self.tensor(0)?.shape;
        let blocks = Blocks { size: self.block_size()?, margins: self.sides(2)? };
        let [height, width, _] = shape;
        let sides = blocks.margins.around([height, width]);
        let fits = (0..2).all(|i| sides[i].is_multiple_of(blocks.size[i]));
        let is_picture = axes.len() == 2 + self.tensor(1)?.shape.iter().product::<usize>();
        self.ensure(fits && is_picture && axes[0] == 1, || {
            format!("parts {axes:?}, with sides {sides:?}, by {:?}", blocks.size)
        })?;
        let axes = without_rows(blocks.axes(shape), axes.len());
        Ok(Outcome::Blocks { input, blocks, axes })
    }

    /// BATCH_TO_SPACE_ND.
    pub fn joined(&self) -> Result<Outcome, Fault> {
        let (value, shape) = self.joined_blocks()?;
        let cut = self.sides(2)?;
        self.ensure(cut.is_none(), || "cuts sides off".into())?;
        Ok(Outcome::Same { value, shape })
    }

    /// The value of whose blocks it makes a picture, and the axes of all of that.
    pub fn joined_blocks(&self) -> Result<(usize, Vec<usize>), Fault> {
        let (value, of) = self.value_or_blocks(0)?;
        self.keeps_code(of.quantization)?;
        let tensor = self.tensor(0)?;
        let size = self.block_size()?;
        let rank = 2 + self.tensor(1)?.shape.iter().product::<usize>();
        let fits = tensor.blocks == Some(Blocks { size, margins: Margins::default() });
        self.ensure(fits && tensor.shape.len() == rank, || {
            format!("joins blocks {size:?} apart, but not such as a convolution made of such")
        })?;
        let [height, width, channels] = of.shape;
        Ok((value, without_rows(vec![1, height, width, channels], rank)))
    }

    /// Rows and columns, of a line columns alone.
    fn block_size(&self) -> Result<[usize; 2], Fault> {
        let numbers = self.numbers(1)?;
        let side = |side: i32| usize::try_from(side).ok().filter(|s| SIDES.end() >= s && *s > 0);
        let size = match numbers[..] {
            [rows, columns] => side(rows).zip(side(columns)),
            [columns] => side(columns).map(|columns| (1, columns)),
            _ => None,
        };
        let size = size.ok_or_else(|| self.fault(format!("has blocks {numbers:?} apart")));
        size.map(|(rows, columns)| [rows, columns])
    }

    /// Rows and columns at a picture's sides, of a line columns alone.
    pub fn sides(&self, i: usize) -> Result<Margins, Fault> {
        let numbers = self.numbers(i)?;
        let sides: Option<Vec<usize>> = (numbers.iter())
            .map(|&side| usize::try_from(side).ok().filter(|side| side <= SIDES.end()))
            .collect();
        match sides.as_deref() {
            Some(&[top, bottom, left, right]) => Ok(Margins { top, bottom, left, right }),
            Some(&[left, right]) => Ok(Margins { left, right, ..Margins::default() }),
            _ => Err(self.fault(format!("has sides {numbers:?}"))),
        }
    }
}

/// Axes of pictures, or of lines if there are only so many.
pub fn without_rows(mut axes: Vec<usize>, rank: usize) -> Vec<usize> {
    if rank < axes.len() && axes[1] == 1 {
        axes.remove(1);
    }
    axes
}
