"""Causal attention of evenkeel beside PyTorch's scaled_dot_product_attention, by turns in one process.

usage: python3 attention_torch.py libevenkeel.so [threads] [batch heads seq head_dim]
"""
import sys, time
import torch
import torch.nn.functional as F
from common.calls import Library

threads = int(sys.argv[2]) if len(sys.argv) > 2 else 1
B, H, T, D = map(int, sys.argv[3:7]) if len(sys.argv) > 6 else (4, 12, 512, 64)
torch.set_num_threads(threads)
library = Library(sys.argv[1], threads)

torch.manual_seed(0)
q, k, v, go = (torch.randn(B, H, T, D) for _ in range(4))
out, lse = torch.empty_like(q), torch.empty(B, H, T)
dq, dk, dv = (torch.empty_like(q) for _ in range(3))
shape = [D ** -0.5, True, B, H, H, T, T, D]

ours_forward = library("ek_attention_forward_f32", *shape, q, k, v, out, lse)
ours_backward = library("ek_attention_backward_f32", *shape, q, k, v, out, lse, go, dq, dk, dv)
def ours_both():
    ours_forward()
    ours_backward()
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
