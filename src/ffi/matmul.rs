//! Matrix products.

use super::context::ek_context;
use super::element::{ek_bf16, ek_f16};
use super::status::{ek_status, guard};
use super::tensor::{In, Out, check};
use super::{choice, context_of};
use crate::error::Result;
use crate::matmul::{
    Transpose, matmul_batched_f32, matmul_bf16, matmul_f16, matmul_f32, matmul_f64, multiply_unchecked,
};

/// Whether a matrix is used as it is stored: EK_NO_TRANSPOSE or EK_TRANSPOSE.
pub type ek_transpose = i32;

/// op(X) = X.
pub const EK_NO_TRANSPOSE: ek_transpose = 0;
/// op(X) = X transposed.
pub const EK_TRANSPOSE: ek_transpose = 1;

const _: () = assert!(EK_NO_TRANSPOSE == Transpose::No as i32 && EK_TRANSPOSE == Transpose::Yes as i32);

/// Shapes and strides of one operand as it is stored.
fn stored(transpose: Transpose, rows: usize, cols: usize) -> [usize; 2] {
    if transpose == Transpose::No { [rows, cols] } else { [cols, rows] }
}

/// What the row of a stored operand is called.
fn row<'a>(transpose: Transpose, plain: &'a str, transposed: &'a str) -> &'a str {
    if transpose == Transpose::No { plain } else { transposed }
}

/// Whether operands are so plainly right that the checks that name what is wrong would find nothing: those take longer than
/// a small product does.
#[inline]
#[allow(clippy::too_many_arguments)]
fn plainly_right<T>(
    trans_a: ek_transpose,
    trans_b: ek_transpose,
    [m, n, k]: [usize; 3],
    a: *const T,
    lda: usize,
    b: *const T,
    ldb: usize,
    c: *mut T,
    ldc: usize,
) -> bool {
    // So that no product below overflows.
    const MOST: usize = 1 << 16;
    let size = size_of::<T>();
    let fits = |x: usize| x.wrapping_sub(1) < MOST;
    if !fits(m) || !fits(n) || !fits(k) || !(0..=1).contains(&trans_a) || !(0..=1).contains(&trans_b) {
        return false;
    }
    // Bytes of a matrix whose leading dimension is at least its row, and not absurd.
    let bytes = |rows: usize, cols: usize, ld: usize| {
        if ld < cols || ld > isize::MAX as usize / (MOST * 16) { 0 } else { ((rows - 1) * ld + cols) * size }
    };
    let a_bytes = if trans_a == EK_NO_TRANSPOSE { bytes(m, k, lda) } else { bytes(k, m, lda) };
    let b_bytes = if trans_b == EK_NO_TRANSPOSE { bytes(k, n, ldb) } else { bytes(n, k, ldb) };
    let c_bytes = bytes(m, n, ldc);
    let (a, b, c) = (a.addr(), b.addr(), c.addr());
    let apart = |x: usize, len: usize| x.wrapping_add(len) <= c || c.wrapping_add(c_bytes) <= x;
    let wraps = |x: usize, len: usize| x.checked_add(len).is_none();
    a_bytes != 0
        && b_bytes != 0
        && c_bytes != 0
        && a != 0
        && b != 0
        && c != 0
        && (a | b | c) % align_of::<T>() == 0
        && !(wraps(a, a_bytes) || wraps(b, b_bytes) || wraps(c, c_bytes))
        && apart(a, a_bytes)
        && apart(b, b_bytes)
}

/// A product of the Rust API, with `O` the operands' type and `T` the result's.
type Product<O, T> = fn(
    &crate::Context,
    Transpose,
    Transpose,
    usize,
    usize,
    usize,
    T,
    &[O],
    usize,
    &[O],
    usize,
    T,
    &mut [T],
    usize,
) -> Result;

