//! The vector of 16 floats, its instruction sets, and the dispatch between them.
//!
//! A kernel is a struct of its arguments that implements [`Kernel`]; [`dispatch`] runs it once under the features of
//! an instruction set. A vector is 16 floats on every machine, so lane counts, tails and reductions are the same
//! everywhere. [`Scalar`] is the specification: every instruction set with FMA gives its bits.
//!
//! ```
//! use evenkeel::simd::{Isa, Kernel, LANES, Simd, dispatch};
//!
//! /// y = 2·x + 1, a vector at a time.
//! struct Affine<'a>(&'a mut [f32; 2 * LANES]);
//!
//! impl Kernel for Affine<'_> {
//!     type Out = ();
//!     #[inline(always)]
//!     fn run<S: Simd>(self, s: S) {
//!         for part in self.0.chunks_exact_mut(LANES) {
//!             // SAFETY: a part holds LANES floats.
//!             unsafe {
//!                 let x = s.load(part.as_ptr());
//!                 s.store(part.as_mut_ptr(), s.fma(s.splat(2.0), x, s.splat(1.0)));
//!             }
//!         }
//!     }
//! }
//!
//! let mut x = [3.0; 2 * LANES];
//! dispatch(Isa::best(), Affine(&mut x));
//! assert_eq!(x, [7.0; 2 * LANES]);
//! ```

mod arrays;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod halves;
mod isa;
mod portable;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod splat;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub(crate) use halves::{f16_from_f32, f16_to_f32};
pub use isa::Isa;
pub(crate) use isa::ahead;
pub use portable::Portable;
pub use scalar::Scalar;

/// Floats in a vector, on every machine.
pub const LANES: usize = 16;

/// Products with one number from memory, of the operations on vectors.
macro_rules! fma_splat {
    ($($(#[$doc:meta])* $name:ident($number:ty, $vector:ident) by $splat:ident $fma:ident)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        unsafe fn $name<const OFFSET: usize, const ROWS: usize, const N: usize>(
            self,
            p: *const $number,
            stride: usize,
            b: [Self::$vector; N],
            mut c: [Self::$vector; N],
        ) -> [Self::$vector; N] {
            // SAFETY: the contract.
            let x = self.$splat(unsafe { *p.byte_add(stride * ROWS).add(OFFSET) });
            for i in 0..N {
                c[i] = self.$fma(x, b[i], c[i]);
            }
            c
        }
    )*};
}

