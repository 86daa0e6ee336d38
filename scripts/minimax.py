#!/usr/bin/env python3
"""The polynomials of src/vecmath/tables.rs, from the repository's root:

    python3 scripts/minimax.py | rustfmt --edition 2024 > src/vecmath/tables.rs

Needs mpmath only, and is deterministic. Each polynomial is fitted by Lawson's iteration to nearly the smallest largest
weighted error, its lowest coefficient is rounded to f32, and the others are fitted again with that one fixed, until all
are rounded. The error printed beside a table is that of the rounded polynomial, relative to the function it serves.
"""
import struct
from mpmath import mp, mpf, cos, erfc, exp, log, log1p, lu_solve, matrix, pi, sqrt

mp.prec = 300
GRID = 160
ROUNDS = 12


def f32(x):
    """The nearest float, as an mpf."""
    return mpf(struct.unpack("f", struct.pack("f", float(x)))[0])


def chebyshev(a, b, n):
    return [(a + b) / 2 - (b - a) / 2 * cos(pi * i / (n - 1)) for i in range(n)]


def fit(xs, fs, ws, n):
    """n coefficients c with nearly the smallest max |w(x)·(f(x) − Σ cᵢ xⁱ)| on the points xs: Lawson's iteration."""
    weights = [w * w for w in ws]
    powers = [[x**j for j in range(2 * n - 1)] for x in xs]
    for _ in range(ROUNDS):
        moments = [sum(w * p[j] for w, p in zip(weights, powers)) for j in range(2 * n - 1)]
        normal = matrix(n, n)
        for i in range(n):
            for j in range(n):
                normal[i, j] = moments[i + j]
        rhs = matrix([sum(w * p[i] * f for w, p, f in zip(weights, powers, fs)) for i in range(n)])
        solved = lu_solve(normal, rhs)
        c = [solved[j] for j in range(n)]
        err = [abs(w * (f - horner(c, x))) for x, f, w in zip(xs, fs, ws)]
        worst = max(err)
        weights = [w * (e / worst + mpf("0.02")) for w, e in zip(weights, err)]
    return c


def horner(c, x):
    total = mpf(0)
    for k in reversed(c):
        total = total * x + k
    return total


def table(name, doc, f, w, a, b, n, wide=0):
    """n coefficients of f on [a, b], lowest first, with the error weighted by w. The first `wide` keep two floats."""
    xs = chebyshev(mpf(a), mpf(b), GRID)
    fs, ws = [f(x) for x in xs], [w(x) for x in xs]
    fixed, low, rest = [], [], fs
    weights = ws
    for left in range(n, 0, -1):
        c = fit(xs, rest, weights, left)
        c0 = f32(c[0])
        if len(fixed) < wide:
            low.append(f32(c[0] - c0))
            c0 += low[-1]
        fixed.append(c0)
        rest = [(r - c0) / x for r, x in zip(rest, xs)]
        weights = [v * abs(x) for v, x in zip(weights, xs)]
    worst = max(abs(v * (y - horner(fixed, x))) for x, y, v in zip(xs, fs, ws))
    print(f"\n/// {doc}\n/// Largest error 2^{float(log(worst, 2)):.1f}.")
    values(name, [f32(c) for c in fixed])
    if wide:
        print(f"\n/// The low parts of the first coefficients of {name}.")
        values(name + "_LOW", low)


def values(name, cs):
    print(f"pub(crate) const {name}: [f32; {len(cs)}] =\n    [{', '.join(literal(c) for c in cs)}];")


def literal(x):
    """The shortest decimal that reads back as the float x."""
    value = float(x)
    for digits in range(1, 12):
        text = f"{value:.{digits}e}"
        if f32(float(text)) == x:
            mantissa, exponent = text.split("e")
            if "." not in mantissa:
                mantissa += ".0"
            return mantissa if int(exponent) == 0 else f"{mantissa}e{int(exponent)}"
    raise ValueError(value)


def split(name, doc, x, bits=24):
    """x as a high part of so many bits and a rounded low part."""
    high = f32(x)
    if bits < 24:
        scale = mpf(2) ** (bits - 1 - int(mp.floor(log(abs(x), 2))))
        high = mp.nint(x * scale) / scale
    print(f"\n/// {doc}: the low part is the rest.")
    print(f"pub(crate) const {name}: [f32; 2] = [{literal(high)}, {literal(f32(x - high))}];")


MILLS_SHIFT = mpf(2)
MILLS_CENTER = mpf("0.25")


# Of another fit: the first two coefficients are floats to 2^-31, which was looked for.
TAIL_SHIFT = mpf(2)
TAIL_CENTER = mpf(195900) / 2**20


def mills(t):
    """Φ(−t)·exp(t²/2)."""
    return erfc(t / sqrt(2)) * exp(t * t / 2) / 2


def by_shift(w):
    t = 1 / (w + MILLS_CENTER) - MILLS_SHIFT
    return mills(t) * (t + MILLS_SHIFT)


def tail(w):
    t = 1 / (w + TAIL_CENTER) - TAIL_SHIFT
    return mills(t) * (t + TAIL_SHIFT)


def tail_weight(w):
    """Relative, and four times that around t = 0.75, where the derivative of GELU is what little two terms leave."""
    return (4 if abs(w + TAIL_CENTER - mpf("0.3636")) < 0.05 else 1) / tail(w)


def follow(r):
    t = 1 / r - TAIL_SHIFT
    return (1 / sqrt(2 * pi) - t * mills(t)) / r**2


def series(f, small, limit):
    """f, or its limit where f divides zero by zero."""
    return lambda x: limit if abs(x) < small else f(x)


