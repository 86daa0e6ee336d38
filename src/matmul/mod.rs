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

mod blocking;
mod dot;
mod driver;
mod epilogue;
mod pack;
mod small;
mod tile;

pub(crate) use blocking::ROW_GROUP;
pub use blocking::{DEALT_BLOCK, K_BLOCK};
pub(crate) use epilogue::{Epilogue, Finished, Plain};

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
pub(crate) struct Args<'a, E> {
    pub function: &'static str,
    pub trans_a: Transpose,
    pub trans_b: Transpose,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub alpha: f32,
    pub a: &'a [f32],
    pub lda: usize,
    pub b: &'a [f32],
    pub ldb: usize,
    pub beta: f32,
    pub ldc: usize,
    pub epilogue: &'a E,
}

/// Chooses the order of summation and the path that keeps it fastest.
///
/// # Errors
/// `OutOfMemory`, before C is touched.
pub(crate) fn multiply<E: Epilogue>(ctx: &Context, x: &Args<'_, E>, c: &mut [f32]) -> Result {
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
    let view = |slice: &[f32], transpose, ld| match transpose {
        Transpose::No => View { ptr: slice.as_ptr(), row: ld, col: 1 },
        Transpose::Yes => View { ptr: slice.as_ptr(), row: 1, col: ld },
    };
    let product = Product {
        function: x.function,
        m: x.m,
        n: x.n,
        k: x.k,
        a: view(x.a, x.trans_a, x.lda),
        b: view(x.b, x.trans_b, x.ldb),
        ldc: x.ldc,
        alpha: x.alpha,
        beta: x.beta,
        epilogue: x.epilogue,
    };
    // SAFETY: callers checked that A, B and C hold their dimensions.
    unsafe { product.run(ctx, c) }
}

/// The dealt order: rows of A against rows of B, or against columns of B turned into rows.
fn deal<E: Epilogue>(ctx: &Context, x: &Args<'_, E>, c: &mut [f32], few_rows: bool) -> Result {
    let c = c.as_mut_ptr();
    let (alpha, beta, k, epilogue) = (x.alpha, x.beta, x.k, x.epilogue);
    if few_rows {
        let (x_ptr, w) = (x.a.as_ptr(), x.b.as_ptr());
        let dots = dot::Dots {
            few: x.m,
            few_are_rows: true,
            many: x.n,
            k,
            x: x_ptr,
            ldx: x.lda,
            w,
            ldw: x.ldb,
            c,
            c_few: x.ldc,
            c_many: 1,
            alpha,
            beta,
            epilogue,
        };
        // SAFETY: callers checked the dimensions; m <= 4.
        unsafe { dots.run(ctx) };
        return Ok(());
    }
    let turn = x.trans_b == Transpose::No && (x.n > 1 || x.ldb > 1);
    let mut scratch = Scratch::take::<f32>(x.function, if turn { x.n * k } else { 0 })?;
    let (columns, ldx) = if turn {
        let columns = scratch.slice::<f32>(x.n * k);
        for (j, column) in columns.chunks_exact_mut(k).enumerate() {
            for (p, v) in column.iter_mut().enumerate() {
                *v = x.b[p * x.ldb + j];
            }
        }
        (columns.as_ptr(), k)
    } else {
        (x.b.as_ptr(), x.ldb)
    };
    let w = x.a.as_ptr();
    let dots = dot::Dots {
        few: x.n,
        few_are_rows: false,
        many: x.m,
        k,
        x: columns,
        ldx,
        w,
        ldw: x.lda,
        c,
        c_few: 1,
        c_many: x.ldc,
        alpha,
        beta,
        epilogue,
    };
    // SAFETY: callers checked the dimensions; n <= 4.
    unsafe { dots.run(ctx) };
    Ok(())
}

/// k = 0: C = beta·C, and the epilogue.
struct NoDepth<'a, 'b, E> {
    args: &'a Args<'b, E>,
    c: &'a mut [f32],
}

impl<E: Epilogue> Kernel for NoDepth<'_, '_, E> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = self.args;
        let c = self.c.as_mut_ptr();
        for row in 0..x.m {
            let start = row * x.ldc;
            for v in &mut self.c[start..start + x.n] {
                *v = if x.beta == 0.0 { 0.0 } else { x.beta * *v };
            }
            for col in (0..x.n).step_by(LANES) {
                let cols = LANES.min(x.n - col);
                // SAFETY: row < m and col + cols <= n lie in C (checked by callers).
                unsafe { x.epilogue.apply(s, Finished { c: c.add(start + col), ldc: x.ldc, row, col, rows: 1, cols }) };
            }
        }
    }
}
