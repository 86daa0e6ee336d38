"""CPU kernels of gradient-stable training, over NumPy arrays.

Each C function of evenkeel.h is here under its name without ``ek_``. Sizes follow from the arrays' shapes, outputs that
are not given are made, optional ones are made where they are ``True``. Nothing is copied: an array of another dtype, one
that is not contiguous, or a read-only output is an error. Calls release the interpreter's lock.

    >>> import numpy, evenkeel
    >>> x, w = numpy.ones((2, 3), numpy.float32), numpy.ones((4, 3), numpy.float32)
    >>> evenkeel.linear_forward_f32(x, w, act="relu").y
    array([[3., 3., 3., 3.],
           [3., 3., 3., 3.]], dtype=float32)
"""

from ._core import Context, EvenkeelError
from ._functions import *  # noqa: F403
from ._functions import HEADER_VERSION
from ._functions import __all__ as _names
from ._library import lib as _lib
from ._matmul import *  # noqa: F403
from ._matmul import __all__ as _products

__version__: str = _lib.ek_version_string().decode()

_number = _lib.ek_version()
_major, _minor = _number >> 16, _number >> 8 & 255
if _major != HEADER_VERSION[0] or (_major == 0 and _minor != HEADER_VERSION[1]) or _minor < HEADER_VERSION[1]:
    raise ImportError(f"the library found is evenkeel {__version__}, this package is for {HEADER_VERSION[0]}.{HEADER_VERSION[1]}")

__all__ = ["Context", "EvenkeelError", "__version__", *_names, *_products]
