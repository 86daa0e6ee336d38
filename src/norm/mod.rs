//! Layer, RMS, group and batch norm, forward and backward, and layer norm of a sum (whitepaper §12 to §14).
//!
//! # Statistics
//!
//! A row (layer, RMS and group norm) or a run of one channel (batch norm) is read once. With the pivot p, the mean of
//! its first 16 elements, s₁ = Σ (x − p) and s₂ = Σ (x − p)² give mean = p + s₁/n and variance = s₂/n − (s₁/n)², which
//! loses nothing while p is near the mean. Where it is not, (s₁/n)² > variance, the row is read again with its mean
//! as the pivot. Rows whose squares leave f32's range at either end are computed in f64 throughout. The mean is known
//! in f64; what is saved is rounded to f32, and what rounding took is taken into account: forward by a correction,
//! backward by the mean of x − mean, summed along with the rest. So an offset costs no accuracy, and neither does scale.
//!
//! # Orders
//!
//! - Along a row: chunks of 256 elements (`CHUNK`); inside a chunk element i adds into lane i mod 16 in f32, products by
//!   fused multiply-add, and lanes fold by halves; chunks join in ascending order in f64. Rows in f64: lane i mod 16
//!   over the whole row, folded by halves.
//! - Down rows (dgamma, dbeta): tasks of rows, cut by the shape; inside a task blocks of 32 rows (`BLOCK`), a block in
//!   ascending order in f32; blocks and then tasks join in ascending order in f64.
//! - Batch norm, spatial of 16 and more: each run of a channel is summed as a row is, around a pivot of its own; sample by
//!   sample, moments join by Chan's formula and gradients' sums by addition, in f64. Shorter runs: each element of a
//!   sample is a column, summed down the samples as above, pivot the mean of the first 16; the columns of a channel join
//!   in ascending order the same way.
//! - Group norm, spatial of 16 and more: the group is a row; gradients' sums run by run, weighted and joined in ascending
//!   order in f64. Shorter runs: layer norm's rows.
//!
//! A row's own results never depend on the rows around it.
//!
//! # Example
//!
//! ```
//! use evenkeel::Context;
//! use evenkeel::norm::layer_norm_forward_f32;
//!
//! // An offset of a million costs nothing: the row is normalized as 0, 1, 2, 3 would be.
//! let x = [1e6, 1e6 + 1.0, 1e6 + 2.0, 1e6 + 3.0];
//! let (mut y, mut mean, mut rstd) = ([0.0; 4], [0.0], [0.0]);
//! layer_norm_forward_f32(
//!     Context::global()?, 0.0, 1, 4, &x, None, None, &mut y, Some(&mut mean), Some(&mut rstd),
//! )?;
//! assert_eq!(mean, [1_000_001.5]);
//! assert!((y[3] - 1.5 / 1.25f32.sqrt()).abs() < 1e-6);
//! # Ok::<(), evenkeel::Error>(())
//! ```

mod backward;
mod batch;
mod columns;
mod forward;
mod group;
mod halves;
mod layer;
mod parts;
mod rms;
mod rows;
mod segments;

pub use batch::*;
pub use group::*;
pub use layer::*;
pub use rms::*;

use crate::element::Storage;
use crate::error::{Error, Result, check_len};
use crate::scratch::Scratch;
use crate::simd::{LANES, Simd};

/// Elements that add in f32 before f64 takes over, along a row.
pub(crate) const CHUNK: usize = 256;

/// Rows that add in f32 before f64 takes over, down the rows.
pub(crate) const BLOCK: usize = 32;

/// Below this, variance + ε may owe digits to squares that left f32's range: such rows are computed in f64.
const TINY: f64 = 1.0 / (1u128 << 96) as f64;

fn check_eps(function: &'static str, eps: f32) -> Result {
    if eps >= 0.0 && eps.is_finite() {
        return Ok(());
    }
    Err(Error::invalid_argument(function, format!("eps is {eps}, expected a finite number, at least 0")))
}

/// `check_len` of what may be absent.
fn check_optional<T>(function: &'static str, name: &str, slice: Option<&[T]>, expected: usize) -> Result {
    slice.map_or(Ok(()), |slice| check_len(function, name, slice, expected))
}

/// gamma and beta as the kernels take them: f32, one number an element of a row.
struct Affine {
    scratch: Scratch,
    stride: usize,
}

impl Affine {
    fn take(function: &'static str, rows: usize, cols: usize) -> Result<Affine> {
        let stride = if rows == 0 { 0 } else { cols.next_multiple_of(LANES) };
        Ok(Affine { scratch: Scratch::take::<f32>(function, 2 * stride)?, stride })
    }

    /// What is given in f32 as it is; the rest widened, and 1 and 0 where nothing is given.
    fn views<'a, T: Storage>(
        &'a mut self,
        gamma: Option<&'a [T]>,
        beta: Option<&'a [T]>,
        cols: usize,
    ) -> [&'a [f32]; 2] {
        let cols = cols.min(self.stride);
        let (first, second) = self.scratch.slice::<f32>(2 * self.stride).split_at_mut(self.stride);
        [view(gamma, 1.0, &mut first[..cols]), view(beta, 0.0, &mut second[..cols])]
    }
}

fn view<'a, T: Storage>(param: Option<&'a [T]>, absent: f32, room: &'a mut [f32]) -> &'a [f32] {
    match param {
        None => room.fill(absent),
        // SAFETY: of the sealed storage types only f32 has four bytes.
        Some(p) if size_of::<T>() == size_of::<f32>() => unsafe {
            return std::slice::from_raw_parts(p.as_ptr().cast(), p.len());
        },
        Some(p) => room.iter_mut().zip(p).for_each(|(room, p)| *room = p.to_f32()),
    }
    room
}

/// Outputs of this many bytes go past the caches: they would not be there when they are read.
const STREAM_BYTES: usize = 8 << 20;

/// Whether an output of `n` elements in rows of `cols` streams. Rows of whole vectors only: then all rows are aligned
/// alike.
fn streams<T: Storage>(n: usize, cols: usize) -> bool {
    size_of::<T>() == size_of::<f32>() && cols.is_multiple_of(LANES) && n * size_of::<T>() >= STREAM_BYTES
}

/// Elements of a row of `cols` before its first aligned vector, where an output streams, or where a vector is a line of the
/// cache and rows are all aligned alike.
#[inline(always)]
fn head<S: Simd, T>(stream: bool, y: &[T], cols: usize) -> usize {
    let align = stream || S::LINES && cols.is_multiple_of(LANES);
    if align { (y.as_ptr().addr().wrapping_neg() / size_of::<T>()) % LANES } else { 0 }
}

/// Columns of a row before its first whole vector: those before an aligned one, or all of a short row. A compact program
/// goes by parts alone.
#[inline(always)]
fn first_part<S: Simd>(head: usize, cols: usize) -> usize {
    if S::COMPACT {
        LANES.min(cols)
    } else if cols < LANES {
        cols
    } else {
        head
    }
}

/// Columns that go at once where `left` are left behind the whole vectors.
#[inline(always)]
fn last_part<S: Simd>(left: usize) -> usize {
    if S::COMPACT { LANES.min(left) } else { left }
}

/// Stores a vector, past the caches if it `streams`; then T is f32 and p aligned to 64 bytes.
///
/// # Safety
/// p is valid for writing 16 elements, and as said.
#[inline(always)]
unsafe fn put<S: Simd, T: Storage>(s: S, p: *mut T, v: S::F, stream: bool) {
    // SAFETY: the caller's contract.
    unsafe { if stream { s.stream(p.cast(), v) } else { T::store(s, p, v) } }
}
