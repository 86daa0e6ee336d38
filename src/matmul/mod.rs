//! Matrix products: C = alpha·op(A)·op(B) + beta·C.
//!
//! The order of every sum is specified, so that its bits are the same for any number of threads, any alignment and
//! any instruction set with fused multiply-add:
//!
//! - **ascending**: k is cut into blocks of 256. Within a block `s = fma(a, b, s)` for p ascending, from 0. Blocks
//!   join in order: `c = fma(alpha, s, c)`, where c starts as `beta·c` (0 when beta = 0, and C is then not read).
//! - **dealt**: where rows of A are contiguous along k (`trans_a` is [`Transpose::No`]) and either m ≤ 4 with
//!   `trans_b`, or n ≤ 4. k is cut into blocks of 2048; within a block p goes to lane p mod 8, each lane ascending by
//!   fma from 0 (lanes past the end count as zeros), lanes join in ascending order, and blocks join as above.
//!
//! A context with [`crate::ContextBuilder::batch_invariant`] uses the ascending order everywhere: a row's bits then
//! never depend on how many rows stand beside it.
//!
//! bf16 and f16 are widened on their way to the tile and then computed as f32; f64 has the same two orders.
//!
//! Which path a product takes follows from its shape and strides and changes no bit:
//!
//! | path | for |
//! |---|---|
//! | `tiny` | dimensions up to 64, B as it is stored: no search for a path |
//! | `dot` | the dealt order |
//! | `rank` | k ≤ 4: outer products, C written along its rows |
//! | `turned` | on AVX-512, 5 to 32 rows or columns where A and B are both contiguous along k: B turns in registers |
//! | `sweep` | m ≤ 4 (8 where rows of B lie 4 KiB apart), B as it is stored: its rows pass once, sums wait in cache |
//! | `block` | all else: tiles over operands that are read in place or packed, as `driver` plans |

mod args;
mod block;
mod blocking;
mod dot;
mod driver;
mod epilogue;
mod join;
mod pack;
mod packed;
mod pairs;
mod path;
mod rank;
mod real;
mod sweep;
mod tile;
mod tiny;
mod turned;
#[cfg(feature = "capi")]
pub(crate) use tiny::multiply_unchecked;

pub(crate) use args::Args;
pub(crate) use block::{most_rows, runs};
pub(crate) use blocking::ROW_GROUP;
pub use blocking::{DEALT_BLOCK, K_BLOCK};
pub(crate) use driver::panel_width;
pub(crate) use epilogue::{Epilogue, Finished, Step};
pub(crate) use pack::{Numbers, PackPanels, Strip};
pub(crate) use packed::{Multiply, Panels};
pub(crate) use path::{ascending_scratch, multiply, multiply_ascending};
pub(crate) use tile::{Carry, Next, Tiles};

use crate::context::Context;
use crate::element::{bf16, f16};
use crate::error::Result;
use path::multiply_batched;

/// Whether an operand is used as it is stored or transposed. The numbers are those of `EK_*TRANSPOSE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Transpose {
    /// op(X) = X.
    No = 0,
    /// op(X) = Xᵀ.
    Yes = 1,
}

impl Transpose {
    /// The inverse of `as i32`.
    pub fn from_i32(value: i32) -> Option<Transpose> {
        match value {
            0 => Some(Transpose::No),
            1 => Some(Transpose::Yes),
            _ => None,
        }
    }
}

/// C = alpha·op(A)·op(B) + beta·C in f32 (whitepaper §2: every layer, and every step back through one).
///
/// Shapes, row-major: op(A) `[m, k]`, op(B) `[k, n]`, C `[m, n]`. A is stored `[m, k]` with `lda` ≥ k, or `[k, m]` with
/// `lda` ≥ m where `trans_a` is `Yes`; B is stored `[k, n]` with `ldb` ≥ n, or `[n, k]` with `ldb` ≥ k where `trans_b`
/// is `Yes`; `ldc` ≥ n. The last row of a matrix needs no padding.
///
/// Each element is summed in the order that the [module](self) states. beta = 0 never reads C; NaN and infinity
/// propagate as IEEE 754 says, also where alpha is 0. With k = 0, C = beta·C; with m = 0 or n = 0 nothing happens.
/// Elements of `c` between its rows are never touched.
///
/// # Errors
/// `InvalidSize` for a leading dimension below its row length or a slice that is too short; `OutOfMemory`. C is then
/// untouched.
///
/// ```
/// use evenkeel::{Context, matmul::{Transpose, matmul_f32}};
/// let ctx = Context::global()?;
/// let (a, b, mut c) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [0.0; 4]);
/// matmul_f32(ctx, Transpose::No, Transpose::No, 2, 2, 2, 1.0, &a, 2, &b, 2, 0.0, &mut c, 2)?;
/// assert_eq!(c, [19.0, 22.0, 43.0, 50.0]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[allow(clippy::too_many_arguments)]
pub fn matmul_f32(
    ctx: &Context,
    trans_a: Transpose,
    trans_b: Transpose,
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: &[f32],
    lda: usize,
    b: &[f32],
    ldb: usize,
    beta: f32,
    c: &mut [f32],
    ldc: usize,
) -> Result {
    if tiny::multiply(ctx, trans_a, trans_b, [m, n, k], alpha, a, lda, b, ldb, beta, c, ldc) {
        return Ok(());
    }
    let f = "matmul_f32";
    let (a, b) = (Numbers::Direct(a), Numbers::Direct(b));
    let x = Args { function: f, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, ldc, epilogue: None };
    x.check(c.len(), 1, [0; 3])?;
    multiply(ctx, &x, c)
}

