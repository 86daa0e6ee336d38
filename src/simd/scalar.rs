//! The specification: sixteen lanes, one at a time, with `f32::mul_add`.

use super::arrays::{self, exp2i, fold, map, zip, zip3};
use super::{Isa, Kernel, Simd};

/// The vector that states what every other one must compute.
#[derive(Debug, Clone, Copy)]
pub struct Scalar;

impl Simd for Scalar {
    const ISA: Isa = Isa::Scalar;
    const FUSED: bool = true;
    const COMPACT: bool = true;
    type F = [f32; 16];
    type I = [i32; 16];
    type M = [bool; 16];
    type D = [f64; 8];
    type H = [f32; 8];
    type W = [u16; 16];

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> [f32; 16] {
        // SAFETY: the caller's contract; the read is unaligned.
        unsafe { p.cast::<[f32; 16]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: [f32; 16]) {
        // SAFETY: the caller's contract; the write is unaligned.
        unsafe { p.cast::<[f32; 16]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_first(self, p: *const f32, n: usize) -> [f32; 16] {
        // SAFETY: the caller's contract.
        unsafe { arrays::load_first(p, n, 0.0) }
    }
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, v: [f32; 16], n: usize) {
        debug_assert!(n <= 16);
        // SAFETY: n floats are writable (contract), and v holds 16.
        unsafe { std::ptr::copy_nonoverlapping(v.as_ptr(), p, n) }
    }
    #[inline(always)]
    unsafe fn load_d(self, p: *const f64) -> [f64; 8] {
        // SAFETY: the caller's contract; the read is unaligned.
        unsafe { p.cast::<[f64; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_d(self, p: *mut f64, v: [f64; 8]) {
        // SAFETY: the caller's contract; the write is unaligned.
        unsafe { p.cast::<[f64; 8]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_h(self, p: *const f32) -> [f32; 8] {
        // SAFETY: the caller's contract; the read is unaligned.
        unsafe { p.cast::<[f32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_h(self, p: *mut f32, v: [f32; 8]) {
        // SAFETY: the caller's contract; the write is unaligned.
        unsafe { p.cast::<[f32; 8]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_first_h(self, p: *const f32, n: usize) -> [f32; 8] {
        // SAFETY: the caller's contract.
        unsafe { arrays::load_first(p, n, 0.0) }
    }
    #[inline(always)]
    unsafe fn store_first_h(self, p: *mut f32, v: [f32; 8], n: usize) {
        debug_assert!(n <= 8);
        // SAFETY: n floats are writable (contract), and v holds 8.
        unsafe { std::ptr::copy_nonoverlapping(v.as_ptr(), p, n) }
    }
    #[inline(always)]
    unsafe fn load_first_d(self, p: *const f64, n: usize) -> [f64; 8] {
        // SAFETY: the caller's contract.
        unsafe { arrays::load_first(p, n, 0.0) }
    }
    #[inline(always)]
    unsafe fn store_first_d(self, p: *mut f64, v: [f64; 8], n: usize) {
        debug_assert!(n <= 8);
        // SAFETY: n doubles are writable (contract), and v holds 8.
        unsafe { std::ptr::copy_nonoverlapping(v.as_ptr(), p, n) }
    }
    #[inline(always)]
    unsafe fn turn_d(self, p: *const f64, ld: usize, last: usize, dst: *mut f64, stride: usize) {
        // SAFETY: the caller's contract.
        unsafe { arrays::turn_d(p, ld, last, dst, stride) }
    }
    #[inline(always)]
    unsafe fn load_turned_h(self, p: *const f32, ld: usize, last: usize) -> [[f32; 8]; 8] {
        // SAFETY: the caller's contract.
        std::array::from_fn(|i| std::array::from_fn(|r| unsafe { *p.add(r.min(last) * ld + i) }))
    }
    #[inline(always)]
    unsafe fn load_w(self, p: *const u16) -> [u16; 16] {
        // SAFETY: the caller's contract; the read is unaligned.
        unsafe { p.cast::<[u16; 16]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_w(self, p: *mut u16, v: [u16; 16]) {
        // SAFETY: the caller's contract; the write is unaligned.
        unsafe { p.cast::<[u16; 16]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_first_w(self, p: *const u16, n: usize) -> [u16; 16] {
        // SAFETY: the caller's contract.
        unsafe { arrays::load_first(p, n, 0) }
    }
    #[inline(always)]
    unsafe fn store_first_w(self, p: *mut u16, v: [u16; 16], n: usize) {
        debug_assert!(n <= 16);
        // SAFETY: n words are writable (contract), and v holds 16.
        unsafe { std::ptr::copy_nonoverlapping(v.as_ptr(), p, n) }
    }
    #[inline(always)]
    fn outline<K: Kernel>(self, kernel: K) -> K::Out {
        super::outline(self, kernel)
    }
    #[inline(always)]
    fn prefetch_far(self, _: *const f32) {}
    #[inline(always)]
    fn prefetch(self, _: *const f32) {}

    #[inline(always)]
    fn from_array(self, a: [f32; 16]) -> [f32; 16] {
        a
    }
    #[inline(always)]
    fn to_array(self, v: [f32; 16]) -> [f32; 16] {
        v
    }
    #[inline(always)]
    fn from_array_i(self, a: [i32; 16]) -> [i32; 16] {
        a
    }
    #[inline(always)]
    fn to_array_i(self, v: [i32; 16]) -> [i32; 16] {
        v
    }
    #[inline(always)]
    fn splat(self, x: f32) -> [f32; 16] {
        [x; 16]
    }
    #[inline(always)]
    fn splat_i(self, x: i32) -> [i32; 16] {
        [x; 16]
    }
    #[inline(always)]
    fn splat_d(self, x: f64) -> [f64; 8] {
        [x; 8]
    }
    #[inline(always)]
    fn to_array_d(self, v: [f64; 8]) -> [f64; 8] {
        v
    }
    #[inline(always)]
    fn to_array_h(self, v: [f32; 8]) -> [f32; 8] {
        v
    }

    #[inline(never)]
    fn add(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, |a, b| a + b)
    }
    #[inline(never)]
    fn sub(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, |a, b| a - b)
    }
    #[inline(never)]
    fn mul(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, |a, b| a * b)
    }
    #[inline(never)]
    fn div(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, |a, b| a / b)
    }
    #[inline(never)]
    fn sqrt(self, a: [f32; 16]) -> [f32; 16] {
        map(a, f32::sqrt)
    }
    #[inline(never)]
    fn fma(self, a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
        zip3(a, b, c, f32::mul_add)
    }
    #[inline(never)]
    fn fnma(self, a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
        zip3(a, b, c, |a, b, c| (-a).mul_add(b, c))
    }
    #[inline(never)]
    fn fms(self, a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
        zip3(a, b, c, |a, b, c| a.mul_add(b, -c))
    }
    #[inline(never)]
    fn min(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, arrays::min)
    }
    #[inline(never)]
    fn max(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, arrays::max)
    }
    #[inline(never)]
    fn round(self, a: [f32; 16]) -> [f32; 16] {
        map(a, f32::round_ties_even)
    }
    #[inline(never)]
    fn ldexp(self, x: [f32; 16], n: [f32; 16]) -> [f32; 16] {
        // The first product is exact for every x and n of the contract, so only the second rounds.
        zip(x, n, |x, n| {
            let n = n as i32;
            x * exp2i(n >> 1) * exp2i(n - (n >> 1))
        })
    }

    #[inline(never)]
    fn lt(self, a: [f32; 16], b: [f32; 16]) -> [bool; 16] {
        zip(a, b, |a, b| a < b)
    }
    #[inline(never)]
    fn le(self, a: [f32; 16], b: [f32; 16]) -> [bool; 16] {
        zip(a, b, |a, b| a <= b)
    }
    #[inline(never)]
    fn eq(self, a: [f32; 16], b: [f32; 16]) -> [bool; 16] {
        zip(a, b, |a, b| a == b)
    }
    #[inline(never)]
    fn is_nan(self, a: [f32; 16]) -> [bool; 16] {
        map(a, f32::is_nan)
    }
    #[inline(never)]
    fn gt_i(self, a: [i32; 16], b: [i32; 16]) -> [bool; 16] {
        zip(a, b, |a, b| a > b)
    }
    #[inline(never)]
    fn eq_i(self, a: [i32; 16], b: [i32; 16]) -> [bool; 16] {
        zip(a, b, |a, b| a == b)
    }
    #[inline(never)]
    fn select(self, m: [bool; 16], a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|i| if m[i] { a[i] } else { b[i] })
    }
    #[inline(never)]
    fn first(self, n: usize) -> [bool; 16] {
        std::array::from_fn(|i| i < n)
    }
    #[inline(never)]
    fn and_m(self, a: [bool; 16], b: [bool; 16]) -> [bool; 16] {
        zip(a, b, |a, b| a & b)
    }
    #[inline(never)]
    fn or_m(self, a: [bool; 16], b: [bool; 16]) -> [bool; 16] {
        zip(a, b, |a, b| a | b)
    }
    #[inline(never)]
    fn not_m(self, a: [bool; 16]) -> [bool; 16] {
        map(a, |a| !a)
    }
    #[inline(never)]
    fn bits_m(self, a: [bool; 16]) -> u32 {
        (0..16).fold(0, |bits, i| bits | (a[i] as u32) << i)
    }

    #[inline(never)]
    fn bits(self, a: [f32; 16]) -> [i32; 16] {
        map(a, |a| a.to_bits() as i32)
    }
    #[inline(never)]
    fn from_bits(self, a: [i32; 16]) -> [f32; 16] {
        map(a, |a| f32::from_bits(a as u32))
    }
    #[inline(never)]
    fn and(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, |a, b| f32::from_bits(a.to_bits() & b.to_bits()))
    }
    #[inline(never)]
    fn or(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, |a, b| f32::from_bits(a.to_bits() | b.to_bits()))
    }
    #[inline(never)]
    fn xor(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, |a, b| f32::from_bits(a.to_bits() ^ b.to_bits()))
    }
    #[inline(never)]
    fn and_i(self, a: [i32; 16], b: [i32; 16]) -> [i32; 16] {
        zip(a, b, |a, b| a & b)
    }
    #[inline(never)]
    fn or_i(self, a: [i32; 16], b: [i32; 16]) -> [i32; 16] {
        zip(a, b, |a, b| a | b)
    }
    #[inline(never)]
    fn add_i(self, a: [i32; 16], b: [i32; 16]) -> [i32; 16] {
        zip(a, b, i32::wrapping_add)
    }
    #[inline(never)]
    fn sub_i(self, a: [i32; 16], b: [i32; 16]) -> [i32; 16] {
        zip(a, b, i32::wrapping_sub)
    }
    #[inline(never)]
    fn shl_i<const N: i32>(self, a: [i32; 16]) -> [i32; 16] {
        map(a, |a| a << N)
    }
    #[inline(never)]
    fn shr_i<const N: i32>(self, a: [i32; 16]) -> [i32; 16] {
        map(a, |a| (a as u32 >> N) as i32)
    }
    #[inline(never)]
    fn sra_i<const N: i32>(self, a: [i32; 16]) -> [i32; 16] {
        map(a, |a| a >> N)
    }
    #[inline(never)]
    fn to_int(self, a: [f32; 16]) -> [i32; 16] {
        map(a, |a| a.round_ties_even() as i32)
    }
    #[inline(never)]
    fn from_int(self, a: [i32; 16]) -> [f32; 16] {
        map(a, |a| a as f32)
    }

    #[inline(never)]
    fn widen(self, a: [f32; 16]) -> ([f64; 8], [f64; 8]) {
        (std::array::from_fn(|i| a[i] as f64), std::array::from_fn(|i| a[i + 8] as f64))
    }
    #[inline(never)]
    fn narrow(self, low: [f64; 8], high: [f64; 8]) -> [f32; 16] {
        std::array::from_fn(|i| if i < 8 { low[i] as f32 } else { high[i - 8] as f32 })
    }
    #[inline(never)]
    fn add_d(self, a: [f64; 8], b: [f64; 8]) -> [f64; 8] {
        zip(a, b, |a, b| a + b)
    }
    #[inline(never)]
    fn sub_d(self, a: [f64; 8], b: [f64; 8]) -> [f64; 8] {
        zip(a, b, |a, b| a - b)
    }
    #[inline(never)]
    fn mul_d(self, a: [f64; 8], b: [f64; 8]) -> [f64; 8] {
        zip(a, b, |a, b| a * b)
    }
    #[inline(never)]
    fn div_d(self, a: [f64; 8], b: [f64; 8]) -> [f64; 8] {
        zip(a, b, |a, b| a / b)
    }
    #[inline(never)]
    fn sqrt_d(self, a: [f64; 8]) -> [f64; 8] {
        map(a, f64::sqrt)
    }
    #[inline(never)]
    fn fma_d(self, a: [f64; 8], b: [f64; 8], c: [f64; 8]) -> [f64; 8] {
        zip3(a, b, c, f64::mul_add)
    }

    #[inline(never)]
    fn splat_h(self, x: f32) -> [f32; 8] {
        [x; 8]
    }
    #[inline(never)]
    fn mul_h(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| a * b)
    }
    #[inline(never)]
    fn halves(self, a: [f32; 16]) -> ([f32; 8], [f32; 8]) {
        (std::array::from_fn(|i| a[i]), std::array::from_fn(|i| a[i + 8]))
    }
    #[inline(never)]
    fn fma_h(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        zip3(a, b, c, f32::mul_add)
    }

    #[inline(never)]
    fn widen_w(self, a: [u16; 16]) -> [i32; 16] {
        map(a, i32::from)
    }
    #[inline(never)]
    fn narrow_w(self, a: [i32; 16]) -> [u16; 16] {
        map(a, |a| a as u16)
    }
    #[inline(never)]
    fn from_f16(self, a: [u16; 16]) -> [f32; 16] {
        map(a, super::f16_to_f32)
    }
    #[inline(never)]
    fn to_f16(self, a: [f32; 16]) -> [u16; 16] {
        map(a, super::f16_from_f32)
    }

    #[inline(never)]
    fn sum(self, a: [f32; 16]) -> f32 {
        fold(a, |a, b| a + b)
    }
    #[inline(never)]
    fn sum_d(self, a: [f64; 8]) -> f64 {
        fold(a, |a, b| a + b)
    }
    #[inline(never)]
    fn max_lane(self, a: [f32; 16]) -> f32 {
        fold(a, arrays::max)
    }
    #[inline(never)]
    fn min_lane(self, a: [f32; 16]) -> f32 {
        fold(a, arrays::min)
    }
    #[inline(never)]
    fn transpose(self, rows: [[f32; 16]; 16]) -> [[f32; 16]; 16] {
        std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]))
    }
}
