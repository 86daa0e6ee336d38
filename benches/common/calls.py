"""The library's C functions by ctypes, for benchmarks beside PyTorch: no checks but the status."""

import ctypes as c

import torch


class Options(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("num_threads", c.c_size_t), ("isa", c.c_int32), ("parallel_for", c.c_void_p),
                ("user_data", c.c_void_p), ("batch_invariant", c.c_bool), ("flush_subnormals", c.c_bool)]


class Library:
    """A library and a context of it. Calling it with a function's name and arguments makes the call ready to run: tensors
    go as pointers, which it keeps alive, None as NULL, integers as sizes, floats as f32."""

    def __init__(self, path, threads):
        self.lib, self.ctx, options = c.CDLL(path), c.c_void_p(), Options()
        self.lib.ek_last_error.restype = c.c_char_p
        self.lib.ek_context_options_init(c.byref(options))
        options.num_threads = threads
        assert self.lib.ek_context_create(c.byref(options), c.byref(self.ctx)) == 0, self.lib.ek_last_error()

    def __call__(self, name, *args):
        f = getattr(self.lib, name)
        converted = [self.ctx] + [self.argument(a) for a in args]

        def run(keep=args):
            assert f(*converted) == 0, self.lib.ek_last_error()

        return run

    @staticmethod
    def argument(a):
        if isinstance(a, torch.Tensor):
            return c.c_void_p(a.data_ptr())
        if a is None:
            return c.c_void_p()
        if isinstance(a, bool):
            return c.c_bool(a)
        if isinstance(a, int):
            return c.c_size_t(a)
        return c.c_float(a) if isinstance(a, float) else a
