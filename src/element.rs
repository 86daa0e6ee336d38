//! What a number of a tensor is stored as. Arithmetic is f32 whatever the storage: loads widen, stores round once.
//!
//! ```
//! use evenkeel::residual::residual_add_bf16;
//! use evenkeel::{Context, bf16};
//!
//! let one = [bf16::from_f32(1.0); 2];
//! let mut y = one;
//! residual_add_bf16(Context::global()?, 0.25, &one, &one, &mut y)?;
//! assert_eq!(y.map(bf16::to_f32), [1.25; 2]);
//! # Ok::<(), evenkeel::Error>(())
//! ```

use crate::simd::{LANES, Simd, f16_from_f32, f16_to_f32};

pub use half::{bf16, f16};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::bf16 {}
    impl Sealed for half::f16 {}
}

/// f32, bf16 or f16 in memory: vectors of 16 are loaded to f32 exactly, and stored to nearest even.
///
/// A NaN stays a NaN with its sign, though bf16 and f16 keep the upper part of its payload only, and make it quiet.
/// Subnormal numbers are converted as such, whatever the CPU's flush modes say.
pub trait Storage: sealed::Sealed + Copy + Default + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    fn to_f32(self) -> f32;
    fn from_f32(x: f32) -> Self;

    /// Loads 16 numbers.
    ///
    /// # Safety
    /// `p` is valid for reading 16 numbers.
    unsafe fn load<S: Simd>(s: S, p: *const Self) -> S::F;
    /// Stores 16 numbers.
    ///
    /// # Safety
    /// `p` is valid for writing 16 numbers.
    unsafe fn store<S: Simd>(s: S, p: *mut Self, v: S::F);
    /// Loads the first `n` ≤ 16 numbers, and zero in the other lanes; memory past them is not touched.
    ///
    /// # Safety
    /// `p` is valid for reading `n` numbers.
    unsafe fn load_first<S: Simd>(s: S, p: *const Self, n: usize) -> S::F;
    /// Stores the first `n` ≤ 16 lanes; memory past them is not touched.
    ///
    /// # Safety
    /// `p` is valid for writing `n` numbers.
    unsafe fn store_first<S: Simd>(s: S, p: *mut Self, v: S::F, n: usize);

    /// Stores 16 numbers past the caches, as [`Simd::stream`] does.
    ///
    /// # Safety
    /// `p` is valid for writing 16 numbers and aligned to their size.
    unsafe fn stream<S: Simd>(s: S, p: *mut Self, v: S::F);
    /// Itself, where the storage is f32.
    #[doc(hidden)]
    fn as_f32(_: &[Self]) -> Option<&[f32]> {
        None
    }
    #[doc(hidden)]
    fn as_f32_mut(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }

    /// Full vectors and tails alike: `n` ≥ 16 loads 16.
    ///
    /// # Safety
    /// `p` is valid for reading min(n, 16) numbers.
    #[inline(always)]
    unsafe fn load_up_to<S: Simd>(s: S, p: *const Self, n: usize) -> S::F {
        // SAFETY: the caller's contract, split by the branch.
        unsafe { if !S::COMPACT && n >= LANES { Self::load(s, p) } else { Self::load_first(s, p, n.min(LANES)) } }
    }
    /// Full vectors and tails alike: `n` ≥ 16 stores 16.
    ///
    /// # Safety
    /// `p` is valid for writing min(n, 16) numbers.
    #[inline(always)]
    unsafe fn store_up_to<S: Simd>(s: S, p: *mut Self, v: S::F, n: usize) {
        // SAFETY: the caller's contract, split by the branch.
        unsafe {
            if !S::COMPACT && n >= LANES { Self::store(s, p, v) } else { Self::store_first(s, p, v, n.min(LANES)) }
        }
    }
}

impl Storage for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_f32(x: f32) -> f32 {
        x
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const f32) -> S::F {
        // SAFETY: the caller's contract.
        unsafe { s.load(p) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, p: *mut f32, v: S::F) {
        // SAFETY: the caller's contract.
        unsafe { s.store(p, v) }
    }
    #[inline(always)]
    unsafe fn load_first<S: Simd>(s: S, p: *const f32, n: usize) -> S::F {
        // SAFETY: the caller's contract.
        unsafe { s.load_first(p, n) }
    }
    #[inline(always)]
    unsafe fn store_first<S: Simd>(s: S, p: *mut f32, v: S::F, n: usize) {
        // SAFETY: the caller's contract.
        unsafe { s.store_first(p, v, n) }
    }
    #[inline(always)]
    unsafe fn stream<S: Simd>(s: S, p: *mut f32, v: S::F) {
        // SAFETY: the caller's contract.
        unsafe { s.stream(p, v) }
    }
    #[inline(always)]
    fn as_f32(x: &[f32]) -> Option<&[f32]> {
        Some(x)
    }
    #[inline(always)]
    fn as_f32_mut(x: &mut [f32]) -> Option<&mut [f32]> {
        Some(x)
    }
}

/// Two bytes a number; `half`'s types are transparent around u16.
macro_rules! half_wide {
    ($type:ty, $widen:ident, $narrow:ident, $to_f32:expr, $from_f32:expr) => {
        impl Storage for $type {
            #[inline(always)]
            fn to_f32(self) -> f32 {
                $to_f32(self.to_bits())
            }
            #[inline(always)]
            fn from_f32(x: f32) -> Self {
                Self::from_bits($from_f32(x))
            }
            #[inline(always)]
            unsafe fn load<S: Simd>(s: S, p: *const Self) -> S::F {
                // SAFETY: the caller's contract.
                s.$widen(unsafe { s.load_w(p.cast()) })
            }
            #[inline(always)]
            unsafe fn store<S: Simd>(s: S, p: *mut Self, v: S::F) {
                // SAFETY: the caller's contract.
                unsafe { s.store_w(p.cast(), s.$narrow(v)) }
            }
            #[inline(always)]
            unsafe fn load_first<S: Simd>(s: S, p: *const Self, n: usize) -> S::F {
                // SAFETY: the caller's contract.
                s.$widen(unsafe { s.load_first_w(p.cast(), n) })
            }
            #[inline(always)]
            unsafe fn store_first<S: Simd>(s: S, p: *mut Self, v: S::F, n: usize) {
                // SAFETY: the caller's contract.
                unsafe { s.store_first_w(p.cast(), s.$narrow(v), n) }
            }
            #[inline(always)]
            unsafe fn stream<S: Simd>(s: S, p: *mut Self, v: S::F) {
                // SAFETY: the caller's contract.
                unsafe { s.stream_w(p.cast(), s.$narrow(v)) }
            }
        }
    };
}
half_wide!(bf16, from_bf16, to_bf16, bf16_to_f32, bf16_from_f32);
half_wide!(f16, from_f16, to_f16, f16_to_f32, f16_from_f32);

#[inline(always)]
fn bf16_to_f32(b: u16) -> f32 {
    f32::from_bits((b as u32) << 16)
}

#[inline(always)]
fn bf16_from_f32(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = if x.is_nan() { bits | 0x0040_0000 } else { bits + 0x7fff + (bits >> 16 & 1) };
    (rounded >> 16) as u16
}