/// The vector operations of one instruction set.
///
/// A value of an implementing type is a token: holding one means that the CPU has the instructions. Every method is
/// `#[inline(always)]`, so that it becomes its instructions inside an entry of [`dispatch`].
///
/// Operations are IEEE 754 with round to nearest even. Which bits a NaN result carries is not specified; everything
/// else is, and agrees between all instruction sets with FMA. [`Portable`] on a machine without FMA rounds [`fma`]
/// twice.
///
/// [`fma`]: Simd::fma
#[allow(clippy::wrong_self_convention, reason = "every operation is a method of the token")]
pub trait Simd: Copy + Send + Sync + 'static {
    /// The instruction set that this token stands for.
    const ISA: Isa;
    /// Whether [`Simd::fma`] rounds once. False only for the portable vector on machines without FMA.
    const FUSED: bool;
    /// Whether a short program counts more than a fast one: kernels then share bodies that others have inlined, and do
    /// without special cases. True where speed is no purpose: the specification, and x86 machines of before 2013.
    const COMPACT: bool = false;
    /// Whether a vector is two registers, of which there are few: a loop that holds many numbers then goes by halves.
    const PAIRED: bool = false;
    /// Whether a vector is a cache line: one at another address straddles two, and every store then counts double.
    const LINES: bool = Self::ISA.vectors_are_lines();
    /// Whether loading and storing the first lanes takes hardly longer than all of them.
    const MASKS: bool = false;
    /// 16 × f32.
    type F: Copy;
    /// 16 × i32.
    type I: Copy;
    /// 16 × bool.
    type M: Copy;
    /// 8 × f64: half a vector, widened for accumulation.
    type D: Copy;
    /// 8 × f32: half a vector, for the dealt order of matrix products.
    type H: Copy;
    /// 16 × u16: sixteen bf16 or f16 as they are stored.
    type W: Copy;

    // Memory. No pointer needs more than the alignment of its element.

    /// Loads 16 floats.
    ///
    /// # Safety
    /// `p` is valid for reading 16 floats.
    unsafe fn load(self, p: *const f32) -> Self::F;
    /// Stores 16 floats.
    ///
    /// # Safety
    /// `p` is valid for writing 16 floats.
    unsafe fn store(self, p: *mut f32, v: Self::F);
    /// Loads the first `n` ≤ 16 floats, and zero in the other lanes; memory past them is not touched.
    ///
    /// # Safety
    /// `p` is valid for reading `n` floats.
    unsafe fn load_first(self, p: *const f32, n: usize) -> Self::F;
    /// Stores the first `n` ≤ 16 lanes; memory past them is not touched.
    ///
    /// # Safety
    /// `p` is valid for writing `n` floats.
    unsafe fn store_first(self, p: *mut f32, v: Self::F, n: usize);
    /// Loads 8 doubles.
    ///
    /// # Safety
    /// `p` is valid for reading 8 doubles.
    unsafe fn load_d(self, p: *const f64) -> Self::D;
    /// Stores 8 doubles.
    ///
    /// # Safety
    /// `p` is valid for writing 8 doubles.
    unsafe fn store_d(self, p: *mut f64, v: Self::D);
    /// Loads 8 floats.
    ///
    /// # Safety
    /// `p` is valid for reading 8 floats.
    unsafe fn load_h(self, p: *const f32) -> Self::H;
    /// Stores 8 floats.
    ///
    /// # Safety
    /// `p` is valid for writing 8 floats.
    unsafe fn store_h(self, p: *mut f32, v: Self::H);
    /// Loads the first `n` ≤ 8 floats, and zero in the other lanes; memory past them is not touched.
    ///
    /// # Safety
    /// `p` is valid for reading `n` floats.
    unsafe fn load_first_h(self, p: *const f32, n: usize) -> Self::H;
    /// Stores the first `n` ≤ 8 lanes; memory past them is not touched.
    ///
    /// # Safety
    /// `p` is valid for writing `n` floats.
    unsafe fn store_first_h(self, p: *mut f32, v: Self::H, n: usize);
    /// Loads the first `n` ≤ 8 doubles, and zero in the other lanes; memory past them is not touched.
    ///
    /// # Safety
    /// `p` is valid for reading `n` doubles.
    unsafe fn load_first_d(self, p: *const f64, n: usize) -> Self::D;
    /// Stores the first `n` ≤ 8 lanes; memory past them is not touched.
    ///
    /// # Safety
    /// `p` is valid for writing `n` doubles.
    unsafe fn store_first_d(self, p: *mut f64, v: Self::D, n: usize);
    /// Row r < 8 of an 8 × 8 block stands at `p + min(r, last)·ld`; the result's vector i holds element i of every row.
    ///
    /// # Safety
    /// Rows 0 to min(last, 7) are valid for reading 8 floats.
    unsafe fn load_turned_h(self, p: *const f32, ld: usize, last: usize) -> [Self::H; 8];
    /// The same of a 16 × 16 block.
    ///
    /// # Safety
    /// Rows 0 to min(last, 15) are valid for reading 16 floats.
    #[inline(always)]
    unsafe fn load_turned(self, p: *const f32, ld: usize, last: usize) -> [Self::F; LANES] {
        let mut block = [self.zero(); LANES];
        for r in 0..LANES {
            // SAFETY: the contract.
            block[r] = unsafe { self.load(p.add(r.min(last) * ld)) };
        }
        self.transpose(block)
    }
    /// Elements 0 to 3 of each of 16 rows, turned: vector i of the result holds element i of every row. Row r stands
    /// `r·stride` bytes after `rows[0]`; the other pointers are rows 1, 6 and 11, from which one address each reaches the rest.
    ///
    /// # Safety
    /// 4 floats of each row are valid for reading.
    #[inline(always)]
    unsafe fn load_turned_quad(self, rows: [*const f32; 4], stride: usize) -> [Self::F; 4] {
        let mut out = [self.zero(); 4];
        for i in 0..4 {
            let mut column = [0.0; LANES];
            for r in 0..LANES {
                // SAFETY: the contract.
                column[r] = unsafe { *rows[0].wrapping_byte_add(r * stride).wrapping_add(i) };
            }
            // SAFETY: a whole vector.
            out[i] = unsafe { self.load(column.as_ptr()) };
        }
        out
    }
    /// Turns a 4 × 4 block of doubles: row r < 4 stands at `p + min(r, last)·ld`, and its element i is written to
    /// `dst[i·stride + r]`, i ascending: with a stride below 4 the next row overwrites what one has too much.
    ///
    /// # Safety
    /// Rows 0 to min(last, 3) are valid for reading 4 doubles, `dst` for writing as said.
    unsafe fn turn_d(self, p: *const f64, ld: usize, last: usize, dst: *mut f64, stride: usize);
    /// Loads 16 half-wide words.
    ///
    /// # Safety
    /// `p` is valid for reading 16 words.
    unsafe fn load_w(self, p: *const u16) -> Self::W;
    /// Stores 16 half-wide words.
    ///
    /// # Safety
    /// `p` is valid for writing 16 words.
    unsafe fn store_w(self, p: *mut u16, v: Self::W);
    /// Loads the first `n` ≤ 16 words, and zero in the other lanes; memory past them is not touched.
    ///
    /// # Safety
    /// `p` is valid for reading `n` words.
    unsafe fn load_first_w(self, p: *const u16, n: usize) -> Self::W;
    /// Stores the first `n` ≤ 16 words; memory past them is not touched.
    ///
    /// # Safety
    /// `p` is valid for writing `n` words.
    unsafe fn store_first_w(self, p: *mut u16, v: Self::W, n: usize);
    /// Asks for the cache line at `p`, which may be any address.
    fn prefetch(self, p: *const f32);
    /// The same, into the second-level cache.
    fn prefetch_far(self, p: *const f32);
    /// Stores 16 floats past the caches, where there is an instruction for it. Other threads see them after
    /// [`Simd::fence`].
    ///
    /// # Safety
    /// `p` is valid for writing 16 floats and aligned to 64 bytes.
    #[inline(always)]
    unsafe fn stream(self, p: *mut f32, v: Self::F) {
        // SAFETY: the caller's contract.
        unsafe { self.store(p, v) }
    }
    /// [`Simd::stream`] of 16 half-wide words.
    ///
    /// # Safety
    /// `p` is valid for writing 16 words and aligned to 32 bytes.
    #[inline(always)]
    unsafe fn stream_w(self, p: *mut u16, v: Self::W) {
        // SAFETY: the caller's contract.
        unsafe { self.store_w(p, v) }
    }
    /// Ends a run of [`Simd::stream`].
    #[inline(always)]
    fn fence(self) {}

    fn from_array(self, a: [f32; 16]) -> Self::F;
    fn to_array(self, v: Self::F) -> [f32; 16];
    fn from_array_i(self, a: [i32; 16]) -> Self::I;
    fn to_array_i(self, v: Self::I) -> [i32; 16];
    fn splat(self, x: f32) -> Self::F;
    fn splat_i(self, x: i32) -> Self::I;
    fn splat_d(self, x: f64) -> Self::D;
    fn to_array_d(self, v: Self::D) -> [f64; 8];
    fn to_array_h(self, v: Self::H) -> [f32; 8];

    // Arithmetic.

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    fn sqrt(self, a: Self::F) -> Self::F;
    /// a·b + c, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// c − a·b, rounded once.
    fn fnma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// a·b − c, rounded once.
    fn fms(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a < b ? a : b` in each lane: `b` where either is NaN, and `b` of two zeros.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a > b ? a : b` in each lane: `b` where either is NaN, and `b` of two zeros.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// To the nearest integer, ties to even; the sign of zero is kept.
    fn round(self, a: Self::F) -> Self::F;
    /// x·2ⁿ, rounded once, for integral |n| ≤ 250 and an `x` of magnitude 2⁻²⁵ to 2²⁵, or zero, infinite or NaN.
    fn ldexp(self, x: Self::F, n: Self::F) -> Self::F;

    /// 2ⁿ for integral −126 ≤ n ≤ 127.
    #[inline(always)]
    fn exp2i(self, n: Self::F) -> Self::F {
        self.from_bits(self.shl_i::<23>(self.add_i(self.to_int(n), self.splat_i(127))))
    }

    // Comparison and choice. A comparison with NaN is false.

    fn lt(self, a: Self::F, b: Self::F) -> Self::M;
    fn le(self, a: Self::F, b: Self::F) -> Self::M;
    fn eq(self, a: Self::F, b: Self::F) -> Self::M;
    fn is_nan(self, a: Self::F) -> Self::M;
    fn gt_i(self, a: Self::I, b: Self::I) -> Self::M;
    fn eq_i(self, a: Self::I, b: Self::I) -> Self::M;
    /// `m ? a : b` in each lane.
    fn select(self, m: Self::M, a: Self::F, b: Self::F) -> Self::F;
    /// True in the first `n` ≤ 16 lanes.
    fn first(self, n: usize) -> Self::M;
    fn and_m(self, a: Self::M, b: Self::M) -> Self::M;
    fn or_m(self, a: Self::M, b: Self::M) -> Self::M;
    fn not_m(self, a: Self::M) -> Self::M;
    /// Bit i is lane i.
    fn bits_m(self, a: Self::M) -> u32;

    // Bits and integers. Integer arithmetic wraps.

    fn bits(self, a: Self::F) -> Self::I;
    fn from_bits(self, a: Self::I) -> Self::F;
    fn and(self, a: Self::F, b: Self::F) -> Self::F;
    fn or(self, a: Self::F, b: Self::F) -> Self::F;
    fn xor(self, a: Self::F, b: Self::F) -> Self::F;
    fn and_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn or_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn sub_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// Shifts left, `N` < 32.
    fn shl_i<const N: i32>(self, a: Self::I) -> Self::I;
    /// Shifts right, filling with zeros, `N` < 32.
    fn shr_i<const N: i32>(self, a: Self::I) -> Self::I;
    /// Shifts right, filling with the sign, `N` < 32.
    fn sra_i<const N: i32>(self, a: Self::I) -> Self::I;
    /// To the nearest integer, ties to even, for |a| < 2³¹; any other lane is unspecified.
    fn to_int(self, a: Self::F) -> Self::I;
    fn from_int(self, a: Self::I) -> Self::F;

    // Halves in f64, for accumulation.

    /// Lanes 0 to 7, and lanes 8 to 15, exactly.
    fn widen(self, a: Self::F) -> (Self::D, Self::D);
    /// The inverse of [`Simd::widen`], each lane rounded once.
    fn narrow(self, low: Self::D, high: Self::D) -> Self::F;
    fn add_d(self, a: Self::D, b: Self::D) -> Self::D;
    fn sub_d(self, a: Self::D, b: Self::D) -> Self::D;
    fn mul_d(self, a: Self::D, b: Self::D) -> Self::D;
    fn div_d(self, a: Self::D, b: Self::D) -> Self::D;
    fn sqrt_d(self, a: Self::D) -> Self::D;
    /// a·b + c, rounded once.
    fn fma_d(self, a: Self::D, b: Self::D, c: Self::D) -> Self::D;

    // Halves in f32, for dot products.

    fn splat_h(self, x: f32) -> Self::H;
    fn mul_h(self, a: Self::H, b: Self::H) -> Self::H;
    /// Lanes 0 to 7, and lanes 8 to 15.
    fn halves(self, a: Self::F) -> (Self::H, Self::H);
    /// The inverse of [`Simd::halves`].
    #[inline(always)]
    fn join_halves(self, low: Self::H, high: Self::H) -> Self::F {
        let mut lanes = [0.0; LANES];
        // SAFETY: room for both halves.
        unsafe {
            self.store_h(lanes.as_mut_ptr(), low);
            self.store_h(lanes.as_mut_ptr().add(LANES / 2), high);
            self.load(lanes.as_ptr())
        }
    }
    fn fma_h(self, a: Self::H, b: Self::H, c: Self::H) -> Self::H;

    // Half-wide storage. Subnormal numbers are converted as such, whatever the CPU's flush modes say.

    /// Each word, with zeros above it.
    fn widen_w(self, a: Self::W) -> Self::I;
    /// The inverse of [`Simd::widen_w`], for lanes of 0 to 65535.
    fn narrow_w(self, a: Self::I) -> Self::W;
    /// f32 of f16, exactly; a signalling NaN becomes quiet.
    #[inline(always)]
    fn from_f16(self, a: Self::W) -> Self::F {
        if Self::COMPACT { shared::from_f16(self, a) } else { halves::from_f16(self, a) }
    }
    /// f16 of f32, to nearest even; NaN stays NaN, quiet, with its sign and the upper part of its payload.
    #[inline(always)]
    fn to_f16(self, a: Self::F) -> Self::W {
        if Self::COMPACT { shared::to_f16(self, a) } else { halves::to_f16(self, a) }
    }
    /// f32 of bf16, exactly.
    #[inline(always)]
    fn from_bf16(self, a: Self::W) -> Self::F {
        self.from_bits(self.shl_i::<16>(self.widen_w(a)))
    }
    /// bf16 of f32, to nearest even; NaN stays NaN, quiet, with its sign and the upper part of its payload.
    #[inline(always)]
    fn to_bf16(self, a: Self::F) -> Self::W {
        if Self::COMPACT { shared::to_bf16(self, a) } else { halves::to_bf16(self, a) }
    }

    // Products with one number, the step of a register tile. Written in assembly where compilers, given many of them, hold
    // too much in registers at once and too little of the sums.

    fma_splat! {
        /// x·b + c of `N` vectors, each rounded once, where x stands `OFFSET` elements and `ROWS` ≤ 2 times `stride` bytes
        /// after `p`.
        ///
        /// # Safety
        /// x is valid for reading.
        fma_splat(f32, F) by splat fma
        /// [`Simd::fma_splat`] of halves of a vector.
        ///
        /// # Safety
        /// As there.
        fma_splat_h(f32, H) by splat_h fma_h
        /// [`Simd::fma_splat`] in f64.
        ///
        /// # Safety
        /// As there.
        fma_splat_d(f64, D) by splat_d fma_d
    }

    // Folds by halves: lane i joins lane i + 8, then i + 4, i + 2, i + 1.

    /// The sum of 16 lanes, folded by halves.
    fn sum(self, a: Self::F) -> f32;
    /// The sum of 8 lanes, folded by halves.
    fn sum_d(self, a: Self::D) -> f64;
    /// Folds by halves with [`Simd::max`]. No lane may be NaN if the result is to mean anything.
    fn max_lane(self, a: Self::F) -> f32;
    /// Folds by halves with [`Simd::min`]. No lane may be NaN if the result is to mean anything.
    fn min_lane(self, a: Self::F) -> f32;

    /// Runs `kernel` as a function of its own under the same features: for a body that is reached from many places,
    /// or that wants all registers.
    fn outline<K: Kernel>(self, kernel: K) -> K::Out;

    /// Row i of the result holds lane i of every row.
    fn transpose(self, rows: [Self::F; 16]) -> [Self::F; 16];

    // Composites: the same on every instruction set by construction.

    #[inline(always)]
    fn zero(self) -> Self::F {
        self.splat(0.0)
    }
    #[inline(always)]
    fn neg(self, a: Self::F) -> Self::F {
        self.xor(a, self.splat(-0.0))
    }
    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        self.and(a, self.from_bits(self.splat_i(0x7fff_ffff)))
    }
    #[inline(always)]
    fn gt(self, a: Self::F, b: Self::F) -> Self::M {
        self.lt(b, a)
    }
    #[inline(always)]
    fn ge(self, a: Self::F, b: Self::F) -> Self::M {
        self.le(b, a)
    }
    /// The magnitude of `a` with the sign of `b`.
    #[inline(always)]
    fn copysign(self, a: Self::F, b: Self::F) -> Self::F {
        let sign = self.splat(-0.0);
        self.or(self.abs(a), self.and(b, sign))
    }
    #[inline(always)]
    fn any(self, m: Self::M) -> bool {
        self.bits_m(m) != 0
    }
    #[inline(always)]
    fn all(self, m: Self::M) -> bool {
        self.bits_m(m) == 0xffff
    }
    /// The sum of 16 doubles, folded by halves.
    #[inline(always)]
    fn sum_dd(self, low: Self::D, high: Self::D) -> f64 {
        self.sum_d(self.add_d(low, high))
    }
    /// Full vectors and tails alike: `n` ≥ 16 loads 16.
    ///
    /// # Safety
    /// `p` is valid for reading min(n, 16) floats.
    #[inline(always)]
    unsafe fn load_up_to(self, p: *const f32, n: usize) -> Self::F {
        // SAFETY: the caller's contract, split by the branch.
        unsafe { if !Self::COMPACT && n >= LANES { self.load(p) } else { self.load_first(p, n.min(LANES)) } }
    }
    /// Full vectors and tails alike: `n` ≥ 16 stores 16.
    ///
    /// # Safety
    /// `p` is valid for writing min(n, 16) floats.
    #[inline(always)]
    unsafe fn store_up_to(self, p: *mut f32, v: Self::F, n: usize) {
        // SAFETY: the caller's contract, split by the branch.
        unsafe { if !Self::COMPACT && n >= LANES { self.store(p, v) } else { self.store_first(p, v, n.min(LANES)) } }
    }
}

