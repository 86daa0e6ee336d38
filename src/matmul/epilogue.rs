//! What happens to a piece of C right after its last block of k joined, while it is in the nearest cache.

use super::real::Real;
use crate::simd::{Isa, Kernel, Simd, dispatch_detected};

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

/// A step on finished pieces. Every element of C is in exactly one piece. Products know it as an object, so that they are in
/// the program once, whatever follows them.
pub(crate) trait Epilogue<T = f32>: Sync {
    /// If true, pieces begin at multiples of 16 columns, one thread has all pieces of [`super::ROW_GROUP`] rows and 16
    /// columns, and they come in ascending order of rows.
    fn groups(&self) -> bool {
        false
    }

    /// # Safety
    /// The piece is readable and writable by this thread alone.
    unsafe fn apply(&self, step: Step, piece: Finished<T>);
}

/// The instruction set that a product runs on, for the step that follows.
#[derive(Clone, Copy)]
pub(crate) struct Step(Isa);

impl Step {
    #[inline(always)]
    pub(super) fn of<S: Simd>(_: S) -> Step {
        Step(S::ISA)
    }

    /// Runs a kernel on it.
    #[inline(always)]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Out {
        // SAFETY: it was made from a token, which exists only where the machine has the instructions.
        unsafe { dispatch_detected(self.0, kernel) }
    }
}

/// Hands a piece to the step, if there is one.
///
/// # Safety
/// The piece is readable and writable by this thread alone.
#[inline(always)]
pub(super) unsafe fn finish<S: Simd, T: Real>(s: S, step: Option<&dyn Epilogue<T>>, piece: Finished<T>) {
    if let Some(epilogue) = step {
        // SAFETY: the contract; the token proves the instruction set.
        unsafe { epilogue.apply(Step::of(s), piece) };
    }
}
