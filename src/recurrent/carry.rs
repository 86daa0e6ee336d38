//! The gradient on its way back through time: f32 numbers with one power of two for each row.
//!
//! The exponent of a row is 0, and the numbers are the plain ones, as long as its largest entry lies between 2⁻⁴⁰ and 2⁸⁰.
//! Beyond, they are moved to where f32 holds them. Powers of two commute with rounding, so nothing else of a bit depends on
//! when they move; what f32 could not have held is still right.

use crate::simd::{Kernel, LANES, Simd};

/// Largest entries between these binary exponents are left as they are.
const LOW: i32 = -40;
const HIGH: i32 = 80;
/// Where the largest entry goes otherwise: above it there is room to grow, below it for small entries.
const TARGET: i32 = 40;

/// The binary exponent of a magnitude; None for zero.
fn exponent(magnitude: f32) -> Option<i32> {
    if magnitude == 0.0 {
        return None;
    }
    // In f64 subnormal numbers are none; infinity counts as 2^1024.
    Some(((magnitude as f64).to_bits() >> 52) as i32 - 1023)
}

/// The exponent that a row goes on with: `state` is its largest magnitude with exponent `e`, `upstream` that of what is
/// added to it with exponent 0.
pub(super) fn next_exponent(e: i32, state: f32, upstream: f32) -> i32 {
    let top = match (exponent(state).map(|x| x.saturating_add(e)), exponent(upstream)) {
        (Some(a), Some(b)) => a.max(b),
        (Some(a), None) | (None, Some(a)) => a,
        (None, None) => return 0,
    };
    let plain = |e: i32| (LOW..=HIGH).contains(&(top - e));
    if state.is_infinite() || upstream.is_infinite() || plain(0) {
        0
    } else if plain(e) {
        e
    } else {
        top - TARGET
    }
}

/// 2^e as two factors that f32 holds, each a power of two. Beyond ±252 everything that has moved is zero or infinite anyway.
pub(super) fn powers(e: i32) -> [f32; 2] {
    let e = e.clamp(-252, 252);
    let power = |e: i32| f32::from_bits(((e + 127) as u32) << 23);
    [power(e / 2), power(e - e / 2)]
}

/// x·2^e in f64, where the power alone may be too small.
pub(super) fn scaled(x: f64, e: i32) -> f64 {
    let e = e.clamp(-2200, 2200);
    let third = e / 3;
    x * 2f64.powi(third) * 2f64.powi(third) * 2f64.powi(e - 2 * third)
}

/// The largest magnitude of `x`; NaN does not count.
pub(super) struct Largest<'a>(pub &'a [f32]);

impl Kernel for Largest<'_> {
    type Out = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let x = self.0;
        let mut most = s.zero();
        for j in (0..x.len()).step_by(LANES) {
            // SAFETY: elements j to the end, tails masked.
            let v = unsafe { s.load_up_to(x.as_ptr().add(j), x.len() - j) };
            most = s.max(s.abs(v), most);
        }
        s.max_lane(most)
    }
}

/// out = x·2^a + u·2^b, each power in two factors. Without u: x·2^a.
pub(super) struct Total<'a> {
    pub x: &'a [f32],
    pub a: [f32; 2],
    pub u: Option<&'a [f32]>,
    pub b: [f32; 2],
    pub out: &'a mut [f32],
}

impl Kernel for Total<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n = self.out.len();
        assert!(self.x.len() == n && self.u.is_none_or(|u| u.len() == n));
        let (a, b) = (self.a.map(|p| s.splat(p)), self.b.map(|p| s.splat(p)));
        for j in (0..n).step_by(LANES) {
            // SAFETY: elements j to n, tails masked (asserted).
            unsafe {
                let mut v = s.mul(s.mul(s.load_up_to(self.x.as_ptr().add(j), n - j), a[0]), a[1]);
                if let Some(u) = self.u {
                    v = s.add(v, s.mul(s.mul(s.load_up_to(u.as_ptr().add(j), n - j), b[0]), b[1]));
                }
                s.store_up_to(self.out.as_mut_ptr().add(j), v, n - j);
            }
        }
    }
}

