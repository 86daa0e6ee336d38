//! bf16 and f16 in integer operations, for the vectors without an instruction for them, and one number at a time.

use super::Simd;

/// What f32's exponent is above f16's, in place.
const REBIAS: i32 = (127 - 15) << 23;
/// 2⁻¹⁴, the least normal f16; 2¹⁶, which is beyond f16; +∞: as bits of f32.
const LEAST_NORMAL: i32 = 0x3880_0000;
const BEYOND: i32 = 0x4780_0000;
const INFINITE: i32 = 0x7f80_0000;

/// `m ? a : b` of integers.
#[inline(always)]
fn select_i<S: Simd>(s: S, m: S::M, a: S::I, b: S::I) -> S::I {
    s.bits(s.select(m, s.from_bits(a), s.from_bits(b)))
}

/// [`Simd::from_f16`] where no instruction does it.
#[inline(always)]
pub(super) fn from_f16<S: Simd>(s: S, a: S::W) -> S::F {
    let h = s.widen_w(a);
    let magnitude = s.and_i(h, s.splat_i(0x7fff));
    let sign = s.shl_i::<16>(s.sub_i(h, magnitude));
    let shifted = s.shl_i::<13>(magnitude);
    let normal = s.add_i(shifted, s.splat_i(REBIAS));
    // Infinity and NaN move up to f32's last exponent.
    let special = s.or_i(shifted, s.splat_i(INFINITE));
    let quiet = s.or_i(special, s.splat_i(0x0040_0000));
    let special = select_i(s, s.gt_i(magnitude, s.splat_i(0x7c00)), quiet, special);
    // A subnormal f16 is a multiple of 2⁻²⁴: a normal f32, which no flush mode touches.
    let small = s.bits(s.mul(s.from_int(magnitude), s.splat(1.0 / 16_777_216.0)));
    let y = select_i(s, s.gt_i(magnitude, s.splat_i(0x7bff)), special, normal);
    let y = select_i(s, s.gt_i(s.splat_i(0x0400), magnitude), small, y);
    s.from_bits(s.or_i(y, sign))
}

/// [`Simd::to_f16`] where no instruction does it.
#[inline(always)]
pub(super) fn to_f16<S: Simd>(s: S, a: S::F) -> S::W {
    let bits = s.bits(a);
    let magnitude = s.and_i(bits, s.splat_i(0x7fff_ffff));
    let sign = s.shr_i::<16>(s.sub_i(bits, magnitude));
    let normal = s.shr_i::<13>(round_bits::<S, 13>(s, s.sub_i(magnitude, s.splat_i(REBIAS))));
    // 0.5 has its last place where a subnormal f16 has its own: the addition rounds there.
    let half = s.splat(0.5);
    let small = s.sub_i(s.bits(s.add(s.from_bits(magnitude), half)), s.bits(half));
    let y = select_i(s, s.gt_i(s.splat_i(LEAST_NORMAL), magnitude), small, normal);
    let y = select_i(s, s.gt_i(magnitude, s.splat_i(BEYOND - 1)), s.splat_i(0x7c00), y);
    let payload = s.or_i(s.shr_i::<13>(s.and_i(magnitude, s.splat_i(0x007f_ffff))), s.splat_i(0x7e00));
    let y = select_i(s, s.gt_i(magnitude, s.splat_i(INFINITE)), payload, y);
    s.narrow_w(s.or_i(y, sign))
}

/// [`Simd::to_bf16`].
#[inline(always)]
pub(super) fn to_bf16<S: Simd>(s: S, a: S::F) -> S::W {
    let bits = s.bits(a);
    let quiet = s.or_i(bits, s.splat_i(0x0040_0000));
    let y = select_i(s, s.is_nan(a), quiet, round_bits::<S, 16>(s, bits));
    s.narrow_w(s.shr_i::<16>(y))
}

/// Adds what makes a shift by `N` round to nearest even.
#[inline(always)]
fn round_bits<S: Simd, const N: i32>(s: S, bits: S::I) -> S::I {
    let odd = s.and_i(s.shr_i::<N>(bits), s.splat_i(1));
    s.add_i(bits, s.add_i(odd, s.splat_i((1 << (N - 1)) - 1)))
}

/// [`Simd::from_f16`] of one number.
#[inline(always)]
pub(crate) fn f16_to_f32(h: u16) -> f32 {
    let (sign, magnitude) = ((h as u32 & 0x8000) << 16, h as u32 & 0x7fff);
    let bits = match magnitude {
        0..0x0400 => return f32::from_bits((magnitude as f32 / 16_777_216.0).to_bits() | sign),
        0x0400..0x7c00 => (magnitude << 13) + REBIAS as u32,
        0x7c00 => INFINITE as u32,
        _ => magnitude << 13 | 0x7fc0_0000,
    };
    f32::from_bits(bits | sign)
}

/// [`Simd::to_f16`] of one number.
#[inline(always)]
pub(crate) fn f16_from_f32(x: f32) -> u16 {
    let (sign, magnitude) = (x.to_bits() & 0x8000_0000, x.to_bits() & 0x7fff_ffff);
    let h = if magnitude > INFINITE as u32 {
        0x7e00 | magnitude >> 13 & 0x03ff
    } else if magnitude >= BEYOND as u32 {
        0x7c00
    } else {
        // The significand as an integer, and how many of its bits a half has no room for.
        let exponent = (magnitude >> 23) as i32;
        let significand = if exponent == 0 { 0 } else { magnitude & 0x007f_ffff | 0x0080_0000 };
        let dropped = (126 - exponent).clamp(13, 25) as u32;
        let (kept, rest) = (significand >> dropped, significand & ((1 << dropped) - 1));
        let tie = 1 << (dropped - 1);
        let rounded = kept + (rest > tie || rest == tie && kept & 1 == 1) as u32;
        // Where the half is normal, `kept` holds the leading bit, which is the lowest of the exponent.
        let normal = exponent >= 113;
        rounded + if normal { (exponent - 113) as u32 * 0x0400 } else { 0 }
    };
    (h | sign >> 16) as u16
}