/// The body of a function that multiplies two matrices stored as `C`, whose bits are those of `O`.
///
/// # Safety
/// As the C functions say.
#[allow(clippy::too_many_arguments)]
#[inline]
unsafe fn multiply<C, O, T>(
    f: &'static str,
    product: Product<O, T>,
    ctx: *const ek_context,
    trans_a: ek_transpose,
    trans_b: ek_transpose,
    m: usize,
    n: usize,
    k: usize,
    alpha: T,
    a: *const C,
    lda: usize,
    b: *const C,
    ldb: usize,
    beta: T,
    c: *mut T,
    ldc: usize,
) -> Result {
    const { assert!(size_of::<C>() == size_of::<O>() && align_of::<C>() == align_of::<O>()) };
    // SAFETY: the caller's promise.
    let ctx = unsafe { context_of(ctx) }?;
    let trans_a = choice(f, "trans_a", trans_a, Transpose::from_i32)?;
    let trans_b = choice(f, "trans_b", trans_b, Transpose::from_i32)?;
    let a = In::new("a", a.cast::<O>(), &stored(trans_a, m, k)).leading("lda", lda, row(trans_a, "k", "m"));
    let b = In::new("b", b.cast::<O>(), &stored(trans_b, k, n)).leading("ldb", ldb, row(trans_b, "n", "k"));
    let c = Out::new("c", c, &[m, n]).leading("ldc", ldc, "n");
    check(f, &[&a, &b, &c])?;
    // SAFETY: checked above; sizes are the caller's promise, and any bits of C are an O (ek_bf16, ek_f16, or the same
    // type).
    let (a, b, c) = unsafe { (a.slice(), b.slice(), c.slice()) };
    product(ctx, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

/// [`multiply`], with a short way for operands that are plainly right.
macro_rules! quickly {
    ($product:ident, $ctx:ident, $trans_a:ident, $trans_b:ident, $m:ident, $n:ident, $k:ident, $alpha:ident, $a:ident, $lda:ident, $b:ident, $ldb:ident, $beta:ident, $c:ident, $ldc:ident) => {{
        let f = stringify!($product);
        guard(f, || {
            if plainly_right($trans_a, $trans_b, [$m, $n, $k], $a, $lda, $b, $ldb, $c, $ldc) {
                let of = |value| if value == EK_NO_TRANSPOSE { Transpose::No } else { Transpose::Yes };
                let (trans_a, trans_b) = (of($trans_a), of($trans_b));
                // SAFETY: not NULL, in range, and aligned, with c apart from a and b (plainly_right); the rest is the
                // caller's promise.
                let done = unsafe {
                    multiply_unchecked(
                        context_of($ctx)?,
                        trans_a,
                        trans_b,
                        [$m, $n, $k],
                        $alpha,
                        $a,
                        $lda,
                        $b,
                        $ldb,
                        $beta,
                        $c,
                        $ldc,
                    )
                };
                if done {
                    return Ok(());
                }
                let len = |[rows, cols]: [usize; 2], ld| (rows - 1) * ld + cols;
                // SAFETY: not NULL, aligned, in range, c apart from a and b (plainly_right); the rest is the caller's
                // promise.
                let (ctx, a, b, c) = unsafe {
                    (
                        context_of($ctx)?,
                        std::slice::from_raw_parts($a, len(stored(trans_a, $m, $k), $lda)),
                        std::slice::from_raw_parts($b, len(stored(trans_b, $k, $n), $ldb)),
                        std::slice::from_raw_parts_mut($c, len([$m, $n], $ldc)),
                    )
                };
                return $product(ctx, trans_a, trans_b, $m, $n, $k, $alpha, a, $lda, b, $ldb, $beta, c, $ldc);
            }
            // SAFETY: the caller's promise.
            unsafe {
                multiply(f, $product, $ctx, $trans_a, $trans_b, $m, $n, $k, $alpha, $a, $lda, $b, $ldb, $beta, $c, $ldc)
            }
        })
    }};
}

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
    quickly!(matmul_f32, ctx, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

/// C = alpha * op(A) * op(B) + beta * C in double: ek_matmul_f32 in every other respect, shapes, NULL, aliasing and errors
/// included.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_matmul_f64(
    ctx: *const ek_context,
    trans_a: ek_transpose,
    trans_b: ek_transpose,
    m: usize,
    n: usize,
    k: usize,
    alpha: f64,
    a: *const f64,
    lda: usize,
    b: *const f64,
    ldb: usize,
    beta: f64,
    c: *mut f64,
    ldc: usize,
) -> ek_status {
    quickly!(matmul_f64, ctx, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

/// C = alpha * op(A) * op(B) + beta * C with a and b in bf16, computed in float, c in float: the bits of ek_matmul_f32 on
/// the same numbers as floats. Shapes, NULL, aliasing and errors are its own too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_matmul_bf16(
    ctx: *const ek_context,
    trans_a: ek_transpose,
    trans_b: ek_transpose,
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: *const ek_bf16,
    lda: usize,
    b: *const ek_bf16,
    ldb: usize,
    beta: f32,
    c: *mut f32,
    ldc: usize,
) -> ek_status {
    let f = "matmul_bf16";
    guard(f, || {
        // SAFETY: the caller's promise.
        unsafe { multiply(f, matmul_bf16, ctx, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc) }
    })
}

/// C = alpha * op(A) * op(B) + beta * C with a and b in f16, computed in float, c in float: the bits of ek_matmul_f32 on
/// the same numbers as floats. Shapes, NULL, aliasing and errors are its own too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_matmul_f16(
    ctx: *const ek_context,
    trans_a: ek_transpose,
    trans_b: ek_transpose,
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: *const ek_f16,
    lda: usize,
    b: *const ek_f16,
    ldb: usize,
    beta: f32,
    c: *mut f32,
    ldc: usize,
) -> ek_status {
    let f = "matmul_f16";
    guard(f, || {
        // SAFETY: the caller's promise.
        unsafe { multiply(f, matmul_f16, ctx, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc) }
    })
}

/// `batch` products at once, each as ek_matmul_f32 does it: item i has its A at a + i * stride_a, its B at
/// b + i * stride_b, its C at c + i * stride_c.
///
/// Shapes of an item: op(A) [m, k], op(B) [k, n], C [m, n], with leading dimensions as in ek_matmul_f32. Strides count
/// elements. Items of A, and items of B, may overlap; with stride 0 they are the same. Items of C are disjoint: stride_c is
/// at least (m - 1) * ldc + n, unless batch is at most 1. batch = 0 does nothing.
///
/// NULL: a and b where they have no elements, c where batch, m or n is 0. Aliasing: a and b may overlap; c overlaps neither.
///
/// Errors: as ek_matmul_f32; EK_STATUS_INVALID_SIZE for a stride_c that is too small, too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_matmul_batched_f32(
    ctx: *const ek_context,
    trans_a: ek_transpose,
    trans_b: ek_transpose,
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: *const f32,
    lda: usize,
    stride_a: usize,
    b: *const f32,
    ldb: usize,
    stride_b: usize,
    beta: f32,
    c: *mut f32,
    ldc: usize,
    stride_c: usize,
) -> ek_status {
    let f = "matmul_batched_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let trans_a = choice(f, "trans_a", trans_a, Transpose::from_i32)?;
        let trans_b = choice(f, "trans_b", trans_b, Transpose::from_i32)?;
        let items = |[rows, cols]: [usize; 2]| [batch, rows, cols];
        let a = In::new("a", a, &items(stored(trans_a, m, k))).leading("lda", lda, row(trans_a, "k", "m"));
        let b = In::new("b", b, &items(stored(trans_b, k, n))).leading("ldb", ldb, row(trans_b, "n", "k"));
        let c = Out::new("c", c, &[batch, m, n]).leading("ldc", ldc, "n");
        let (a, b, c) = (a.items(stride_a), b.items(stride_b), c.items(stride_c));
        check(f, &[&a, &b, &c])?;
        // SAFETY: checked above; sizes are the caller's promise.
        let (a, b, c) = unsafe { (a.slice(), b.slice(), c.slice()) };
        matmul_batched_f32(
            ctx, trans_a, trans_b, batch, m, n, k, alpha, a, lda, stride_a, b, ldb, stride_b, beta, c, ldc, stride_c,
        )
    })
}