/// x = x·2^e, the power in two factors.
pub(super) struct Shift<'a>(pub &'a mut [f32], pub [f32; 2]);

impl Kernel for Shift<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (x, [a, b]) = (self.0, self.1);
        let n = x.len();
        for j in (0..n).step_by(LANES) {
            // SAFETY: elements j to n, tails masked.
            unsafe {
                let p = x.as_mut_ptr().add(j);
                s.store_up_to(p, s.mul(s.mul(s.load_up_to(p, n - j), s.splat(a)), s.splat(b)), n - j);
            }
        }
    }
}

/// Σx² in f64: element i adds into lane i mod 16, lanes fold by halves.
pub(super) struct Squares<'a>(pub &'a [f32]);

impl Kernel for Squares<'_> {
    type Out = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let x = self.0;
        let (mut low, mut high) = (s.splat_d(0.0), s.splat_d(0.0));
        for j in (0..x.len()).step_by(LANES) {
            // SAFETY: elements j to the end, tails masked.
            let (a, b) = s.widen(unsafe { s.load_up_to(x.as_ptr().add(j), x.len() - j) });
            low = s.fma_d(a, a, low);
            high = s.fma_d(b, b, high);
        }
        s.sum_dd(low, high)
    }
}

/// The norm of a whole whose parts have these norms, in their order.
pub(super) fn joined_norm(parts: &[f64]) -> f64 {
    let most = parts.iter().copied().fold(0.0, f64::max);
    if most == 0.0 || !most.is_finite() || parts.iter().any(|p| p.is_nan()) {
        return parts.iter().sum();
    }
    // A power of two brings the largest part to where its square is a number.
    let e = (most.to_bits() >> 52) as i32 - 1023;
    let sum: f64 = parts.iter().map(|&p| scaled(p, -e)).fold(0.0, |sum, p| p.mul_add(p, sum));
    scaled(sum.sqrt(), e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_move_only_near_the_ends() {
        assert_eq!(next_exponent(0, 1.0, 0.0), 0);
        assert_eq!(next_exponent(0, 2f32.powi(-40), 0.0), 0);
        assert_eq!(next_exponent(0, 2f32.powi(-41), 0.0), -81);
        assert_eq!(next_exponent(0, 2f32.powi(-41), 2f32.powi(-30)), 0);
        assert_eq!(next_exponent(-81, 2f32.powi(-40), 0.0), -81);
        assert_eq!(next_exponent(-81, 2f32.powi(-41), 0.0), -162);
        assert_eq!(next_exponent(-81, 2f32.powi(41), 0.0), 0);
        assert_eq!(next_exponent(-300, 1.0, 1.0), 0);
        assert_eq!(next_exponent(-300, 0.0, 0.0), 0);
        assert_eq!(next_exponent(0, 2f32.powi(81), 0.0), 41);
        assert_eq!(next_exponent(5, f32::INFINITY, 0.0), 0);
        assert_eq!(next_exponent(0, f32::from_bits(1), 0.0), -149 - TARGET);
    }

    #[test]
    fn powers_multiply_to_their_exponent() {
        for e in -252..=252 {
            let [a, b] = powers(e);
            assert_eq!(a as f64 * b as f64, 2f64.powi(e));
        }
        assert_eq!(scaled(1.5, -1000), 1.5 * 2f64.powi(-1000));
        assert_eq!(scaled(1.0, -1074), f64::from_bits(1));
        assert_eq!(scaled(2f64.powi(500), -1500), 2f64.powi(-1000));
    }

    #[test]
    fn joined_norms_neither_overflow_nor_vanish() {
        assert_eq!(joined_norm(&[3e-170, 4e-170]) / 5e-170, 1.0);
        assert_eq!(joined_norm(&[3.0, 4.0]), 5.0);
        assert_eq!(joined_norm(&[]), 0.0);
        assert!(joined_norm(&[3e300, 4e300]) / 5e300 < 1.0 + 1e-15);
        assert!(joined_norm(&[1.0, f64::NAN]).is_nan());
    }
}
