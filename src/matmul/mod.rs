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

mod block;
mod blocking;
mod dot;
mod driver;
mod epilogue;
mod pack;
mod real;
mod tile;

pub(crate) use blocking::ROW_GROUP;
pub use blocking::{DEALT_BLOCK, K_BLOCK};
pub(crate) use epilogue::{Epilogue, Finished, Plain};
pub(crate) use pack::Operand;
pub(crate) use real::Real;

use crate::context::Context;
use crate::error::{Error, Result, product};
use crate::fpenv::FpEnv;
use crate::scratch::Scratch;
use crate::simd::{Kernel, LANES, Simd};
use driver::{Product, View};

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

/// Elements that a matrix of `rows` × `cols` with leading dimension `ld` spans, checked.
fn span(function: &'static str, name: &str, rows: usize, cols: usize, ld: usize) -> Result<usize> {
    if rows == 0 || cols == 0 {
        return Ok(0);
    }
    let spanned = product(function, name, &[rows - 1, ld])?.checked_add(cols);
    spanned.filter(|n| *n <= isize::MAX as usize / 8).ok_or_else(|| {
        Error::invalid_size(function, format!("{name} spans more elements than this machine can address"))
    })
}

fn check_matrix(function: &'static str, name: &str, len: usize, rows: usize, cols: usize, ld: usize) -> Result {
    let need = span(function, name, rows, cols, ld)?;
    if len < need {
        return Err(Error::invalid_size(
            function,
            format!("{name} holds {len} elements, but {rows} rows of {cols} with leading dimension {ld} need {need}"),
        ));
    }
    Ok(())
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
    let f = "matmul_f32";
    let stored = |transpose, rows, cols| if transpose == Transpose::No { (rows, cols) } else { (cols, rows) };
    let (a_rows, a_cols) = stored(trans_a, m, k);
    let (b_rows, b_cols) = stored(trans_b, k, n);
    let name = |transpose, plain, transposed| if transpose == Transpose::No { plain } else { transposed };
    for (ld, value, matrix, dim, cols) in [
        ("lda", lda, "a", name(trans_a, "k", "m"), a_cols),
        ("ldb", ldb, "b", name(trans_b, "n", "k"), b_cols),
        ("ldc", ldc, "c", "n", n),
    ] {
        if value < cols {
            return Err(Error::invalid_size(
                f,
                format!("{ld} is {value} but rows of {matrix} hold {dim} = {cols} elements"),
            ));
        }
    }
    check_matrix(f, "a", a.len(), a_rows, a_cols, lda)?;
    check_matrix(f, "b", b.len(), b_rows, b_cols, ldb)?;
    check_matrix(f, "c", c.len(), m, n, ldc)?;
    multiply(
        ctx,
        &Args { function: f, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, ldc, epilogue: &Plain },
        c,
    )
}

/// A product with checked arguments, and what to do with its result.
pub(crate) struct Args<'a, O: Operand, E> {
    pub function: &'static str,
    pub trans_a: Transpose,
    pub trans_b: Transpose,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub alpha: O::Real,
    pub a: &'a [O],
    pub lda: usize,
    pub b: &'a [O],
    pub ldb: usize,
    pub beta: O::Real,
    pub ldc: usize,
    pub epilogue: &'a E,
}

