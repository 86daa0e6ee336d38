//! `wide`: SSE2, NEON, WebAssembly simd128, or plain code, as the build's target has it.

use super::arrays::{self, fold};
use super::{Isa, Kernel, Simd};
use wide::{bytemuck::cast, f32x8, f32x16, f64x8, i32x16, u32x16};

/// The vector that every machine of the target has.
#[derive(Debug, Clone, Copy)]
pub struct Portable;

const LANE: [i32; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// One method that is one expression.
macro_rules! op {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $out:ty { $body:expr })*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $ty),*) -> $out {
            $body
        }
    )*};
}

/// Operations that are functions of their own where a short program counts more than a fast one.
mod apart {
    use super::{arrays, f32x16, f64x8, fold};

    macro_rules! apart {
        ($($item:item)*) => {$(
            #[cfg_attr(target_arch = "x86_64", inline(never))]
            #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
            $item
        )*};
    }

    apart! {
        pub(super) unsafe fn load_first<T: Copy, const N: usize>(p: *const T, n: usize, fill: T) -> [T; N] {
            // SAFETY: the caller's contract.
            unsafe { arrays::load_first(p, n, fill) }
        }
        pub(super) fn transpose(rows: &[f32x16; 16]) -> [f32x16; 16] {
            let mut turned = [f32x16::ZERO; 16];
            for (i, row) in rows.iter().enumerate() {
                for (j, turned) in turned.iter_mut().enumerate() {
                    turned.as_mut_array()[i] = row.as_array()[j];
                }
            }
            turned
        }
        pub(super) fn sum(a: f32x16) -> f32 {
            fold(a.to_array(), |a, b| a + b)
        }
        pub(super) fn sum_d(a: f64x8) -> f64 {
            fold(a.to_array(), |a, b| a + b)
        }
        pub(super) fn max_lane(a: f32x16) -> f32 {
            fold(a.to_array(), arrays::max)
        }
        pub(super) fn min_lane(a: f32x16) -> f32 {
            fold(a.to_array(), arrays::min)
        }
    }
}

