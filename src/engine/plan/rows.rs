//! The rows of a picture under a window, padded: kernels then need not know of edges.
//!
//! As many rows as the window is high are kept; each is copied once, when the window reaches it.

use std::ops::Range;

use super::super::kernels::{LANES, Pixels};
use super::super::network::Shape;
use super::super::window::Window;

/// Which taps kernels want to be told of.
pub enum Taps<'a> {
    /// The first of each row of the window.
    Rows,
    /// These, by their index in the window.
    Each(&'a [usize]),
}

/// How a window's rows are made of a picture.
pub struct PaddedRows {
    /// Height and width of the picture.
    sides: [usize; 2],
    channels: usize,
    /// Bytes of a pixel of the picture.
    from: usize,
    /// Bytes of a pixel in the rows.
    step: usize,
    window: Window,
    output: [usize; 2],
    top: usize,
    left: usize,
    /// Bytes of the padding to the right.
    right: usize,
    row_len: usize,
    /// Where the taps of the first output pixel lie, by the place that the window's first row has.
    taps: Vec<Vec<usize>>,
    /// What the padding is made of.
    fill: u8,
}

impl PaddedRows {
    /// Of pictures of shape `input`, their pixels `from` bytes long, under a window that gives
    /// `output`.
    pub fn new(
        input: Shape,
        from: usize,
        window: Window,
        output: Shape,
        taps: Taps,
        fill: u8,
    ) -> Self {
        let [height, width, channels] = input;
        let margins = window.margins([height, width]);
        let step = match taps {
            Taps::Rows => channels,
            Taps::Each(_) => channels.next_multiple_of(LANES),
        };
        let columns = (output[1] - 1) * window.stride[1] + window.kernel[1];
        let columns = columns.max(margins.left + width);
        // A pixel is copied in whole blocks, the last one's end beyond the row's.
        let row_len = (columns * step + LANES).next_multiple_of(super::arena::LINE);
        let kernel = window.kernel;
        let lie = |first: usize| -> Vec<usize> {
            let row = |y: usize| (first + y) % kernel[0] * row_len;
            match taps {
                Taps::Rows => (0..kernel[0]).map(row).collect(),
                Taps::Each(taps) => {
                    taps.iter().map(|tap| row(tap / kernel[1]) + tap % kernel[1] * step).collect()
                }
            }
        };
        Self {
            sides: [height, width],
            channels,
            from,
            step,
            window,
            output: [output[0], output[1]],
            top: margins.top,
            left: margins.left * step,
            right: (columns - margins.left - width) * step,
            row_len,
            taps: (0..window.first_rows(output[0])).map(lie).collect(),
            fill,
        }
    }

    /// Bytes that the rows take.
    pub fn len(&self) -> usize {
        self.window.kernel[0] * self.row_len
    }

    /// Bytes of a row.
    pub fn row_len(&self) -> usize {
        self.row_len
    }

    /// Pixels of a row of the output.
    pub fn output_width(&self) -> usize {
        self.output[1]
    }

    /// Calls `run` with the taps of each of these rows of output pixels.
    pub fn each(
        &self,
        picture: &[u8],
        output_rows: Range<usize>,
        rows: &mut [u8],
        mut run: impl FnMut(&Pixels),
    ) {
        let [kernel_height, _] = self.window.kernel;
        // Rows before this one have been loaded.
        let mut next = 0;
        for y in output_rows {
            let first = y * self.window.stride[0];
            for row in next.max(first)..first + kernel_height {
                self.load(picture, row, rows);
            }
            next = first + kernel_height;
            let taps = &self.taps[first % kernel_height];
            let step = self.window.stride[1] * self.step;
            run(&Pixels { bytes: rows, taps, step, count: self.output[1] });
        }
    }

    /// Copies a row, counted from the first row of padding, to its place.
    fn load(&self, picture: &[u8], row: usize, rows: &mut [u8]) {
        let [height, width] = self.sides;
        let place = row % self.window.kernel[0] * self.row_len;
        let place = &mut rows[place..place + self.row_len];
        let Some(row) = row.checked_sub(self.top).filter(|row| *row < height) else {
            place.fill(self.fill);
            return;
        };
        let pixels = &picture[row * width * self.from..][..width * self.from];
        let end = self.left + width * self.step;
        place[..self.left].fill(self.fill);
        if self.from == self.step {
            place[self.left..end].copy_from_slice(pixels);
        } else {
            self.copy_closer(pixels, &mut place[self.left..]);
        }
        place[end..end + self.right].fill(self.fill);
    }

    /// Leaves out what fills a pixel up. Copies whole blocks, each over what the last one has too much.
    fn copy_closer(&self, pixels: &[u8], place: &mut [u8]) {
        for (i, pixel) in pixels.chunks_exact(self.from).enumerate() {
            let blocks = pixel.as_chunks::<LANES>().0.iter().take(self.channels.div_ceil(LANES));
            for (b, block) in blocks.enumerate() {
                place[i * self.step + b * LANES..][..LANES].copy_from_slice(block);
            }
        }
    }
}
