//! Loops over lanes that the array-based vectors share.

/// `f` of each lane.
#[inline(always)]
pub(super) fn map<T: Copy, U, const N: usize>(a: [T; N], f: impl Fn(T) -> U) -> [U; N] {
    std::array::from_fn(|i| f(a[i]))
}

/// `f` of each pair of lanes.
#[inline(always)]
pub(super) fn zip<T: Copy, V: Copy, U, const N: usize>(a: [T; N], b: [V; N], f: impl Fn(T, V) -> U) -> [U; N] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

/// `f` of each triple of lanes.
#[inline(always)]
pub(super) fn zip3<T: Copy, U, const N: usize>(a: [T; N], b: [T; N], c: [T; N], f: impl Fn(T, T, T) -> U) -> [U; N] {
    std::array::from_fn(|i| f(a[i], b[i], c[i]))
}

/// Lane i joins lane i + N/2, then i + N/4, … until one is left.
#[inline(always)]
pub(super) fn fold<T: Copy, const N: usize>(mut a: [T; N], f: impl Fn(T, T) -> T) -> T {
    let mut half = N / 2;
    while half > 0 {
        for i in 0..half {
            a[i] = f(a[i], a[i + half]);
        }
        half /= 2;
    }
    a[0]
}

/// The first `n` ≤ N elements at `p`, and `fill` after them.
///
/// # Safety
/// `p` is valid for reading `n` elements.
#[inline(always)]
pub(super) unsafe fn load_first<T: Copy, const N: usize>(p: *const T, n: usize, fill: T) -> [T; N] {
    debug_assert!(n <= N);
    let mut a = [fill; N];
    // SAFETY: n elements are readable (contract) and fit into a (n <= N).
    unsafe { std::ptr::copy_nonoverlapping(p, a.as_mut_ptr(), n) };
    a
}

/// `a < b ? a : b`.
#[inline(always)]
pub(super) fn min(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// `a > b ? a : b`.
#[inline(always)]
pub(super) fn max(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// 2ⁿ as a float, for −126 ≤ n ≤ 127.
#[inline(always)]
pub(super) fn exp2i(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}

/// [`super::Simd::turn_d`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn turn_d(p: *const f64, ld: usize, last: usize, dst: *mut f64, stride: usize) {
    // Row by row of the result: what one has too much the next may overwrite.
    for i in 0..4 {
        for r in 0..4 {
            // SAFETY: the contract.
            unsafe { *dst.add(i * stride + r) = *p.add(r.min(last) * ld + i) };
        }
    }
}
