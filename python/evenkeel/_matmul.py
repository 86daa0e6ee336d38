"""Matrix products: what is transposed and the leading dimensions follow from the arrays' strides."""

from __future__ import annotations

import ctypes
from typing import Any, Optional

import numpy

from ._core import _DTYPES, Context, array, check
from ._library import lib

Array = numpy.ndarray[Any, Any]


def _matrix(function: str, name: str, value: Any, dtype: str, write: bool = False) -> tuple[Array, int, int]:
    """The array, whether it lies transposed, and its leading dimension."""
    value = array(function, name, value, dtype, write, contiguous=False)
    if value.ndim != 2:
        raise ValueError(f"{function}: {name} has shape {value.shape}; a matrix has two axes")
    size = value.itemsize
    (rows, cols), (down, across) = value.shape, value.strides
    # The stride of an axis with one entry says nothing.
    if (cols <= 1 or across == size) and (rows <= 1 or (down % size == 0 and down >= cols * size)):
        return value, 0, max(down // size if rows > 1 else cols, 1)
    if (rows <= 1 or down == size) and (cols <= 1 or (across % size == 0 and across >= rows * size)) and not write:
        return value, 1, max(across // size if cols > 1 else rows, 1)
    if value.size == 0:
        return value, 0, max(cols, 1)
    raise ValueError(f"{function}: neither the rows nor the columns of {name} are contiguous: its strides are {value.strides}")


def _matmul(kind: str, a: Any, b: Any, c: Optional[Array], alpha: float, beta: float, ctx: Optional[Context]) -> Array:
    function = f"matmul_{kind}"
    out = "f64" if kind == "f64" else "f32"
    number = ctypes.c_double if kind == "f64" else ctypes.c_float
    a, trans_a, lda = _matrix(function, "a", a, kind)
    b, trans_b, ldb = _matrix(function, "b", b, kind)
    (m, k), n = a.shape, b.shape[1]
    if b.shape[0] != k:
        raise ValueError(f"{function}: a has shape {a.shape}, b {b.shape}: the inner sizes differ")
    if c is None:
        if beta != 0:
            raise ValueError(f"{function}: beta is {beta}, but there is no c to add to")
        c = numpy.empty((m, n), _DTYPES[out])
    c, _, ldc = _matrix(function, "c", c, out, write=True)
    if c.shape != (m, n):
        raise ValueError(f"{function}: c has shape {c.shape}, not {(m, n)}")
    size = ctypes.c_size_t
    check(
        getattr(lib, f"ek_{function}")(
            ctx._handle if ctx is not None else None, trans_a, trans_b, size(m), size(n), size(k), number(alpha),
            ctypes.c_void_p(a.ctypes.data), size(lda), ctypes.c_void_p(b.ctypes.data), size(ldb), number(beta),
            ctypes.c_void_p(c.ctypes.data), size(ldc),
        )  # fmt: skip
    )
    return c


def matmul_f32(a: Array, b: Array, c: Optional[Array] = None, *, alpha: float = 1, beta: float = 0, ctx: Optional[Context] = None) -> Array:
    """c = alpha * a @ b + beta * c. a [m, k], b [k, n], c [m, n]; each may be a view with contiguous rows, a and b also
    a transposed one (w.T): nothing is copied."""
    return _matmul("f32", a, b, c, alpha, beta, ctx)


def matmul_f64(a: Array, b: Array, c: Optional[Array] = None, *, alpha: float = 1, beta: float = 0, ctx: Optional[Context] = None) -> Array:
    """matmul_f32 in double."""
    return _matmul("f64", a, b, c, alpha, beta, ctx)


def matmul_bf16(a: Array, b: Array, c: Optional[Array] = None, *, alpha: float = 1, beta: float = 0, ctx: Optional[Context] = None) -> Array:
    """matmul_f32 with a and b in bfloat16; c is float32."""
    return _matmul("bf16", a, b, c, alpha, beta, ctx)


def matmul_f16(a: Array, b: Array, c: Optional[Array] = None, *, alpha: float = 1, beta: float = 0, ctx: Optional[Context] = None) -> Array:
    """matmul_f32 with a and b in float16; c is float32."""
    return _matmul("f16", a, b, c, alpha, beta, ctx)


def _batch(name: str, value: Any, write: bool = False) -> tuple[Array, int, int, int]:
    """A batch of matrices: the array, whether they lie transposed, leading dimension, stride between them."""
    function = "matmul_batched_f32"
    value = array(function, name, value, "f32", write, contiguous=False)
    if value.ndim != 3:
        raise ValueError(f"{function}: {name} has shape {value.shape}; a batch of matrices has three axes")
    one = value[0] if value.shape[0] else numpy.empty(value.shape[1:], numpy.float32)
    _, trans, ld = _matrix(function, name, one, "f32", write)
    step = value.strides[0] if value.shape[0] > 1 else value.shape[1] * value.shape[2] * 4
    if step % 4 or step < 0:
        raise ValueError(f"{function}: {name} has strides {value.strides}")
    return value, trans, ld, step // 4


def matmul_batched_f32(
    a: Array, b: Array, c: Optional[Array] = None, *, alpha: float = 1, beta: float = 0, ctx: Optional[Context] = None
) -> Array:
    """c[i] = alpha * a[i] @ b[i] + beta * c[i]. a [batch, m, k], b [batch, k, n], c [batch, m, n], views as in
    matmul_f32; numpy.broadcast_to repeats one matrix without a copy."""
    function = "matmul_batched_f32"
    a, trans_a, lda, stride_a = _batch("a", a)
    b, trans_b, ldb, stride_b = _batch("b", b)
    (batch, m, k), n = a.shape, b.shape[2]
    if b.shape[:2] != (batch, k):
        raise ValueError(f"{function}: a has shape {a.shape}, b {b.shape}")
    if c is None:
        if beta != 0:
            raise ValueError(f"{function}: beta is {beta}, but there is no c to add to")
        c = numpy.empty((batch, m, n), numpy.float32)
    c, _, ldc, stride_c = _batch("c", c, write=True)
    if c.shape != (batch, m, n):
        raise ValueError(f"{function}: c has shape {c.shape}, not {(batch, m, n)}")
    size = ctypes.c_size_t
    check(
        lib.ek_matmul_batched_f32(
            ctx._handle if ctx is not None else None, trans_a, trans_b, size(batch), size(m), size(n), size(k),
            ctypes.c_float(alpha), ctypes.c_void_p(a.ctypes.data), size(lda), size(stride_a),
            ctypes.c_void_p(b.ctypes.data), size(ldb), size(stride_b), ctypes.c_float(beta),
            ctypes.c_void_p(c.ctypes.data), size(ldc), size(stride_c),
        )  # fmt: skip
    )
    return c


__all__ = ["matmul_bf16", "matmul_batched_f32", "matmul_f16", "matmul_f32", "matmul_f64"]