if __name__ == "__main__":
    print("//! Constants and polynomials, lowest coefficient first.")
    print("//! Made by `scripts/minimax.py`, which says how; do not edit.")
    print("#![allow(clippy::excessive_precision, clippy::approx_constant, clippy::unreadable_literal)]")
    tiny = mpf(2) ** -60
    ln2 = log(2)
    split("LN_2", "ln 2, the high part in 15 bits so that its product with an exponent is exact", ln2, 15)
    print(f"\n/// 1/ln 2.\npub(crate) const LOG2_E: f32 = {literal(f32(1 / ln2))};")
    split("SQRT_2", "√2", sqrt(2))
    split("INV_SQRT_2PI", "1/√(2π)", 1 / sqrt(2 * pi))
    k = 2 * sqrt(2 / pi)
    split("GELU_K", "2·√(2/π)", k)
    split("GELU_KC", "2·√(2/π)·0.044715", k * mpf("0.044715"))
    split("GELU_3KC", "3·2·√(2/π)·0.044715", 3 * k * mpf("0.044715"))
    selu_scale, selu_alpha = mpf("1.0507009873554804934193349852946"), mpf("1.6732632423543772848170429916717")
    split("SELU_SCALE", "The λ of SELU", selu_scale)
    split("SELU_SCALE_ALPHA", "λ·α of SELU", selu_scale * selu_alpha)
    split("SIXTH", "1/6", mpf(1) / 6)
    table("EXP", "exp(r) = 1 + r + r²·EXP(r) for |r| ≤ ln 2 / 2; relative to exp(r) − 1.",
          series(lambda r: (exp(r) - 1 - r) / r**2, tiny, mpf(1) / 2), lambda r: r * r / abs(exp(r) - 1),
          -ln2 / 2 - mpf(2) ** -12, ln2 / 2 + mpf(2) ** -12, 6)
    table("EXP_SHORT", "exp(r) = 1 + r + r²·EXP_SHORT(r) for |r| ≤ ln 2 / 2; relative to exp(r).",
          series(lambda r: (exp(r) - 1 - r) / r**2, tiny, mpf(1) / 2), lambda r: r * r / exp(r),
          -ln2 / 2 - mpf(2) ** -12, ln2 / 2 + mpf(2) ** -12, 5)
    table("LOG", "log(1 + f) = f − f²/2 + f³·LOG(f) for √½ ≤ 1 + f ≤ √2; relative to log.",
          series(lambda f: (log1p(f) - f + f * f / 2) / f**3, mpf(2) ** -30, mpf(1) / 3),
          series(lambda f: f**3 / log1p(f), tiny, mpf(0)), sqrt(mpf(1) / 2) - 1, sqrt(mpf(2)) - 1, 9)
    table("ATANH", "log((1 + s)/(1 − s)) = 2s + s³·ATANH(s²) for 0 ≤ s ≤ 1/3, in the variable s²; relative to the log.",
          series(lambda q: (log((1 + sqrt(q)) / (1 - sqrt(q))) - 2 * sqrt(q)) / sqrt(q) ** 3, mpf(2) ** -50, mpf(2) / 3),
          lambda q: q / 2, mpf(2) ** -60, mpf(1) / 9, 5)
    table("MILLS", "exp(t²/2)·Φ(−t)·(t + MILLS_SHIFT) for 0 ≤ t ≤ 14.6, in w = 1/(t + MILLS_SHIFT) − MILLS_CENTER.",
          by_shift, lambda w: 1 / by_shift(w), 1 / (mpf("14.6") + MILLS_SHIFT) - MILLS_CENTER,
          1 / MILLS_SHIFT - MILLS_CENTER, 12, wide=2)
    print(f"\npub(crate) const MILLS_SHIFT: f32 = {literal(MILLS_SHIFT)};")
    print(f"pub(crate) const MILLS_CENTER: f32 = {literal(MILLS_CENTER)};")
    table("TAIL", "exp(t²/2)·Φ(−t)·(t + TAIL_SHIFT) for 0 ≤ t ≤ 14.6, in w = 1/(t + TAIL_SHIFT) − TAIL_CENTER.\n/// Around t = 0.75 the error is a quarter of it.",
          tail, tail_weight, 1 / (mpf("14.6") + TAIL_SHIFT) - TAIL_CENTER, 1 / TAIL_SHIFT - TAIL_CENTER, 12)
    print(f"\npub(crate) const TAIL_SHIFT: f32 = {literal(TAIL_SHIFT)};")
    print(f"pub(crate) const TAIL_CENTER: f32 = {literal(TAIL_CENTER)};")
    table("TAIL_FOLLOW", "The derivative of exp(t²/2)·Φ(−t) by r = 1/(t + TAIL_SHIFT), relative to TAIL; for a correction.",
          follow, lambda r: r / mills(1 / r - TAIL_SHIFT), 1 / (mpf("14.6") + TAIL_SHIFT), 1 / TAIL_SHIFT, 2)
    table("ERF", "erf(x) = x·(2/√π + x²·ERF(x²)) for |x| ≤ 0.75, in the variable x².",
          series(lambda q: (mp.erf(sqrt(q)) / sqrt(q) - 2 / sqrt(pi)) / q, mpf(2) ** -50, -2 / sqrt(pi) / 3),
          lambda q: q / (mp.erf(sqrt(q)) / sqrt(q)) if q > 0 else mpf(0), mpf(2) ** -60, mpf("0.5625"), 5)
    split("TWO_OVER_SQRT_PI", "2/√π", 2 / sqrt(pi))
