//! How sums join C: c = fma(alpha, sum, beta·c), where beta = 0 does not read C.

use super::real::{Real, Vector};
use crate::simd::Simd;

/// One sum joins the element at `c`.
///
/// # Safety
/// `c` is valid for reading and writing.
#[inline(always)]
pub(super) unsafe fn join_one<T: Real, S: Simd>(alpha: T, beta: T, sum: T, c: *mut T) {
    // SAFETY: the contract.
    unsafe {
        let start = if beta == T::default() { T::default() } else { beta * *c };
        *c = T::fma::<S>(alpha, sum, start);
    }
}

/// Sums join the first `n` elements from `c` on, or a whole vector of them, to be written to `out`.
///
/// # Safety
/// As many elements are valid, from `c` on for reading, from `out` on for writing.
#[inline(always)]
pub(super) unsafe fn join_vector<T: Real, S: Simd, V: Vector<S, T>>(
    s: S,
    alpha: T,
    beta: T,
    sum: V,
    c: *const T,
    out: *mut T,
    n: usize,
) {
    let splat = |x| V::splat(s, x);
    // SAFETY: the contract.
    unsafe {
        let start =
            if beta == T::default() { splat(T::default()) } else { V::mul(s, splat(beta), V::load_up_to(s, c, n)) };
        V::fma(s, splat(alpha), sum, start).store_up_to(s, out, n);
    }
}

/// `len` sums beside each other join as many elements from `c` on, to be written to `out`.
///
/// # Safety
/// `len` sums and elements of C are valid for reading, of `out` for writing.
#[inline(always)]
pub(super) unsafe fn join_row<T: Real, S: Simd>(
    s: S,
    alpha: T,
    beta: T,
    sums: *const T,
    c: *const T,
    out: *mut T,
    len: usize,
) {
    for i in (0..len).step_by(T::LANES) {
        // SAFETY: the contract.
        unsafe {
            let sum = T::Wide::<S>::load_up_to(s, sums.add(i), len - i);
            join_vector(s, alpha, beta, sum, c.add(i), out.add(i), len - i);
        }
    }
}
