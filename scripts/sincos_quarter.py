#!/usr/bin/env python3
"""Coefficients of src/init/normal.rs: sin and cos of f quarter turns, f in [-1/2, 1/2].

sin(pi/2 f) = f P(f^2) and cos(pi/2 f) = 1 + f^2 Q(f^2), P and Q interpolated at Chebyshev nodes in f^2, which is within
a small factor of minimax. Prints them rounded to f32 and the largest error of the rounded polynomials.
"""

import math
import struct
from decimal import Decimal as D, getcontext

getcontext().prec = 60
PI = D("3.14159265358979323846264338327950288419716939937510582")


def series(u, first):
    """sin(x)/x (first = 1) or (cos(x) - 1)/x^2 (first = 2) at x^2 = u, by Taylor."""
    term = D(1) if first == 1 else D(-1) / 2
    total, k = D(0), first
    while abs(term) > D(10) ** -55:
        total += term
        term *= -u / ((k + 1) * (k + 2))
        k += 2
    return total


def interpolate(f, terms, top):
    nodes = [(D(1) - D(math.cos(math.pi * (2 * i + 1) / (2 * terms)))) / 2 * top for i in range(terms)]
    rows = [[x**j for j in range(terms)] + [f(x)] for x in nodes]
    for i in range(terms):
        p = max(range(i, terms), key=lambda r: abs(rows[r][i]))
        rows[i], rows[p] = rows[p], rows[i]
        for r in range(terms):
            if r != i:
                q = rows[r][i] / rows[i][i]
                rows[r] = [a - q * b for a, b in zip(rows[r], rows[i])]
    return [rows[i][terms] / rows[i][i] for i in range(terms)]


def f32(x):
    return struct.unpack("f", struct.pack("f", float(x)))[0]


def text(x):
    """The shortest decimal that reads back as the same f32."""
    if x == f32(math.pi / 2):
        return "FRAC_PI_2"
    return next(s for s in (format(x, f".{d}e") for d in range(10)) if f32(s) == x)


half_pi = PI / 2
for name, first, terms in (("SIN", 1, 4), ("COS", 2, 4)):
    scale = half_pi if first == 1 else half_pi**2
    exact = lambda v: scale * series(v * half_pi**2, first)
    c = [f32(x) for x in interpolate(exact, terms, D("0.25"))]
    error = max(
        abs(sum(D(a) * v**j for j, a in enumerate(c)) - exact(v)) for v in (D(i) / 4000 for i in range(1, 1001))
    )
    print(f"const {name}: [f32; {terms}] = [{', '.join(text(x) for x in c)}]; // error {float(error):.2e}")
