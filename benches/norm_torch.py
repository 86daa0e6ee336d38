#!/usr/bin/env python3
"""Activations, softmax, cross-entropy and norms beside PyTorch, by turns in one process.

    pip install torch
    cargo build --release
    benches/norm_torch.py [--threads N] [--seconds S] [--library target/release/libevenkeel.so] [WORD ...]

The best of several turns counts. PyTorch writes into tensors it is given where it has a function that does, and glibc
keeps freed memory, however large: else each result of 32 MiB and more would be faulted in anew, and the win would be the
allocator's. The gradients of cross-entropy and RMS norm come from autograd. WORDs choose cases by parts of their lines.
"""

import argparse
import ctypes as c
import math
import time

libc = c.CDLL(None)
# M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD: nothing by mmap, nothing given back.
for what, value in ((-4, 0), (-1, 2**31 - 1), (-2, 256 << 20)):
    libc.mallopt(what, value)

import torch  # noqa: E402: after malloc's settings
import torch.nn.functional as F  # noqa: E402

from common.calls import Library  # noqa: E402

aten = torch.ops.aten


def activations(ours):
    i32 = c.c_int32
    for size, n in (("4Ki", 1 << 12), ("256Ki", 1 << 18), ("16Mi", 1 << 24)):
        z, dy, y, dz = 3 * torch.randn(n), torch.randn(n), torch.empty(n), torch.empty(n)
        forward = {
            "relu": (1, lambda out: torch.clamp_min(z, 0, out=out)),
            "elu": (3, lambda out: aten.elu.out(z, out=out)),
            "gelu": (6, lambda out: aten.gelu.out(z, out=out)),
            "gelu_tanh": (7, lambda out: aten.gelu.out(z, approximate="tanh", out=out)),
            "silu": (8, lambda out: aten.silu.out(z, out=out)),
            "mish": (9, lambda out: aten.mish.out(z, out=out)),
            "sigmoid": (10, lambda out: torch.sigmoid(z, out=out)),
            "tanh": (11, lambda out: torch.tanh(z, out=out)),
            "softplus": (12, lambda out: aten.softplus.out(z, out=out)),
        }
        s, t = torch.sigmoid(z), torch.tanh(z)
        backward = {
            "relu": (1, lambda out: aten.threshold_backward.grad_input(dy, z, 0, grad_input=out)),
            "elu": (3, lambda out: aten.elu_backward.grad_input(dy, 1, 1, 1, False, z, grad_input=out)),
            "gelu": (6, lambda out: aten.gelu_backward.grad_input(dy, z, grad_input=out)),
            "gelu_tanh": (7, lambda out: aten.gelu_backward.grad_input(dy, z, approximate="tanh", grad_input=out)),
            "silu": (8, lambda out: aten.silu_backward.grad_input(dy, z, grad_input=out)),
            "mish": (9, lambda out: aten.mish_backward(dy, z)),
            "sigmoid": (10, lambda out: aten.sigmoid_backward.grad_input(dy, s, grad_input=out)),
            "tanh": (11, lambda out: aten.tanh_backward.grad_input(dy, t, grad_input=out)),
            "softplus": (12, lambda out: aten.softplus_backward.grad_input(dy, z, 1, 20, grad_input=out)),
        }
        theirs = torch.empty(n)
        for name, (act, f) in forward.items():
            yield f"{name} forward {size}", n * 8, ours("ek_activation_forward_f32", i32(act), 1.0, n, z, y), lambda f=f: f(theirs)
        # PyTorch's sigmoid and tanh come from the output, ours from z, whose saturation they keep.
        for name, (act, f) in backward.items():
            run = ours("ek_activation_backward_f32", i32(act), 1.0, n, z, dy, dz)
            yield f"{name} backward {size}", n * 12, run, lambda f=f: f(theirs)


