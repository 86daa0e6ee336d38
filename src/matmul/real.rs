//! What products compute in: f32 or f64, and the vectors of each.

use super::pack::Operand;
use crate::scratch::Number;
use crate::simd::{Isa, LANES, Simd};
use std::ops::{Add, Mul};

/// f32 or f64.
pub(crate) trait Real:
    Operand<Real = Self> + Number + PartialEq + Add<Output = Self> + Mul<Output = Self> + From<f32>
{
    const ONE: Self;
    const ZEROS: &'static Pair<Self>;
    const MINUS_ZEROS: &'static Pair<Self>;
    /// Whether halves are computed in it.
    const OF_HALVES: bool;
    /// Itself, where halves are computed in it.
    fn to_f32(self) -> f32;
    /// Lanes of [`Real::Wide`].
    const LANES: usize;
    /// Lanes of [`Real::Narrow`].
    const HALF: usize;
    /// A vector: 16 × f32 or 8 × f64.
    type Wide<S: Simd>: Vector<S, Self>;
    /// Half a vector of f32, for narrow tiles; f64 has no narrower one.
    type Narrow<S: Simd>: Vector<S, Self>;
    /// Eight lanes, to which the dealt order deals.
    type Dealt<S: Simd>: Vector<S, Self>;

    /// a·b + c, rounded once where `S` can.
    fn fma<S: Simd>(a: Self, b: Self, c: Self) -> Self;
    /// Side of the largest square block that [`Real::turn`] turns; [`Real::HALF`] is another.
    fn turn_side(isa: Isa) -> usize;
    /// Row r of a square block of `side` stands at `p + min(r, last)·ld`; its element i is written to `dst[i·stride + r]`.
    ///
    /// # Safety
    /// Rows 0 to `last` of the block are valid for reading, `dst` for writing as said.
    unsafe fn turn<S: Simd>(s: S, side: usize, p: *const Self, ld: usize, last: usize, dst: *mut Self, stride: usize);
}

/// As many numbers as two vectors hold at most, which lie in whole lines of the cache.
#[repr(align(64))]
pub(crate) struct Pair<T>(pub [T; 2 * LANES]);

/// A vector of `T`.
pub(crate) trait Vector<S: Simd, T>: Copy {
    const LANES: usize;
    fn splat(s: S, x: T) -> Self;
    /// a·b + c, rounded once.
    fn fma(s: S, a: Self, b: Self, c: Self) -> Self;
    fn mul(s: S, a: Self, b: Self) -> Self;
    /// x·b + c of `N` vectors, each rounded once, where x stands `OFFSET` elements and `ROWS` ≤ 2 times `stride` bytes
    /// after `p`.
    ///
    /// # Safety
    /// x is valid for reading.
    unsafe fn fma_splat<const OFFSET: usize, const ROWS: usize, const N: usize>(
        s: S,
        p: *const T,
        stride: usize,
        b: [Self; N],
        c: [Self; N],
    ) -> [Self; N];
    /// # Safety
    /// `p` is valid for reading a vector.
    unsafe fn load(s: S, p: *const T) -> Self;
    /// # Safety
    /// `p` is valid for writing a vector.
    unsafe fn store(self, s: S, p: *mut T);
    /// # Safety
    /// `p` is valid for reading `n` ≤ LANES elements.
    unsafe fn load_first(s: S, p: *const T, n: usize) -> Self;
    /// # Safety
    /// `p` is valid for writing `n` ≤ LANES elements.
    unsafe fn store_first(self, s: S, p: *mut T, n: usize);

    /// Full vectors and tails alike.
    ///
    /// # Safety
    /// `p` is valid for reading min(n, LANES) elements.
    #[inline(always)]
    unsafe fn load_up_to(s: S, p: *const T, n: usize) -> Self {
        // SAFETY: the contract, split by the branch.
        unsafe { if n >= Self::LANES { Self::load(s, p) } else { Self::load_first(s, p, n) } }
    }

    /// Full vectors and tails alike.
    ///
    /// # Safety
    /// `p` is valid for writing min(n, LANES) elements.
    #[inline(always)]
    unsafe fn store_up_to(self, s: S, p: *mut T, n: usize) {
        // SAFETY: the contract, split by the branch.
        unsafe { if n >= Self::LANES { self.store(s, p) } else { self.store_first(s, p, n) } }
    }
}

/// 16 × f32.
#[derive(Clone, Copy)]
pub(crate) struct V16<S: Simd>(pub S::F);
/// 8 × f32.
#[derive(Clone, Copy)]
pub(crate) struct V8<S: Simd>(pub S::H);
/// 8 × f64.
#[derive(Clone, Copy)]
pub(crate) struct D8<S: Simd>(pub S::D);

