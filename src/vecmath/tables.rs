//! Constants and polynomials, lowest coefficient first.
//! Made by `scripts/minimax.py`, which says how; do not edit.
#![allow(clippy::excessive_precision, clippy::approx_constant, clippy::unreadable_literal)]

/// ln 2, the high part in 15 bits so that its product with an exponent is exact: the low part is the rest.
pub(crate) const LN_2: [f32; 2] = [6.9314575e-1, 1.4286068e-6];

/// 1/ln 2.
pub(crate) const LOG2_E: f32 = 1.442695;

/// √2: the low part is the rest.
pub(crate) const SQRT_2: [f32; 2] = [1.4142135, 2.4203235e-8];

/// 1/√(2π): the low part is the rest.
pub(crate) const INV_SQRT_2PI: [f32; 2] = [3.989423e-1, -1.133517e-8];

/// 2·√(2/π): the low part is the rest.
pub(crate) const GELU_K: [f32; 2] = [1.5957692, -4.534068e-8];

/// 2·√(2/π)·0.044715: the low part is the rest.
pub(crate) const GELU_KC: [f32; 2] = [7.1354814e-2, 2.3988325e-9];

/// 3·2·√(2/π)·0.044715: the low part is the rest.
pub(crate) const GELU_3KC: [f32; 2] = [2.1406445e-1, -2.5408342e-10];

/// The λ of SELU: the low part is the rest.
pub(crate) const SELU_SCALE: [f32; 2] = [1.050701, -3.4792652e-8];

/// λ·α of SELU: the low part is the rest.
pub(crate) const SELU_SCALE_ALPHA: [f32; 2] = [1.7580993, 2.3296717e-8];

/// 1/6: the low part is the rest.
pub(crate) const SIXTH: [f32; 2] = [1.6666667e-1, -4.967054e-9];

/// exp(r) = 1 + r + r²·EXP(r) for |r| ≤ ln 2 / 2; relative to exp(r) − 1.
/// Largest error 2^-31.1.
pub(crate) const EXP: [f32; 6] = [5.0e-1, 1.6666666e-1, 4.1666493e-2, 8.333544e-3, 1.3932339e-3, 1.9763384e-4];

/// exp(r) = 1 + r + r²·EXP_SHORT(r) for |r| ≤ ln 2 / 2; relative to exp(r).
/// Largest error 2^-28.2.
pub(crate) const EXP_SHORT: [f32; 5] = [4.9999994e-1, 1.6666521e-1, 4.166827e-2, 8.368684e-3, 1.3820465e-3];

/// log(1 + f) = f − f²/2 + f³·LOG(f) for √½ ≤ 1 + f ≤ √2; relative to log.
/// Largest error 2^-30.3.
pub(crate) const LOG: [f32; 9] = [
    3.3333313e-1,
    -2.5000012e-1,
    2.0002075e-1,
    -1.6667856e-1,
    1.422019e-1,
    -1.24081306e-1,
    1.18865095e-1,
    -1.1661269e-1,
    6.7330554e-2,
];

/// log((1 + s)/(1 − s)) = 2s + s³·ATANH(s²) for 0 ≤ s ≤ 1/3, in the variable s²; relative to the log.
/// Largest error 2^-33.0.
pub(crate) const ATANH: [f32; 5] = [6.6666675e-1, 3.999895e-1, 2.8615212e-1, 2.1443881e-1, 2.4245302e-1];

/// exp(t²/2)·Φ(−t)·(t + MILLS_SHIFT) for 0 ≤ t ≤ 14.6, in w = 1/(t + MILLS_SHIFT) − MILLS_CENTER.
/// Largest error 2^-28.4.
pub(crate) const MILLS: [f32; 12] = [
    6.72408e-1,
    1.3256179,
    4.6075788e-1,
    -2.3500345,
    -1.20245345e-1,
    6.8954487,
    -7.994144,
    -1.3466003e1,
    5.483327e1,
    -3.5335518e1,
    -1.5644394e2,
    2.7773532e2,
];

/// The low parts of the first coefficients of MILLS.
pub(crate) const MILLS_LOW: [f32; 2] = [2.0186373e-8, -2.9370522e-8];

pub(crate) const MILLS_SHIFT: f32 = 2.0;
pub(crate) const MILLS_CENTER: f32 = 2.5e-1;

/// exp(t²/2)·Φ(−t)·(t + TAIL_SHIFT) for 0 ≤ t ≤ 14.6, in w = 1/(t + TAIL_SHIFT) − TAIL_CENTER.
/// Around t = 0.75 the error is a quarter of it.
/// Largest error 2^-27.9.
pub(crate) const TAIL: [f32; 12] = [
    5.91084e-1,
    1.2399741,
    8.8435817e-1,
    -2.0148287,
    -2.5946908,
    7.999018,
    4.166524,
    -3.997202e1,
    3.5577976e1,
    1.2132398e2,
    -3.416053e2,
    2.7122552e2,
];

pub(crate) const TAIL_SHIFT: f32 = 2.0;
pub(crate) const TAIL_CENTER: f32 = 1.868248e-1;

/// The derivative of exp(t²/2)·Φ(−t) by r = 1/(t + TAIL_SHIFT), relative to TAIL; for a correction.
/// Largest error 2^-4.8.
pub(crate) const TAIL_FOLLOW: [f32; 2] = [3.572217e-1, 2.5508733];

/// erf(x) = x·(2/√π + x²·ERF(x²)) for |x| ≤ 0.75, in the variable x².
/// Largest error 2^-29.2.
pub(crate) const ERF: [f32; 5] = [-3.7612626e-1, 1.12834536e-1, -2.6837854e-2, 5.1201843e-3, -6.7876367e-4];

/// 2/√π: the low part is the rest.
pub(crate) const TWO_OVER_SQRT_PI: [f32; 2] = [1.1283792, -5.8635383e-8];
