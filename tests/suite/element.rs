//! Storage types: every instruction set converts as the crate `half` does, bit for bit, and stays inside its slices.

use crate::common::{Rng, isas, off_halfway, quick, samples};
use evenkeel::Isa;
use evenkeel::element::{Storage, bf16, f16};
use evenkeel::simd::{Kernel, LANES, Simd, dispatch};

/// A type's bits, and the reference of its conversions.
trait Reference: Storage {
    const NAME: &'static str;
    fn raw(self) -> u32;
    fn of_raw(raw: u32) -> Self;
    /// What `half` makes of a number.
    fn narrow(x: f32) -> Self;
    fn widen(self) -> f32;
}

macro_rules! reference {
    ($type:ident, $widen:expr) => {
        impl Reference for $type {
            const NAME: &'static str = stringify!($type);
            fn raw(self) -> u32 {
                self.to_bits() as u32
            }
            fn of_raw(raw: u32) -> Self {
                $type::from_bits(raw as u16)
            }
            fn narrow(x: f32) -> Self {
                $type::from_f32(x)
            }
            fn widen(self) -> f32 {
                $widen(self)
            }
        }
    };
}
reference!(f16, f16::to_f32);
// Widening moves bits: a signalling NaN stays as it is, which `half` makes quiet.
reference!(bf16, |b: bf16| if b.is_nan() { f32::from_bits((b.to_bits() as u32) << 16) } else { b.to_f32() });

impl Reference for f32 {
    const NAME: &'static str = "f32";
    fn raw(self) -> u32 {
        self.to_bits()
    }
    fn of_raw(raw: u32) -> f32 {
        f32::from_bits(raw)
    }
    fn narrow(x: f32) -> f32 {
        x
    }
    fn widen(self) -> f32 {
        self
    }
}

struct Widen<'a, T>(&'a [T], &'a mut [f32]);

impl<T: Storage> Kernel for Widen<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert_eq!(self.0.len(), self.1.len());
        let mut i = 0;
        while i < self.0.len() {
            let n = self.0.len() - i;
            // SAFETY: both ends are `n` away.
            unsafe { s.store_up_to(self.1.as_mut_ptr().add(i), T::load_up_to(s, self.0.as_ptr().add(i), n), n) };
            i += LANES;
        }
    }
}

struct Narrow<'a, T>(&'a [f32], &'a mut [T]);

impl<T: Storage> Kernel for Narrow<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert_eq!(self.0.len(), self.1.len());
        let mut i = 0;
        while i < self.0.len() {
            let n = self.0.len() - i;
            // SAFETY: both ends are `n` away.
            unsafe { T::store_up_to(s, self.1.as_mut_ptr().add(i), s.load_up_to(self.0.as_ptr().add(i), n), n) };
            i += LANES;
        }
    }
}

#[track_caller]
fn assert_bits<T: Reference>(what: &str, got: &[T], want: impl Fn(usize) -> T) {
    for (i, g) in got.iter().enumerate() {
        let w = want(i);
        assert_eq!(g.raw(), w.raw(), "{what}: element {i} is {:#x}, expected {:#x}", g.raw(), w.raw());
    }
}

fn every_half_widens<T: Reference>(isa: Isa) {
    let all: Vec<T> = (0..=0xffff).map(T::of_raw).collect();
    let mut wide = vec![f32::NAN; all.len()];
    dispatch(isa, Widen(&all, &mut wide));
    assert_bits(&format!("{} to f32 on {}", T::NAME, isa.name()), &wide, |i| all[i].widen());
    for (i, h) in all.iter().enumerate() {
        assert_eq!(Storage::to_f32(*h).to_bits(), wide[i].to_bits(), "{} {i:#x} alone", T::NAME);
    }
    // And back, where a signalling NaN has become quiet.
    let mut back = vec![T::default(); all.len()];
    dispatch(isa, Narrow(&wide, &mut back));
    assert_bits(&format!("f32 to {} on {}", T::NAME, isa.name()), &back, |i| T::narrow(wide[i]));
}

#[test]
fn every_half_widens_exactly_and_comes_back() {
    for isa in isas() {
        every_half_widens::<bf16>(isa);
        every_half_widens::<f16>(isa);
    }
}

/// The floats of these bit patterns, narrowed.
fn narrows<T: Reference>(isa: Isa, mut bits: impl Iterator<Item = u32>) {
    let (mut x, mut y) = (Vec::with_capacity(4096), vec![T::default(); 4096]);
    loop {
        x.clear();
        x.extend(bits.by_ref().take(4096).map(f32::from_bits));
        if x.is_empty() {
            return;
        }
        x = off_halfway(x);
        let y = &mut y[..x.len()];
        dispatch(isa, Narrow(&x, y));
        for (x, y) in x.iter().zip(y.iter()) {
            let want = T::narrow(*x);
            let alone = <T as Storage>::from_f32(*x);
            let agree = y.raw() == want.raw() && alone.raw() == want.raw();
            let (x, y, want, alone) = (x.to_bits(), y.raw(), want.raw(), alone.raw());
            assert!(agree, "{} of {x:#x} on {}: {y:#x}, alone {alone:#x}, expected {want:#x}", T::NAME, isa.name());
        }
    }
}

