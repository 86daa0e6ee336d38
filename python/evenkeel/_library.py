"""Finds the shared library and declares what every function of it returns."""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes.util import find_library
from pathlib import Path


def _candidates() -> list[str]:
    """Where it may be, the first first: EVENKEEL_LIBRARY, the wheel, the system."""
    named = os.environ.get("EVENKEEL_LIBRARY")
    if named:
        return [named]
    package = Path(__file__).parent
    suffix = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
    inside = sorted(package.glob(f"*evenkeel*{suffix}")) + sorted(package.glob("_native/*.so"))
    return [str(path) for path in inside] + [name for name in [find_library("evenkeel")] if name] + [f"libevenkeel{suffix}"]


def load() -> ctypes.CDLL:
    """The library. CDLL, unlike PyDLL, releases the interpreter's lock during each call."""
    reasons = []
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
        except OSError as error:
            reasons.append(str(error))
            continue
        for text in ("version_string", "last_error", "status_string", "isa_name"):
            getattr(library, f"ek_{text}").restype = ctypes.c_char_p
        library.ek_version.restype = ctypes.c_uint32
        library.ek_context_num_threads.restype = ctypes.c_size_t
        library.ek_context_num_threads.argtypes = [ctypes.c_void_p]
        library.ek_context_isa.argtypes = [ctypes.c_void_p]
        library.ek_context_destroy.argtypes = [ctypes.c_void_p]
        library.ek_context_destroy.restype = None
        return library
    raise ImportError("evenkeel's shared library was not found; EVENKEEL_LIBRARY may name it: " + "; ".join(reasons))


lib = load()
