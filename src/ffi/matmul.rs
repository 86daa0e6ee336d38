//! Matrix products.

use super::context::ek_context;
use super::status::{ek_status, guard};
use super::tensor::{In, Out, check};
use super::{choice, context_of};
use crate::matmul::{Transpose, matmul_f32};

/// Whether a matrix is used as it is stored: EK_NO_TRANSPOSE or EK_TRANSPOSE.
pub type ek_transpose = i32;

/// op(X) = X.
pub const EK_NO_TRANSPOSE: ek_transpose = 0;
/// op(X) = X transposed.
pub const EK_TRANSPOSE: ek_transpose = 1;

const _: () = assert!(EK_NO_TRANSPOSE == Transpose::No as i32 && EK_TRANSPOSE == Transpose::Yes as i32);

/// C = alpha * op(A) * op(B) + beta * C.
///
/// Shapes, row-major: op(A) [m, k], op(B) [k, n], C [m, n]. a is stored [m, k] with lda >= k, or [k, m] with lda >= m
/// where trans_a is EK_TRANSPOSE; b is stored [k, n] with ldb >= n, or [n, k] with ldb >= k; ldc >= n. Leading
/// dimensions count elements; the last row needs no padding, and elements between rows of c are never touched.
///
/// beta = 0 never reads C. NaN and infinity propagate as IEEE 754 says. k = 0 scales C by beta; with m or n = 0
/// nothing happens.
///
/// NULL: a and b where they have no elements, c where m or n is 0. Aliasing: a and b may overlap; c overlaps neither.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE (a leading dimension below its row length),
/// EK_STATUS_INVALID_ARGUMENT (trans_a, trans_b, alignment), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_matmul_f32(
    ctx: *const ek_context,
    trans_a: ek_transpose,
    trans_b: ek_transpose,
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: *const f32,
    lda: usize,
    b: *const f32,
    ldb: usize,
    beta: f32,
    c: *mut f32,
    ldc: usize,
) -> ek_status {
    let f = "matmul_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let trans_a = choice(f, "trans_a", trans_a, Transpose::from_i32)?;
        let trans_b = choice(f, "trans_b", trans_b, Transpose::from_i32)?;
        let stored = |transpose, rows, cols| match transpose {
            Transpose::No => [rows, cols],
            Transpose::Yes => [cols, rows],
        };
        let row = |transpose, plain, transposed| if transpose == Transpose::No { plain } else { transposed };
        let a = In::new("a", a, &stored(trans_a, m, k)).leading("lda", lda, row(trans_a, "k", "m"));
        let b = In::new("b", b, &stored(trans_b, k, n)).leading("ldb", ldb, row(trans_b, "n", "k"));
        let c = Out::new("c", c, &[m, n]).leading("ldc", ldc, "n");
        check(f, &[&a, &b, &c])?;
        // SAFETY: checked above; sizes are the caller's promise.
        let (a, b, c) = unsafe { (a.slice(), b.slice(), c.slice()) };
        matmul_f32(ctx, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
    })
}