/// [`Simd::ldexp`] where no instruction does it: two products, of which only the second can round.
#[inline(always)]
fn ldexp_by_parts<S: Simd>(s: S, x: S::F, n: S::F) -> S::F {
    let n = s.to_int(n);
    let half = s.sra_i::<1>(n);
    let exp2i = |n| s.from_bits(s.shl_i::<23>(s.add_i(n, s.splat_i(127))));
    s.mul(s.mul(x, exp2i(half)), exp2i(s.sub_i(n, half)))
}

/// Conversions as functions of their own, for [`Simd::COMPACT`].
mod shared {
    use super::{Simd, halves};

    #[inline(never)]
    pub(super) fn from_f16<S: Simd>(s: S, a: S::W) -> S::F {
        halves::from_f16(s, a)
    }
    #[inline(never)]
    pub(super) fn to_f16<S: Simd>(s: S, a: S::F) -> S::W {
        halves::to_f16(s, a)
    }
    #[inline(never)]
    pub(super) fn to_bf16<S: Simd>(s: S, a: S::F) -> S::W {
        halves::to_bf16(s, a)
    }
}

/// A computation written once for every instruction set.
pub trait Kernel {
    type Out;
    /// Whether AVX-512 makes it any faster than AVX2. If not, machines that have both run AVX2's code, and there is none for
    /// AVX-512. Kernels whose time goes to roots, divisions, memory or half vectors gain nothing.
    const WIDE: bool = true;
    /// Implementations are `#[inline(always)]`, as is every helper between here and an intrinsic.
    fn run<S: Simd>(self, simd: S) -> Self::Out;
}