macro_rules! vector {
    ($name:ident, $t:ty, $lanes:literal, $splat:ident $fma:ident $mul:ident $fma_splat:ident $load:ident $store:ident $load_first:ident $store_first:ident) => {
        impl<S: Simd> Vector<S, $t> for $name<S> {
            const LANES: usize = $lanes;
            #[inline(always)]
            fn splat(s: S, x: $t) -> Self {
                $name(s.$splat(x))
            }
            #[inline(always)]
            fn fma(s: S, a: Self, b: Self, c: Self) -> Self {
                $name(s.$fma(a.0, b.0, c.0))
            }
            #[inline(always)]
            fn mul(s: S, a: Self, b: Self) -> Self {
                $name(s.$mul(a.0, b.0))
            }
            #[inline(always)]
            unsafe fn fma_splat<const OFFSET: usize, const ROWS: usize, const N: usize>(
                s: S,
                p: *const $t,
                stride: usize,
                b: [Self; N],
                c: [Self; N],
            ) -> [Self; N] {
                // Loops, for array::map is not inlined into functions with features of their own.
                let (mut raw_b, mut raw_c, mut sums) = ([b[0].0; N], [c[0].0; N], c);
                for i in 1..N {
                    (raw_b[i], raw_c[i]) = (b[i].0, c[i].0);
                }
                // SAFETY: the contract.
                let raw = unsafe { s.$fma_splat::<OFFSET, ROWS, N>(p, stride, raw_b, raw_c) };
                for i in 0..N {
                    sums[i] = $name(raw[i]);
                }
                sums
            }
            #[inline(always)]
            unsafe fn load(s: S, p: *const $t) -> Self {
                // SAFETY: the contract.
                $name(unsafe { s.$load(p) })
            }
            #[inline(always)]
            unsafe fn store(self, s: S, p: *mut $t) {
                // SAFETY: the contract.
                unsafe { s.$store(p, self.0) }
            }
            #[inline(always)]
            unsafe fn load_first(s: S, p: *const $t, n: usize) -> Self {
                // SAFETY: the contract.
                $name(unsafe { s.$load_first(p, n) })
            }
            #[inline(always)]
            unsafe fn store_first(self, s: S, p: *mut $t, n: usize) {
                // SAFETY: the contract.
                unsafe { s.$store_first(p, self.0, n) }
            }
        }
    };
}
vector!(V16, f32, 16, splat fma mul fma_splat load store load_first store_first);
vector!(V8, f32, 8, splat_h fma_h mul_h fma_splat_h load_h store_h load_first_h store_first_h);
vector!(D8, f64, 8, splat_d fma_d mul_d fma_splat_d load_d store_d load_first_d store_first_d);

impl Real for f32 {
    const ONE: f32 = 1.0;
    const ZEROS: &'static Pair<f32> = &Pair([0.0; 2 * LANES]);
    const MINUS_ZEROS: &'static Pair<f32> = &Pair([-0.0; 2 * LANES]);
    const OF_HALVES: bool = true;
    const LANES: usize = LANES;
    const HALF: usize = LANES / 2;
    type Wide<S: Simd> = V16<S>;
    type Narrow<S: Simd> = V8<S>;
    type Dealt<S: Simd> = V8<S>;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn fma<S: Simd>(a: f32, b: f32, c: f32) -> f32 {
        if S::FUSED { a.mul_add(b, c) } else { a * b + c }
    }
    #[inline(always)]
    fn turn_side(isa: Isa) -> usize {
        if matches!(isa, Isa::Avx512) { LANES } else { LANES / 2 }
    }

    #[inline(always)]
    unsafe fn turn<S: Simd>(s: S, side: usize, p: *const f32, ld: usize, last: usize, dst: *mut f32, stride: usize) {
        // SAFETY: the contract.
        unsafe {
            if side == LANES {
                let block = s.load_turned(p, ld, last);
                for i in 0..LANES {
                    s.store(dst.add(i * stride), block[i]);
                }
            } else {
                let block = s.load_turned_h(p, ld, last);
                for i in 0..LANES / 2 {
                    s.store_h(dst.add(i * stride), block[i]);
                }
            }
        }
    }
}

impl Real for f64 {
    const ONE: f64 = 1.0;
    const ZEROS: &'static Pair<f64> = &Pair([0.0; 2 * LANES]);
    const MINUS_ZEROS: &'static Pair<f64> = &Pair([-0.0; 2 * LANES]);
    const OF_HALVES: bool = false;
    const LANES: usize = LANES / 2;
    const HALF: usize = LANES / 2;
    type Wide<S: Simd> = D8<S>;
    type Narrow<S: Simd> = D8<S>;
    type Dealt<S: Simd> = D8<S>;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self as f32
    }
    #[inline(always)]
    fn fma<S: Simd>(a: f64, b: f64, c: f64) -> f64 {
        if S::FUSED { a.mul_add(b, c) } else { a * b + c }
    }
    #[inline(always)]
    fn turn_side(_: Isa) -> usize {
        4
    }

    #[inline(always)]
    unsafe fn turn<S: Simd>(s: S, _: usize, p: *const f64, ld: usize, last: usize, dst: *mut f64, stride: usize) {
        // SAFETY: the contract.
        unsafe { s.turn_d(p, ld, last, dst, stride) }
    }
}