impl Simd for Portable {
    const ISA: Isa = if cfg!(target_arch = "aarch64") { Isa::Neon } else { Isa::Portable };
    // `wide` fuses where the whole build may use FMA.
    const FUSED: bool = cfg!(any(target_feature = "fma", all(target_arch = "aarch64", target_feature = "neon")));
    const COMPACT: bool = cfg!(target_arch = "x86_64");
    type F = f32x16;
    type I = i32x16;
    type M = f32x16;
    type D = f64x8;
    type H = f32x8;
    type W = [u16; 16];

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> f32x16 {
        // SAFETY: the caller's contract; the read is unaligned.
        f32x16::new(unsafe { p.cast::<[f32; 16]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: f32x16) {
        // SAFETY: the caller's contract; the write is unaligned.
        unsafe { p.cast::<[f32; 16]>().write_unaligned(v.to_array()) }
    }
    #[inline(always)]
    unsafe fn load_first(self, p: *const f32, n: usize) -> f32x16 {
        // SAFETY: the caller's contract.
        f32x16::new(unsafe { apart::load_first(p, n, 0.0) })
    }
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, v: f32x16, n: usize) {
        debug_assert!(n <= 16);
        // SAFETY: n floats are writable (contract), and v holds 16.
        unsafe { std::ptr::copy_nonoverlapping(v.as_array().as_ptr(), p, n) }
    }
    #[inline(always)]
    unsafe fn load_d(self, p: *const f64) -> f64x8 {
        // SAFETY: the caller's contract; the read is unaligned.
        f64x8::new(unsafe { p.cast::<[f64; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store_d(self, p: *mut f64, v: f64x8) {
        // SAFETY: the caller's contract; the write is unaligned.
        unsafe { p.cast::<[f64; 8]>().write_unaligned(v.to_array()) }
    }
    #[inline(always)]
    unsafe fn load_h(self, p: *const f32) -> f32x8 {
        // SAFETY: the caller's contract; the read is unaligned.
        f32x8::new(unsafe { p.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store_h(self, p: *mut f32, v: f32x8) {
        // SAFETY: the caller's contract; the write is unaligned.
        unsafe { p.cast::<[f32; 8]>().write_unaligned(v.to_array()) }
    }
    #[inline(always)]
    unsafe fn load_first_h(self, p: *const f32, n: usize) -> f32x8 {
        // SAFETY: the caller's contract.
        f32x8::new(unsafe { apart::load_first(p, n, 0.0) })
    }
    #[inline(always)]
    unsafe fn store_first_h(self, p: *mut f32, v: f32x8, n: usize) {
        debug_assert!(n <= 8);
        // SAFETY: n floats are writable (contract), and v holds 8.
        unsafe { std::ptr::copy_nonoverlapping(v.as_array().as_ptr(), p, n) }
    }
    #[inline(always)]
    unsafe fn load_first_d(self, p: *const f64, n: usize) -> f64x8 {
        // SAFETY: the caller's contract.
        f64x8::new(unsafe { apart::load_first(p, n, 0.0) })
    }
    #[inline(always)]
    unsafe fn store_first_d(self, p: *mut f64, v: f64x8, n: usize) {
        debug_assert!(n <= 8);
        // SAFETY: n doubles are writable (contract), and v holds 8.
        unsafe { std::ptr::copy_nonoverlapping(v.as_array().as_ptr(), p, n) }
    }
    #[inline(always)]
    unsafe fn turn_d(self, p: *const f64, ld: usize, last: usize, dst: *mut f64, stride: usize) {
        // SAFETY: the caller's contract.
        unsafe { arrays::turn_d(p, ld, last, dst, stride) }
    }
    #[inline(always)]
    unsafe fn load_turned_h(self, p: *const f32, ld: usize, last: usize) -> [f32x8; 8] {
        let mut rows = [f32x8::splat(0.0); 8];
        for (r, row) in rows.iter_mut().enumerate() {
            // SAFETY: the caller's contract.
            *row = unsafe { self.load_h(p.add(r.min(last) * ld)) };
        }
        f32x8::transpose(rows)
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
        unsafe { apart::load_first(p, n, 0) }
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

    op! {
        from_array(a: [f32; 16]) -> f32x16 { f32x16::new(a) }
        to_array(v: f32x16) -> [f32; 16] { v.to_array() }
        from_array_i(a: [i32; 16]) -> i32x16 { i32x16::new(a) }
        to_array_i(v: i32x16) -> [i32; 16] { v.to_array() }
        splat(x: f32) -> f32x16 { f32x16::splat(x) }
        splat_i(x: i32) -> i32x16 { i32x16::splat(x) }
        splat_d(x: f64) -> f64x8 { f64x8::splat(x) }
        to_array_d(v: f64x8) -> [f64; 8] { v.to_array() }
        to_array_h(v: f32x8) -> [f32; 8] { v.to_array() }
        add(a: f32x16, b: f32x16) -> f32x16 { a + b }
        sub(a: f32x16, b: f32x16) -> f32x16 { a - b }
        mul(a: f32x16, b: f32x16) -> f32x16 { a * b }
        div(a: f32x16, b: f32x16) -> f32x16 { a / b }
        sqrt(a: f32x16) -> f32x16 { a.sqrt() }
        fma(a: f32x16, b: f32x16, c: f32x16) -> f32x16 { a.mul_add(b, c) }
        fnma(a: f32x16, b: f32x16, c: f32x16) -> f32x16 { (-a).mul_add(b, c) }
        fms(a: f32x16, b: f32x16, c: f32x16) -> f32x16 { a.mul_add(b, -c) }
        min(a: f32x16, b: f32x16) -> f32x16 { a.simd_lt(b).select(a, b) }
        max(a: f32x16, b: f32x16) -> f32x16 { a.simd_gt(b).select(a, b) }
        lt(a: f32x16, b: f32x16) -> f32x16 { a.simd_lt(b) }
        le(a: f32x16, b: f32x16) -> f32x16 { a.simd_le(b) }
        eq(a: f32x16, b: f32x16) -> f32x16 { a.simd_eq(b) }
        is_nan(a: f32x16) -> f32x16 { a.is_nan() }
        gt_i(a: i32x16, b: i32x16) -> f32x16 { cast(a.simd_gt(b)) }
        eq_i(a: i32x16, b: i32x16) -> f32x16 { cast(a.simd_eq(b)) }
        select(m: f32x16, a: f32x16, b: f32x16) -> f32x16 { m.select(a, b) }
        first(n: usize) -> f32x16 { cast(i32x16::splat(n as i32).simd_gt(i32x16::new(LANE))) }
        and_m(a: f32x16, b: f32x16) -> f32x16 { a & b }
        or_m(a: f32x16, b: f32x16) -> f32x16 { a | b }
        not_m(a: f32x16) -> f32x16 { !a }
        bits_m(a: f32x16) -> u32 { a.to_bitmask() }
        bits(a: f32x16) -> i32x16 { cast(a) }
        from_bits(a: i32x16) -> f32x16 { cast(a) }
        and(a: f32x16, b: f32x16) -> f32x16 { a & b }
        or(a: f32x16, b: f32x16) -> f32x16 { a | b }
        xor(a: f32x16, b: f32x16) -> f32x16 { a ^ b }
        and_i(a: i32x16, b: i32x16) -> i32x16 { a & b }
        or_i(a: i32x16, b: i32x16) -> i32x16 { a | b }
        add_i(a: i32x16, b: i32x16) -> i32x16 { a + b }
        sub_i(a: i32x16, b: i32x16) -> i32x16 { a - b }
        to_int(a: f32x16) -> i32x16 { a.fast_round_int() }
        from_int(a: i32x16) -> f32x16 { f32x16::from_i32x16(a) }
        add_d(a: f64x8, b: f64x8) -> f64x8 { a + b }
        sub_d(a: f64x8, b: f64x8) -> f64x8 { a - b }
        mul_d(a: f64x8, b: f64x8) -> f64x8 { a * b }
        div_d(a: f64x8, b: f64x8) -> f64x8 { a / b }
        sqrt_d(a: f64x8) -> f64x8 { a.sqrt() }
        fma_d(a: f64x8, b: f64x8, c: f64x8) -> f64x8 { a.mul_add(b, c) }
        splat_h(x: f32) -> f32x8 { f32x8::splat(x) }
        mul_h(a: f32x8, b: f32x8) -> f32x8 { a * b }
        halves(a: f32x16) -> (f32x8, f32x8) { { let [low, high]: [f32x8; 2] = cast(a); (low, high) } }
        fma_h(a: f32x8, b: f32x8, c: f32x8) -> f32x8 { a.mul_add(b, c) }
        widen_w(a: [u16; 16]) -> i32x16 { i32x16::new(arrays::map(a, i32::from)) }
        narrow_w(a: i32x16) -> [u16; 16] { arrays::map(a.to_array(), |a| a as u16) }
        sum(a: f32x16) -> f32 { apart::sum(a) }
        sum_d(a: f64x8) -> f64 { apart::sum_d(a) }
        max_lane(a: f32x16) -> f32 { apart::max_lane(a) }
        min_lane(a: f32x16) -> f32 { apart::min_lane(a) }
        transpose(rows: [f32x16; 16]) -> [f32x16; 16] { if Self::COMPACT { apart::transpose(&rows) } else { f32x16::transpose(rows) } }
    }

    #[inline(always)]
    fn round(self, a: f32x16) -> f32x16 {
        // `wide` loses the sign of zero on SSE2.
        self.copysign(a.round_ties_even(), a)
    }
    #[inline(always)]
    fn ldexp(self, x: f32x16, n: f32x16) -> f32x16 {
        super::ldexp_by_parts(self, x, n)
    }
    #[inline(always)]
    fn shl_i<const N: i32>(self, a: i32x16) -> i32x16 {
        a << N
    }
    #[inline(always)]
    fn shr_i<const N: i32>(self, a: i32x16) -> i32x16 {
        cast(cast::<i32x16, u32x16>(a) >> N)
    }
    #[inline(always)]
    fn sra_i<const N: i32>(self, a: i32x16) -> i32x16 {
        a >> N
    }
    #[inline(always)]
    fn widen(self, a: f32x16) -> (f64x8, f64x8) {
        let a = a.to_array();
        (f64x8::new(std::array::from_fn(|i| a[i] as f64)), f64x8::new(std::array::from_fn(|i| a[i + 8] as f64)))
    }
    #[inline(always)]
    fn narrow(self, low: f64x8, high: f64x8) -> f32x16 {
        let (low, high) = (low.to_array(), high.to_array());
        f32x16::new(std::array::from_fn(|i| if i < 8 { low[i] as f32 } else { high[i - 8] as f32 }))
    }
}