def softmaxes(ours):
    for rows, cols in ((512, 512), (4096, 512), (65536, 8), (16384, 64), (512, 32000)):
        n, shape = rows * cols, f"{rows}x{cols}"
        x, dy = 2 * torch.randn(rows, cols), torch.randn(rows, cols)
        y, ly, dx, out = (torch.empty(rows, cols) for _ in range(4))
        torch.softmax(x, 1, out=y)
        ly = torch.log_softmax(x, 1)
        ours_y = torch.empty(rows, cols)
        yield f"softmax forward {shape}", n * 8, ours("ek_softmax_forward_f32", rows, cols, x, ours_y), lambda: aten._softmax.out(x, 1, False, out=out)
        yield f"softmax backward {shape}", n * 12, ours("ek_softmax_backward_f32", rows, cols, y, dy, dx), lambda: aten._softmax_backward_data.out(dy, y, 1, torch.float32, grad_input=out)
        yield f"log_softmax forward {shape}", n * 8, ours("ek_log_softmax_forward_f32", rows, cols, x, ours_y), lambda: aten._log_softmax.out(x, 1, False, out=out)
        yield f"log_softmax backward {shape}", n * 12, ours("ek_log_softmax_backward_f32", rows, cols, ly, dy, dx), lambda: aten._log_softmax_backward_data.out(dy, ly, 1, torch.float32, out=out)
        targets = torch.randint(0, cols, (rows,))
        xg, losses, mean, dl = x.clone().requires_grad_(), torch.empty(rows), torch.empty(1, dtype=torch.float64), torch.empty(rows, cols)

        def theirs(xg=xg, targets=targets):
            loss = F.cross_entropy(xg, targets)
            return torch.autograd.grad(loss, xg)[0]

        run = ours("ek_cross_entropy_f32", 0.0, c.c_int64(-100), 1.0 / rows, rows, cols, x, targets, losses, mean, dl)
        yield f"cross_entropy with gradient {shape}", n * 8, run, theirs


def rows_norms(ours):
    for rows, cols in ((256, 1024), (4096, 768), (8192, 1024), (16384, 64), (16384, 16)):
        n, shape = rows * cols, f"{rows}x{cols}"
        x, dy = 2 * torch.randn(rows, cols) + 1, torch.randn(rows, cols)
        w, b = torch.randn(cols), torch.randn(cols)
        y, dx, mean, rstd = torch.empty(rows, cols), torch.empty(rows, cols), torch.empty(rows), torch.empty(rows)
        dw, db = torch.empty(cols), torch.empty(cols)
        forward = ours("ek_layer_norm_forward_f32", 1e-5, rows, cols, x, w, b, y, mean, rstd)
        yield f"layer_norm forward {shape}", n * 8, forward, lambda: aten.native_layer_norm(x, [cols], w, b, 1e-5)[0]
        forward()
        _, tm, tr = aten.native_layer_norm(x, [cols], w, b, 1e-5)
        backward = ours("ek_layer_norm_backward_f32", rows, cols, dy, x, mean, rstd, w, False, dx, dw, db)
        yield f"layer_norm backward {shape}", n * 12, backward, lambda: aten.native_layer_norm_backward(dy, x, [cols], tm, tr, w, b, [True] * 3)[0]
        forward = ours("ek_rms_norm_forward_f32", 1e-5, rows, cols, x, w, y, rstd)
        yield f"rms_norm forward {shape}", n * 8, forward, lambda: F.rms_norm(x, [cols], w, 1e-5)
        xg, wg, ours_rstd = x.clone().requires_grad_(), w.clone().requires_grad_(), torch.empty(rows)
        ours("ek_rms_norm_forward_f32", 1e-5, rows, cols, x, w, y, ours_rstd)()
        with torch.enable_grad():
            z = F.rms_norm(xg, [cols], wg, 1e-5)
        backward = ours("ek_rms_norm_backward_f32", rows, cols, dy, x, ours_rstd, w, False, dx, dw)
        yield f"rms_norm backward {shape}", n * 12, backward, lambda: torch.autograd.grad(z, (xg, wg), dy, retain_graph=True)[0]