/// Chooses the order of summation and the path that keeps it fastest.
///
/// # Errors
/// `OutOfMemory`, before C is touched.
pub(crate) fn multiply<O: Operand, E: Epilogue<O::Real>>(
    ctx: &Context,
    x: &Args<'_, O, E>,
    c: &mut [O::Real],
) -> Result {
    if x.m == 0 || x.n == 0 {
        return Ok(());
    }
    if x.k == 0 {
        let _fp = FpEnv::enter(ctx.flush_subnormals());
        ctx.dispatch(NoDepth { args: x, c });
        return Ok(());
    }
    let few_rows = x.m <= 4 && x.trans_b == Transpose::Yes;
    let few_cols = x.n <= 4;
    // Epilogues that ask for groups only come with a transposed A, which is never dealt.
    if x.trans_a == Transpose::No && (few_rows || few_cols) && !ctx.batch_invariant() && !E::GROUPS {
        return deal(ctx, x, c, few_rows);
    }
    let view = |slice: &[O], transpose, ld| match transpose {
        Transpose::No => View { ptr: slice.as_ptr(), row: ld, col: 1 },
        Transpose::Yes => View { ptr: slice.as_ptr(), row: 1, col: ld },
    };
    let (a, b) = (view(x.a, x.trans_a, x.lda), view(x.b, x.trans_b, x.ldb));
    // Lanes run along the columns of C, or along its rows where it has too few columns to fill them.
    let turned = x.n <= O::Real::LANES * 3 / 4 && x.m > x.n && !E::GROUPS;
    let (m, n, a, b) = if turned { (x.n, x.m, b.turned(), a.turned()) } else { (x.m, x.n, a, b) };
    let (c_row, c_col) = if turned { (1, x.ldc) } else { (x.ldc, 1) };
    let product = Product {
        function: x.function,
        m,
        n,
        k: x.k,
        a,
        b,
        c_row,
        c_col,
        alpha: x.alpha,
        beta: x.beta,
        epilogue: x.epilogue,
    };
    // SAFETY: callers checked that A, B and C hold their dimensions.
    unsafe { product.run(ctx, c) }
}

/// The dealt order: rows of A against rows of B, or against columns of B turned into rows.
fn deal<O: Operand, E: Epilogue<O::Real>>(
    ctx: &Context,
    x: &Args<'_, O, E>,
    c: &mut [O::Real],
    few_rows: bool,
) -> Result {
    let k = x.k;
    let (few, many) = if few_rows { (x.m, x.n) } else { (x.n, x.m) };
    let (rows, ld, step) = match (few_rows, x.trans_b) {
        (true, _) => (x.a, x.lda, 1),
        (false, Transpose::Yes) => (x.b, x.ldb, 1),
        (false, Transpose::No) => (x.b, 1, x.ldb),
    };
    // The few are copied where they are not rows of numbers to compute with.
    let direct = if step == 1 || k == 1 { O::direct(rows.as_ptr()) } else { None };
    let mut scratch = Scratch::take::<O::Real>(x.function, if direct.is_none() { few * k } else { 0 })?;
    let (few_ptr, ldx) = match direct {
        Some(ptr) => (ptr, ld),
        None => {
            let copy = scratch.slice::<O::Real>(few * k);
            for (i, row) in copy.chunks_exact_mut(k).enumerate() {
                for (p, v) in row.iter_mut().enumerate() {
                    *v = rows[i * ld + p * step].widen();
                }
            }
            (copy.as_ptr(), k)
        }
    };
    let (w, ldw) = if few_rows { (x.b, x.ldb) } else { (x.a, x.lda) };
    let dots = dot::Dots {
        few,
        few_are_rows: few_rows,
        many,
        k,
        x: few_ptr,
        ldx,
        w: w.as_ptr(),
        ldw,
        c: c.as_mut_ptr(),
        c_few: if few_rows { x.ldc } else { 1 },
        c_many: if few_rows { 1 } else { x.ldc },
        alpha: x.alpha,
        beta: x.beta,
        epilogue: x.epilogue,
    };
    // SAFETY: callers checked the dimensions; few <= 4.
    unsafe { dots.run(ctx) };
    Ok(())
}

/// k = 0: C = beta·C, and the epilogue.
struct NoDepth<'a, 'b, O: Operand, E> {
    args: &'a Args<'b, O, E>,
    c: &'a mut [O::Real],
}

impl<O: Operand, E: Epilogue<O::Real>> Kernel for NoDepth<'_, '_, O, E> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = self.args;
        let zero = O::Real::default();
        for row in self.c.chunks_mut(x.ldc).take(x.m) {
            for v in &mut row[..x.n] {
                *v = if x.beta == zero { zero } else { x.beta * *v };
            }
        }
        let piece = Finished { c: self.c.as_mut_ptr(), ldc: x.ldc, row: 0, col: 0, rows: x.m, cols: x.n };
        // SAFETY: C holds m rows of n (checked by callers).
        unsafe { x.epilogue.apply(s, piece) };
    }
}
