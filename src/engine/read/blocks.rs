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
        let Picture { source, shape, code } = self.one_of_four_axes(3)?;
        self.keeps_code(code)?;
        let blocks = Blocks { size: self.block_size()?, margins: self.sides(2)? };
        let [height, width, _] = shape;
        let sides = blocks.margins.around([height, width]);
        let fits = (0..2).all(|i| sides[i].is_multiple_of(blocks.size[i]));
        self.ensure(fits, || format!("parts {sides:?} by {:?}", blocks.size))?;
        Ok(Outcome::Blocks { source, blocks })
    }

    /// BATCH_TO_SPACE_ND.
    pub fn joined(&self) -> Result<Outcome, Fault> {
        let (value, shape) = self.joined_blocks()?;
        let cut = self.sides(2)?;
        self.ensure(cut.is_none(), || "cuts sides off".into())?;
        let [height, width, channels] = shape;
        Ok(Outcome::Same { value, shape: vec![1, height, width, channels] })
    }

    /// The value of whose blocks it makes a picture.
    pub fn joined_blocks(&self) -> Result<(usize, [usize; 3]), Fault> {
        let (value, of) = self.value_or_blocks(0)?;
        self.keeps_code(of.quantization)?;
        let blocks = self.tensor(0)?.blocks;
        let size = self.block_size()?;
        let fits = blocks == Some(Blocks { size, margins: Margins::default() });
        self.ensure(fits, || {
            format!("joins blocks {size:?} apart, but not such as a convolution made of such")
        })?;
        Ok((value, of.shape))
    }

    fn block_size(&self) -> Result<[usize; 2], Fault> {
        let numbers = self.numbers(1)?;
        let size = match numbers[..] {
            [a, b] => {
                [a, b].map(|side| usize::try_from(side).ok().filter(|s| SIDES.end() >= s && *s > 0))
            }
            _ => [None; 2],
        };
        let [Some(rows), Some(columns)] = size else {
            return Err(self.fault(format!("has blocks {numbers:?} apart")));
        };
        Ok([rows, columns])
    }

    /// Rows and columns at a picture's sides.
    pub fn sides(&self, i: usize) -> Result<Margins, Fault> {
        let numbers = self.numbers(i)?;
        let sides: Option<Vec<usize>> = (numbers.iter())
            .map(|&side| usize::try_from(side).ok().filter(|side| side <= SIDES.end()))
            .collect();
        match sides.as_deref() {
            Some(&[top, bottom, left, right]) => Ok(Margins { top, bottom, left, right }),
            _ => Err(self.fault(format!("has sides {numbers:?}"))),
        }
    }
}