def channel_norms(ours):
    for batch, channels, spatial in ((256, 1024, 1), (4096, 1024, 1), (8, 64, 784), (32, 64, 3136)):
        n, shape = batch * channels * spatial, f"{batch}x{channels}x{spatial}"
        x, dy = 2 * torch.randn(batch, channels, spatial) + 1, torch.randn(batch, channels, spatial)
        if spatial == 1:
            x, dy = x[:, :, 0].contiguous(), dy[:, :, 0].contiguous()
        w, b, rm, rv = torch.randn(channels), torch.randn(channels), torch.zeros(channels), torch.ones(channels)
        y, dx, mean, rstd, dw, db = torch.empty_like(x), torch.empty_like(x), *(torch.empty(channels) for _ in range(4))
        dims = (batch, channels, spatial)
        forward = ours("ek_batch_norm_forward_train_f32", 1e-5, 0.1, *dims, x, w, b, rm.clone(), rv.clone(), y, mean, rstd)
        yield f"batch_norm forward {shape}", n * 8, forward, lambda: aten.native_batch_norm(x, w, b, rm, rv, True, 0.1, 1e-5)[0]
        forward()
        _, tm, tr = aten.native_batch_norm(x, w, b, rm, rv, True, 0.1, 1e-5)
        backward = ours("ek_batch_norm_backward_f32", *dims, dy, x, mean, rstd, w, False, dx, dw, db)
        yield f"batch_norm backward {shape}", n * 12, backward, lambda: aten.native_batch_norm_backward(dy, x, w, rm, rv, tm, tr, True, 1e-5, [True] * 3)[0]
        groups = 32 if channels % 32 == 0 else 1
        gm, gr = torch.empty(batch, groups), torch.empty(batch, groups)
        forward = ours("ek_group_norm_forward_f32", 1e-5, *dims, groups, x, w, b, y, gm, gr)
        yield f"group_norm forward {shape}", n * 8, forward, lambda: aten.native_group_norm(x, w, b, batch, channels, spatial, groups, 1e-5)[0]
        forward()
        _, tgm, tgr = aten.native_group_norm(x, w, b, batch, channels, spatial, groups, 1e-5)
        backward = ours("ek_group_norm_backward_f32", *dims, groups, dy, x, gm, gr, w, False, dx, dw, db)
        yield f"group_norm backward {shape}", n * 12, backward, lambda: aten.native_group_norm_backward(dy, x, tgm, tgr, w, batch, channels, spatial, groups, [True] * 3)[0]


def contest(runs, seconds):
    """The best seconds of each, by turns of several samples."""
    repeats, best = [], [math.inf] * len(runs)
    for run in runs:
        run()
        start = time.perf_counter()
        run()
        repeats.append(max(1, min(1000, int(5e-5 / max(time.perf_counter() - start, 1e-7)))))
    end = time.perf_counter() + seconds * len(runs)
    while True:
        for i, run in enumerate(runs):
            for _ in range(3):
                start = time.perf_counter()
                for _ in range(repeats[i]):
                    run()
                best[i] = min(best[i], (time.perf_counter() - start) / repeats[i])
        if time.perf_counter() > end:
            return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.15)
    parser.add_argument("--library", default="target/release/libevenkeel.so")
    parser.add_argument("words", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    ours = Library(args.library, args.threads)
    print(f"PyTorch {torch.__version__}, {args.threads} thread(s); µs, GB/s of ideal traffic")
    print(f"{'case':<44}{'evenkeel':>18}{'PyTorch':>18}{'ratio':>8}")
    for family in (activations, softmaxes, rows_norms, channel_norms):
        with torch.no_grad():
            for name, traffic, run, theirs in family(ours):
                if args.words and not any(w in name for w in args.words):
                    continue

                def peer(theirs=theirs, graph="cross_entropy" in name):
                    with torch.set_grad_enabled(graph):
                        theirs()

                a, b = contest([run, peer], args.seconds)
                print(f"{name:<44}{a * 1e6:>10.1f}{traffic / a / 1e9:>8.1f}{b * 1e6:>10.1f}{traffic / b / 1e9:>8.1f}{b / a:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
