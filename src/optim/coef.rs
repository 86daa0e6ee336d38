//! What a gradient is multiplied by: the clip factor over the loss scale, of more bits than f32 has.

use crate::simd::Simd;

/// A factor, at least 0 or NaN.
#[derive(Clone, Copy)]
pub(super) struct Coef {
    value: f64,
    /// It is `high` + `low` to 47 bits, if `split`.
    high: f32,
    low: f32,
    split: bool,
}

/// 2⁻⁶⁰ and 2¹⁰⁰: between them both parts of a factor are normal numbers.
const LEAST: f64 = 8.673617379884035e-19;
const MOST: f64 = 1.2676506002282294e30;

/// 2⁻⁶⁰: far less than half a unit in the last place of f32.
const NOTHING: f32 = LEAST as f32;

impl Coef {
    pub(super) const ONE: Coef = Coef { value: 1.0, high: 1.0, low: NOTHING, split: true };

    pub(super) fn new(value: f64) -> Coef {
        let nearest = value as f32;
        let high = if nearest as f64 > value { nearest.next_down() } else { nearest };
        // Positive even where nothing is left over: zero times infinity would be NaN. So little is lost beside the rest, and
        // its products are no subnormal numbers, which would be slow.
        let low = ((value - high as f64) as f32).max(high * NOTHING);
        Coef { value, high, low, split: value.is_nan() || (LEAST..=MOST).contains(&value) }
    }

    /// Whether [`Coef::of`] may be asked.
    pub(super) fn is_split(&self) -> bool {
        self.split
    }

    /// x times the factor, within 0.5001 ULP, or 1 ULP where the product is smaller than 1e-36; exact for a power of two,
    /// unless it rounds to a subnormal.
    #[inline(always)]
    pub(super) fn of<S: Simd>(self, s: S, x: S::F) -> S::F {
        if !S::FUSED {
            return self.in_f64(s, x);
        }
        s.fma(x, s.splat(self.high), s.mul(x, s.splat(self.low)))
    }

    /// As [`Coef::of`], for any factor.
    #[inline(always)]
    pub(super) fn of_any<S: Simd>(self, s: S, x: S::F) -> S::F {
        if self.split { self.of(s, x) } else { self.in_f64(s, x) }
    }

    #[inline(always)]
    fn in_f64<S: Simd>(self, s: S, x: S::F) -> S::F {
        if S::COMPACT { self.in_f64_apart(s, x) } else { self.in_f64_inlined(s, x) }
    }

    #[inline(never)]
    fn in_f64_apart<S: Simd>(self, s: S, x: S::F) -> S::F {
        self.in_f64_inlined(s, x)
    }

    #[inline(always)]
    fn in_f64_inlined<S: Simd>(self, s: S, x: S::F) -> S::F {
        let ((low, high), coef) = (s.widen(x), s.splat_d(self.value));
        s.narrow(s.mul_d(low, coef), s.mul_d(high, coef))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, Kernel, dispatch};

    struct Times([f32; 16], Coef);

    impl Kernel for Times {
        type Out = ([f32; 16], [f32; 16]);
        fn run<S: Simd>(self, s: S) -> Self::Out {
            let x = s.from_array(self.0);
            (s.to_array(self.1.of_any(s, x)), s.to_array(self.1.of(s, x)))
        }
    }

    #[test]
    fn products_are_rounded_once_or_nearly() {
        let x = [1.0, 3.0, -7.7, 1e-30, -1e30, 3.4e38, 1e-38, 0.1, 1e-45, 1.0 / 3.0, 2.5, -0.0, 0.7, 1e10, 5e-5, 9.0];
        for isa in Isa::available() {
            for value in [1.0, 0.5, 0.1, 1.0 / 3.0, 1e-18, 1e30, 1e-19, 1e-60, 1e45, 0.999_999_999, 2.0, 65536.0] {
                let coef = Coef::new(value);
                let (any, split) = dispatch(isa, Times(x, coef));
                for ((x, got), split) in x.into_iter().zip(any).zip(split) {
                    let truth = x as f64 * value;
                    let ulp =
                        2f64.powi(((truth.abs() as f32).max(f32::MIN_POSITIVE).log2().floor() as i32).min(127) - 23);
                    let error = (got as f64 - truth).abs();
                    let fits = error <= 0.5001 * ulp + 2f64.powi(-150) || got == truth as f32;
                    assert!(fits, "{x:e} · {value:e} is {got:e}, not {truth:e}");
                    assert!(!coef.is_split() || got.to_bits() == split.to_bits());
                }
            }
            let infinite = dispatch(isa, Times([f32::NEG_INFINITY; 16], Coef::ONE)).0;
            assert_eq!(infinite, [f32::NEG_INFINITY; 16]);
            assert!(dispatch(isa, Times(x, Coef::new(f64::NAN))).0.iter().all(|y| y.is_nan()));
        }
    }
}
