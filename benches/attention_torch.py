"""Causal attention of evenkeel beside PyTorch's scaled_dot_product_attention, by turns in one process.

usage: python3 attention_torch.py libevenkeel.so [threads] [batch heads seq head_dim]
"""
import ctypes, sys, time
import torch
import torch.nn.functional as F

lib = ctypes.CDLL(sys.argv[1])
threads = int(sys.argv[2]) if len(sys.argv) > 2 else 1
B, H, T, D = map(int, sys.argv[3:7]) if len(sys.argv) > 6 else (4, 12, 512, 64)
torch.set_num_threads(threads)
size, ptr = ctypes.c_size_t, ctypes.c_void_p

class Options(ctypes.Structure):
    _fields_ = [("struct_size", size), ("num_threads", size), ("isa", ctypes.c_int32), ("parallel_for", ptr),
                ("user_data", ptr), ("batch_invariant", ctypes.c_bool), ("flush_subnormals", ctypes.c_bool)]

options, ctx = Options(), ptr()
lib.ek_context_options_init(ctypes.byref(options))
options.num_threads = threads
assert lib.ek_context_create(ctypes.byref(options), ctypes.byref(ctx)) == 0

torch.manual_seed(0)
q, k, v, go = (torch.randn(B, H, T, D) for _ in range(4))
out, lse = torch.empty_like(q), torch.empty(B, H, T)
dq, dk, dv = (torch.empty_like(q) for _ in range(3))
p = lambda *t: [ptr(x.data_ptr()) for x in t]
shape = [ctypes.c_float(D ** -0.5), ctypes.c_bool(True)] + [size(n) for n in (B, H, H, T, T, D)]

def ours_forward():
    assert lib.ek_attention_forward_f32(ctx, *shape, *p(q, k, v, out, lse)) == 0
def ours_both():
    ours_forward()
    assert lib.ek_attention_backward_f32(ctx, *shape, *p(q, k, v, out, lse, go, dq, dk, dv)) == 0
qg, kg, vg = (t.clone().requires_grad_() for t in (q, k, v))
def theirs_forward():
    with torch.no_grad():
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
def theirs_both():
    y = F.scaled_dot_product_attention(qg, kg, vg, is_causal=True)
    return torch.autograd.grad(y, (qg, kg, vg), go)

ours_both()
want, grads = theirs_forward(), theirs_both()
for name, a, b in [("out", out, want), ("dq", dq, grads[0]), ("dk", dk, grads[1]), ("dv", dv, grads[2])]:
    print(f"{name}: largest difference {(a - b).abs().max().item():.1e}")
fl = 2 * B * H * T * T * D / 1e9
contest = [("forward", 1.0, ours_forward, theirs_forward), ("forward + backward", 3.5, ours_both, theirs_both)]
for name, times, *runs in contest:
    best = [1e9, 1e9]
    for _ in range(12):
        for i, run in enumerate(runs):
            for _ in range(3):
                start = time.perf_counter(); run(); best[i] = min(best[i], time.perf_counter() - start)
    a, b = (times * fl / t for t in best)
    print(f"{name:<20} threads {threads}: evenkeel {a:6.1f} GFLOP/s, torch {torch.__version__} {b:6.1f}: {a / b:.2f}")
