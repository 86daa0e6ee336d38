#!/usr/bin/env python3
"""Clip and update against PyTorch by turns: GPT-2's 124 million parameters in 148 tensors, or 100 tensors of 1000.

    pip install torch
    cargo build --release
    benches/optim_torch.py [--threads N] [--library target/release/libevenkeel.so] [WORD ...]

Each contestant has its own parameters and states; the gradients are the same. The best of several turns counts. PyTorch runs
clip_grad_norm_ (its foreach form, the faster one) and then its optimizer: AdamW and SGD fused, RMSprop foreach or as a loop, since
it has no fused one. WORDs choose cases.
"""

import argparse
import ctypes as c
import time

import torch

MODES = dict(none=0, global_norm=1)


class Clip(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("mode", c.c_int32), ("threshold", c.c_float), ("loss_scale", c.c_float),
                ("nonfinite", c.c_int32), ("known_sum_sq", c.c_double)]


class Sgd(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("lr", c.c_double), ("momentum", c.c_double), ("dampening", c.c_double),
                ("weight_decay", c.c_double), ("nesterov", c.c_bool), ("first_step", c.c_bool), ("stochastic", c.c_bool),
                ("seed", c.c_uint64)]


class Adam(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("lr", c.c_double), ("beta1", c.c_double), ("beta2", c.c_double),
                ("eps", c.c_double), ("weight_decay", c.c_double), ("decoupled", c.c_bool), ("step", c.c_uint64),
                ("second_moment", c.c_int32), ("stochastic", c.c_bool), ("seed", c.c_uint64)]


class Rmsprop(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("lr", c.c_double), ("alpha", c.c_double), ("eps", c.c_double),
                ("weight_decay", c.c_double), ("momentum", c.c_double), ("centered", c.c_bool), ("second_moment", c.c_int32)]


def gpt2():
    layer = [768, 768, 768 * 2304, 2304, 768 * 768, 768, 768, 768, 768 * 3072, 3072, 3072 * 768, 768]
    return [50257 * 768, 1024 * 768] + layer * 12 + [768, 768]


class Ours:
    """Lists of pointers to torch's own memory."""

    def __init__(self, library, sizes, grads, report):
        self.ek = c.CDLL(library)
        self.n = len(sizes)
        self.sizes = (c.c_size_t * self.n)(*sizes)
        self.grads = self.pointers(grads)
        self.report = c.create_string_buffer(256) if report else None
        if report:
            self.ek.ek_step_report_init(self.report)
        self.keep = []

    def pointers(self, tensors):
        return (c.c_void_p * self.n)(*[t.data_ptr() for t in tensors])

    def zeros(self):
        tensors = [torch.zeros(size) for size in self.sizes]
        self.keep.append(tensors)
        return self.pointers(tensors)

    def options(self, kind, name, **values):
        options = kind()
        getattr(self.ek, f"ek_{name}_options_init")(c.byref(options))
        assert options.struct_size == c.sizeof(kind), name
        for key, value in values.items():
            setattr(options, key, value)
        return options

    def step(self, rule, options, states, known=-1.0):
        clip = self.options(Clip, "clip", mode=1, threshold=1.0, known_sum_sq=known)
        call = getattr(self.ek, f"ek_clip_{rule}_f32")
        params = self.zeros()

        def run():
            status = call(None, c.byref(clip), c.byref(options), c.c_size_t(self.n), self.sizes, params, self.grads, *states,
                          self.report)
            assert status == 0, status
        return run


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--library", default="target/release/libevenkeel.so")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--report", action="store_true", help="have evenkeel take the norms of update and parameters too")
    parser.add_argument("words", nargs="*")
    args = parser.parse_args()
    import os
    os.environ["EK_NUM_THREADS"] = str(args.threads)
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    sizes = [1000] * 100 if args.small else gpt2()
    params = [torch.nn.Parameter(torch.zeros(size)) for size in sizes]
    for p in params:
        p.grad = torch.empty_like(p).uniform_(-1, 1)
    ours = Ours(args.library, sizes, [p.grad for p in params], args.report)
    known = float(sum((p.grad.double() ** 2).sum() for p in params))

    def torchs(make):
        rule = make(params)

        def run():
            # A norm of 1 after the first call; the passes over memory stay the same.
            torch.nn.utils.clip_grad_norm_(params, 1.0, foreach=True)
            rule.step()
        return run

    def cases():
        adam = ours.options(Adam, "adam", lr=1e-6, weight_decay=0.01, decoupled=True, step=10)
        states = ours.zeros(), ours.zeros()
        yield "adamw", [
            ("evenkeel", ours.step("adam", adam, states)),
            ("evenkeel, norm known", ours.step("adam", adam, states, known)),
            ("torch fused", torchs(lambda p: torch.optim.AdamW(p, lr=1e-6, fused=True))),
        ]
        sgd = ours.options(Sgd, "sgd", lr=1e-6, momentum=0.9)
        yield "sgd momentum", [
            ("evenkeel", ours.step("sgd", sgd, (ours.zeros(),))),
            ("torch fused", torchs(lambda p: torch.optim.SGD(p, lr=1e-6, momentum=0.9, fused=True))),
        ]
        plain = ours.options(Sgd, "sgd", lr=1e-6)
        yield "sgd", [
            ("evenkeel", ours.step("sgd", plain, (None,))),
            ("torch fused", torchs(lambda p: torch.optim.SGD(p, lr=1e-6, fused=True))),
        ]
        rmsprop = ours.options(Rmsprop, "rmsprop", lr=1e-6)
        yield "rmsprop", [
            ("evenkeel", ours.step("rmsprop", rmsprop, (ours.zeros(), None, None))),
            ("torch foreach", torchs(lambda p: torch.optim.RMSprop(p, lr=1e-6, foreach=True))),
            ("torch loop", torchs(lambda p: torch.optim.RMSprop(p, lr=1e-6, foreach=False))),
        ]

    for name, contestants in cases():
        if args.words and name not in args.words:
            continue
        best = {who: float("inf") for who, _ in contestants}
        for turn in range(args.turns + 1):
            for who, run in contestants:
                for _ in range(20 if args.small else 1):
                    start = time.perf_counter()
                    run()
                    if turn > 0:
                        best[who] = min(best[who], time.perf_counter() - start)
        least = min(best.values())
        line = "; ".join(f"{who} {1e3 * t:.3f} ms ({t / least:.2f})" for who, t in best.items())
        print(f"clip + {name}, {args.threads} threads: {line}", flush=True)


main()
