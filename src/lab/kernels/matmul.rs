//! Matrix products on slices, by the `gemm` crate.

/// A row-major matrix, or its transpose, seen in a slice.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `data` as `rows` × `columns`, row-major.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "matrix {rows}×{columns}");
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The same elements, rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Whether a product replaces what its target holds or is added to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `target = a · b`
    Replace,
    /// `target += a · b`
    Add,
}

/// `target` (row-major, `a.rows` × `b.columns`) becomes or gains `a · b`, on this thread.
pub fn multiply(a: Matrix, b: Matrix, target: &mut [f32], mode: Target) {
    assert_eq!(a.columns, b.rows, "inner sizes");
    assert_eq!(target.len(), a.rows * b.columns, "target size");
    // SAFETY: each matrix's strides and sizes stay inside its slice (`Matrix::new` asserts the
    // length, `transposed` keeps the element set), `target` holds rows × columns elements
    // (asserted above), and as a `&mut` it overlaps neither input.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            target.as_mut_ptr(),
            1,
            b.columns as isize,
            mode == Target::Add,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_transposes() {
        let a = Matrix::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3);
        let mut c = [1.0; 4];
        multiply(a, a.transposed(), &mut c, Target::Add);
        assert_eq!(c, [15.0, 33.0, 33.0, 78.0]);
        let mut d = [9.0; 9];
        multiply(a.transposed(), a, &mut d, Target::Replace);
        assert_eq!(d, [17.0, 22.0, 27.0, 22.0, 29.0, 36.0, 27.0, 36.0, 45.0]);
    }
}