/// [`Simd::outline`] where no features need to be enabled.
#[inline(never)]
fn outline<S: Simd, K: Kernel>(s: S, kernel: K) -> K::Out {
    kernel.run(s)
}

/// Runs `kernel` on `isa`.
///
/// # Panics
/// If this machine does not have `isa`; a [`crate::Context`] never holds such a one.
#[inline]
pub fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Out {
    assert!(isa.is_available(), "{} was not detected", isa.name());
    // SAFETY: just checked.
    unsafe { dispatch_detected(isa, kernel) }
}

/// [`dispatch`] without the look at what the machine has, which small kernels feel.
///
/// # Safety
/// The machine has `isa`.
#[inline]
pub(crate) unsafe fn dispatch_detected<K: Kernel>(isa: Isa, kernel: K) -> K::Out {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the contract; with it the token may exist, and the entry's features are there.
        Isa::Avx512 if const { K::WIDE } => unsafe { avx512::enter(Avx512::assume(), kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above; who has AVX-512 has AVX2 (Avx512::new).
        Isa::Avx512 | Isa::Avx2 => unsafe { avx2::enter(Avx2::assume(), kernel) },
        Isa::Portable | Isa::Neon => outline(Portable, kernel),
        #[cfg(feature = "scalar")]
        Isa::Scalar => outline(Scalar, kernel),
        #[cfg(not(feature = "scalar"))]
        Isa::Scalar => unreachable!("the specification in a build without it"),
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2 | Isa::Avx512 => unreachable!("{} on another architecture", isa.name()),
    }
}
