//! What happens to a piece of C right after its last block of k joined, while it is in the nearest cache.

use super::real::Real;
use crate::simd::Simd;

/// A finished piece of C: `rows` × `cols` elements whose first is C(row, col).
#[derive(Clone, Copy)]
pub(crate) struct Finished<T = f32> {
    pub c: *mut T,
    pub ldc: usize,
    pub row: usize,
    pub col: usize,
    pub rows: usize,
    pub cols: usize,
}

/// A step on finished pieces. Every element of C is in exactly one piece.
pub(crate) trait Epilogue<T = f32>: Sync {
    /// If true, pieces begin at multiples of 16 columns, one thread has all pieces of [`super::ROW_GROUP`] rows and 16
    /// columns, and they come in ascending order of rows.
    const GROUPS: bool = false;

    /// # Safety
    /// The piece is readable and writable by this thread alone.
    unsafe fn apply<S: Simd>(&self, s: S, piece: Finished<T>);
}

/// No step.
pub(crate) struct Plain;

impl<T: Real> Epilogue<T> for Plain {
    #[inline(always)]
    unsafe fn apply<S: Simd>(&self, _: S, _: Finished<T>) {}
}
