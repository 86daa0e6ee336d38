"""One call of a C function: checks arrays, solves sizes from shapes, makes outputs, turns a status into an exception.

Nothing is copied. The C function checks all else: values, alignment, overlap.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from enum import IntEnum
from typing import Any, Optional, Union

import numpy

from ._library import lib

_DTYPES = {
    "f32": numpy.dtype(numpy.float32),
    "f64": numpy.dtype(numpy.float64),
    "f16": numpy.dtype(numpy.float16),
    "i64": numpy.dtype(numpy.int64),
    "u64": numpy.dtype(numpy.uint64),
    "size": numpy.dtype(numpy.uintp),
    # NumPy has no bfloat16 of its own: the bits as uint16, or the type of the package ml_dtypes.
    "bf16": numpy.dtype(numpy.uint16),
}


class EvenkeelError(ValueError):
    """The C function refused its arguments; nothing was written."""

    def __init__(self, status: int):
        self.status = status
        name = lib.ek_status_string(ctypes.c_int32(status)).decode()
        super().__init__(f"{lib.ek_last_error().decode()} ({name})")


def check(status: int) -> None:
    if status != 0:
        raise EvenkeelError(status)


def enum_value(cls: type[IntEnum], value: Union[IntEnum, int, str], name: str) -> int:
    """A member, its number, or its name in any case."""
    if isinstance(value, str):
        try:
            return int(cls[value.upper()])
        except KeyError:
            raise ValueError(f"{name} is {value!r}; it is one of {', '.join(m.name.lower() for m in cls)}") from None
    return int(value)


class Struct(ctypes.Structure):
    """A C struct with its defaults; fields may be given by keyword, enums by name."""

    _init_ = ""
    _enums_: dict[str, type[IntEnum]] = {}

    def __init__(self, **fields: Any):
        super().__init__()
        getattr(lib, self._init_)(ctypes.byref(self))
        known = {field[0] for field in self._fields_}
        for name, value in fields.items():
            if name not in known or name == "struct_size":
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
            if name in self._enums_:
                value = enum_value(self._enums_[name], value, name)
            setattr(self, name, value)

    def __repr__(self) -> str:
        fields = (f"{name}={getattr(self, name)!r}" for name, *_ in self._fields_ if name != "struct_size")
        return f"{type(self).__name__}({', '.join(fields)})"


class Context:
    """How calls compute: on how many threads, on which instruction set. Any number of threads may share one.

    num_threads: 0 is EK_NUM_THREADS, else the CPUs that this process may use. isa: "auto", "avx2", …
    """

    def __init__(
        self, *, num_threads: int = 0, isa: Union[int, str] = "auto", batch_invariant: bool = False, flush_subnormals: bool = False
    ):
        from ._functions import ContextOptions

        options = ContextOptions(
            num_threads=num_threads, isa=isa, batch_invariant=batch_invariant, flush_subnormals=flush_subnormals
        )
        handle = ctypes.c_void_p()
        check(lib.ek_context_create(ctypes.byref(options), ctypes.byref(handle)))
        self._handle = handle
        self._finalizer = weakref.finalize(self, lib.ek_context_destroy, handle)

    @property
    def num_threads(self) -> int:
        return int(lib.ek_context_num_threads(self._handle))

    @property
    def isa(self) -> str:
        return str(lib.ek_isa_name(ctypes.c_int32(lib.ek_context_isa(self._handle))).decode())


def array(function: str, name: str, value: Any, dtype: str, write: bool, contiguous: bool = True) -> "numpy.ndarray[Any, Any]":
    """`value`, if it is an array that the function can use where it lies."""
    if not isinstance(value, numpy.ndarray):
        raise TypeError(f"{function}: {name} is a {type(value).__name__}, not a numpy.ndarray")
    want = _DTYPES[dtype]
    same = value.dtype == want or (dtype == "bf16" and value.dtype.name == "bfloat16")
    if not same:
        raise TypeError(f"{function}: {name} is {value.dtype}, not {'bfloat16 (or its bits as uint16)' if dtype == 'bf16' else want}")
    if contiguous and not value.flags.c_contiguous:
        raise ValueError(f"{function}: {name} is not contiguous: its strides are {value.strides}; numpy.ascontiguousarray copies it")
    if write and not value.flags.writeable:
        raise ValueError(f"{function}: {name} is read-only")
    return value


class _Sizes:
    """Sizes by name, each with the argument that told it."""

    def __init__(self, function: str):
        self.function = function
        self.known: dict[str, tuple[int, str]] = {}
        self.axes: dict[str, tuple[int, ...]] = {}

    def bind(self, name: str, size: int, source: str) -> None:
        size_before, source_before = self.known.setdefault(name, (size, source))
        if size_before != size:
            raise ValueError(f"{self.function}: {name} is {size} by {source}, but {size_before} by {source_before}")

    def shape(self, name: str, value: "numpy.ndarray[Any, Any]", dims: Any) -> None:
        """Reads sizes from an array's shape. A starred dimension takes as many axes as the others leave."""
        free = value.ndim - len(dims)
        starred = any(star for _, _, star in dims)
        if free < 0 and not (starred and free == -1) or free > 0 and not starred:
            wanted = ", ".join(("" if f == 1 else f"{f}*") + d + ("…" if s else "") for f, d, s in dims)
            raise ValueError(f"{self.function}: {name} has shape {value.shape}, not [{wanted}]")
        at = 0
        for factor, dim, star in dims:
            axes = value.shape[at : at + 1 + free] if star else value.shape[at : at + 1]
            at += len(axes)
            size = math.prod(axes)
            if size % factor:
                raise ValueError(f"{self.function}: {name} has shape {value.shape}, and {size} is no multiple of {factor}")
            self.bind(dim, size // factor, name)
            if star:
                self.axes.setdefault(dim, tuple(axes))

    def of(self, name: str) -> int:
        if name not in self.known:
            raise ValueError(f"{self.function}: {name} does not follow from the arrays; give it")
        return self.known[name][0]

    def new(self, dims: Any, dtype: str, zero: bool) -> "numpy.ndarray[Any, Any]":
        shape: list[int] = []
        for factor, dim, star in dims:
            shape += self.axes[dim] if star and dim in self.axes else (factor * self.of(dim),)
        return (numpy.zeros if zero else numpy.empty)(shape, _DTYPES[dtype])


def _lists(function: str, spec: Any, given: dict[str, Any]) -> Optional[list[int]]:
    """Checks the lists of tensors against each other; the sizes of their tensors."""
    sizes: Optional[list[int]] = None
    first = ""
    for item in spec:
        if item[0] != "list" or given[item[1]] is None:
            continue
        _, name, dtype, kind, _ = item
        arrays = [array(function, f"{name}[{i}]", a, dtype, kind != "in") for i, a in enumerate(given[name])]
        found = [a.size for a in arrays]
        if sizes is None:
            sizes, first = found, name
        elif sizes != found:
            raise ValueError(f"{function}: the sizes of {name} are {found}, those of {first} are {sizes}")
    return sizes


def call(spec: Any, ctx: Optional[Context] = None, **given: Any) -> Any:
    """Calls the function that `spec` (see _functions.py) describes with the arguments by name."""
    function, result = spec[0], spec[1]
    params = spec[2:]
    sizes = _Sizes(function)
    listed = _lists(function, params, given)
    if listed is not None:
        sizes.bind("count", len(listed), "the lists")
    for item in params:
        if item[0] == "size" and given.get(item[1]) is not None:
            sizes.bind(item[1], int(given[item[1]]), item[1])
        elif item[0] in ("in", "inout", "out"):
            kind, name, dtype, dims, ld, _ = item
            value = given[name]
            if value is None or value is True or value is False:
                if value is None and kind != "out" and not item[5]:
                    raise TypeError(f"{function}: {name} is None")
                continue
            value = array(function, name, value, dtype, kind != "in", contiguous=not ld)
            sizes.shape(name, value, dims)
            if ld:
                rows, step = value.strides
                if value.shape[1] > 1 and step != value.itemsize or rows % value.itemsize or rows < value.shape[1] * value.itemsize:
                    raise ValueError(f"{function}: the rows of {name} are not contiguous: its strides are {value.strides}")
                sizes.bind(ld, max(rows // value.itemsize, value.shape[1]), name)
    arguments: list[Any] = []
    outputs: list[Any] = []
    keep: list[Any] = []
    for item in params:
        kind = item[0]
        if kind == "ctx":
            arguments.append(ctx._handle if ctx is not None else None)
        elif kind == "size":
            arguments.append(ctypes.c_size_t(sizes.of(item[1])))
        elif kind == "scalar":
            arguments.append(item[2](given[item[1]]))
        elif kind == "enum":
            arguments.append(ctypes.c_int32(enum_value(item[2], given[item[1]], item[1])))
        elif kind == "number":
            number = item[2]()
            arguments.append(ctypes.byref(number))
            outputs.append(number)
        elif kind == "struct":
            _, name, direction, cls = item
            value = given.get(name)
            if value is None and direction in ("in", "out"):
                value = cls()
            if value is not None and not isinstance(value, cls):
                raise TypeError(f"{function}: {name} is a {type(value).__name__}, not a {cls.__name__}")
            arguments.append(None if value is None else ctypes.byref(value))
            keep.append(value)
            if direction == "out":
                outputs.append(value)
        elif kind == "sizes":
            arguments.append((ctypes.c_size_t * len(listed or []))(*(listed or [])))
        elif kind == "list":
            value = given[item[1]]
            if value is None:
                arguments.append(None)
            else:
                arguments.append((ctypes.c_void_p * len(value))(*(a.ctypes.data for a in value)))
        else:
            _, name, dtype, dims, _, optional = item
            value = given[name]
            if value is True or (value is None and kind == "out" and not optional):
                # What is added to begins as zeros.
                value = sizes.new(dims, dtype, bool(given.get("accumulate")))
            elif value is False:
                value = None
            arguments.append(None if value is None else ctypes.c_void_p(value.ctypes.data))
            if kind == "out":
                outputs.append(value)
            keep.append(value)
    check(getattr(lib, f"ek_{function}")(*arguments))
    if result is None:
        return None
    outputs = [o.value if isinstance(o, ctypes._SimpleCData) else o for o in outputs]
    return outputs[0] if result is True else result(*outputs)