/// C = alpha·op(A)·op(B) + beta·C in f64: [`matmul_f32`] in every other respect, its orders of summation included.
///
/// # Errors
/// As [`matmul_f32`].
#[allow(clippy::too_many_arguments)]
pub fn matmul_f64(
    ctx: &Context,
    trans_a: Transpose,
    trans_b: Transpose,
    m: usize,
    n: usize,
    k: usize,
    alpha: f64,
    a: &[f64],
    lda: usize,
    b: &[f64],
    ldb: usize,
    beta: f64,
    c: &mut [f64],
    ldc: usize,
) -> Result {
    if tiny::multiply(ctx, trans_a, trans_b, [m, n, k], alpha, a, lda, b, ldb, beta, c, ldc) {
        return Ok(());
    }
    let f = "matmul_f64";
    let (a, b) = (Numbers::Direct(a), Numbers::Direct(b));
    let x = Args { function: f, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, ldc, epilogue: None };
    x.check(c.len(), 1, [0; 3])?;
    multiply(ctx, &x, c)
}

/// C = alpha·op(A)·op(B) + beta·C of bf16 matrices, computed and stored in f32 (whitepaper §19): the bits of
/// [`matmul_f32`] on the same numbers widened, which is exact.
///
/// # Errors
/// As [`matmul_f32`].
#[allow(clippy::too_many_arguments)]
pub fn matmul_bf16(
    ctx: &Context,
    trans_a: Transpose,
    trans_b: Transpose,
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: &[bf16],
    lda: usize,
    b: &[bf16],
    ldb: usize,
    beta: f32,
    c: &mut [f32],
    ldc: usize,
) -> Result {
    let f = "matmul_bf16";
    let (a, b) = (Numbers::Bf16(a), Numbers::Bf16(b));
    let x = Args { function: f, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, ldc, epilogue: None };
    x.check(c.len(), 1, [0; 3])?;
    multiply(ctx, &x, c)
}

/// C = alpha·op(A)·op(B) + beta·C of f16 matrices: [`matmul_bf16`] in every other respect.
///
/// # Errors
/// As [`matmul_f32`].
#[allow(clippy::too_many_arguments)]
pub fn matmul_f16(
    ctx: &Context,
    trans_a: Transpose,
    trans_b: Transpose,
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: &[f16],
    lda: usize,
    b: &[f16],
    ldb: usize,
    beta: f32,
    c: &mut [f32],
    ldc: usize,
) -> Result {
    let f = "matmul_f16";
    let (a, b) = (Numbers::F16(a), Numbers::F16(b));
    let x = Args { function: f, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, ldc, epilogue: None };
    x.check(c.len(), 1, [0; 3])?;
    multiply(ctx, &x, c)
}

/// `batch` products at once, each as [`matmul_f32`] has it, bits included (whitepaper §22: the heads of attention).
///
/// Item i has its A at `a[i·stride_a..]`, B at `b[i·stride_b..]`, C at `c[i·stride_c..]`. Items of A and of B may overlap, and
/// with a stride of 0 are the same; items of C are disjoint: `stride_c` is at least what one item spans,
/// (m − 1)·`ldc` + n, unless `batch` is at most 1.
///
/// # Errors
/// As [`matmul_f32`]; `InvalidSize` for a `stride_c` too short.
#[allow(clippy::too_many_arguments)]
pub fn matmul_batched_f32(
    ctx: &Context,
    trans_a: Transpose,
    trans_b: Transpose,
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: &[f32],
    lda: usize,
    stride_a: usize,
    b: &[f32],
    ldb: usize,
    stride_b: usize,
    beta: f32,
    c: &mut [f32],
    ldc: usize,
    stride_c: usize,
) -> Result {
    let f = "matmul_batched_f32";
    let (a, b) = (Numbers::Direct(a), Numbers::Direct(b));
    let x = Args { function: f, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, ldc, epilogue: None };
    let strides = [stride_a, stride_b, stride_c];
    x.check(c.len(), batch, strides)?;
    multiply_batched(ctx, &x, batch, strides, c)
}