#[test]
fn floats_narrow_to_nearest_even() {
    // A stride, and every tie between two halves with its neighbours.
    let stride = if quick() { 40_009 } else { 2_503 };
    for isa in isas() {
        let sweep = || (0..=u32::MAX).step_by(stride);
        let ties = |shift: u32| {
            (0..1u32 << (32 - shift)).step_by(if quick() { 7 } else { 1 }).flat_map(move |h| {
                let tie = h << shift | 1 << (shift - 1);
                [tie - 1, tie, tie + 1]
            })
        };
        narrows::<bf16>(isa, sweep().chain(ties(16)));
        narrows::<f16>(isa, sweep().chain(ties(13)));
        // Around the ties of subnormal halves, which lie elsewhere.
        let small = |n: u32| (n as f64 + 0.5) * 2f64.powi(-24);
        narrows::<f16>(
            isa,
            &mut (0..1024).flat_map(|n| {
                let tie = (small(n) as f32).to_bits();
                [tie - 1, tie, tie + 1]
            }),
        );
    }
}

#[test]
#[ignore = "all 2³² floats on the fastest instruction set: two minutes"]
fn every_float_narrows_to_nearest_even() {
    let isa = isas().next().expect("at least the specification");
    for top in 0..=255u32 {
        narrows::<bf16>(isa, top << 24..=top << 24 | 0x00ff_ffff);
        narrows::<f16>(isa, top << 24..=top << 24 | 0x00ff_ffff);
        eprint!("\r{top}/255");
    }
    eprintln!();
}

/// Flush modes as a context with `flush_subnormals` has them.
#[cfg(target_arch = "x86_64")]
#[test]
fn flush_modes_change_nothing() {
    use std::arch::asm;
    /// Returns what it was.
    fn set_mxcsr(new: u32) -> u32 {
        let mut old = 0u32;
        // SAFETY: 4 bytes of MXCSR are stored and loaded.
        unsafe { asm!("stmxcsr [{}]", "ldmxcsr [{}]", in(reg) &mut old, in(reg) &new, options(nostack)) };
        old
    }
    for isa in isas() {
        let all: Vec<f16> = (0..=0xffff).map(f16::of_raw).collect();
        let (mut wide, mut back) = (vec![f32::NAN; all.len()], vec![f16::default(); all.len()]);
        let tiny: Vec<f32> = (0..0x0080_0000).step_by(997).map(f32::from_bits).collect();
        let mut narrow = vec![bf16::default(); tiny.len()];
        let old = set_mxcsr(0x1f80 | 1 << 15 | 1 << 6);
        dispatch(isa, Widen(&all, &mut wide));
        dispatch(isa, Narrow(&wide, &mut back));
        dispatch(isa, Narrow(&tiny, &mut narrow));
        set_mxcsr(old);
        assert_bits(isa.name(), &wide, |i| all[i].widen());
        assert_bits(isa.name(), &back, |i| f16::narrow(wide[i]));
        assert_bits(isa.name(), &narrow, |i| bf16::narrow(tiny[i]));
    }
}

fn tails<T: Reference>(rng: &mut Rng, isa: Isa) {
    let guard = T::of_raw(0xdead);
    for n in (0..=40).chain([samples(1000) + 13]) {
        for offset in [0, 1, 3] {
            let x = rng.vec(n + offset, |rng| T::of_raw(rng.u32()));
            let mut wide = vec![7.0; n];
            dispatch(isa, Widen(&x[offset..], &mut wide));
            assert_bits(&format!("{} {n}", T::NAME), &wide, |i| x[offset + i].widen());
            let mut out = vec![guard; n + offset + 20];
            dispatch(isa, Narrow(&wide, &mut out[offset..offset + n]));
            let inside = offset..offset + n;
            assert_bits(&format!("{} {n} on {}", T::NAME, isa.name()), &out, |i| {
                if inside.contains(&i) { T::narrow(wide[i - offset]) } else { guard }
            });
        }
    }
}

#[test]
fn tails_are_masked() {
    let mut rng = Rng::new(1);
    for isa in isas() {
        tails::<f32>(&mut rng, isa);
        tails::<bf16>(&mut rng, isa);
        tails::<f16>(&mut rng, isa);
    }
}

#[cfg(unix)]
#[test]
fn nothing_is_touched_beyond_the_ends() {
    use crate::common::Guarded;
    fn check<T: Reference>(isa: Isa) {
        for n in 0..=33 {
            let x: Vec<T> = (0..n).map(|i| T::narrow(i as f32)).collect();
            for place in [Guarded::at_end, Guarded::at_start] {
                let (from, mut to) = (place(&x), place(&vec![T::default(); n]));
                let mut wide = vec![0.0; n];
                dispatch(isa, Widen(&from, &mut wide));
                dispatch(isa, Narrow(&wide, &mut to));
                assert!(to.iter().zip(&x).all(|(a, b)| a.raw() == b.raw()), "{} {n} on {}", T::NAME, isa.name());
            }
        }
    }
    for isa in isas() {
        check::<f32>(isa);
        check::<bf16>(isa);
        check::<f16>(isa);
    }
}
