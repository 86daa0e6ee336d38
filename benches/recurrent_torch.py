"""Recurrences of evenkeel beside PyTorch's, forward + backward, by turns in one process.

usage: python3 recurrent_torch.py libevenkeel.so [threads] [words]

Whole sequences, torch.nn.LSTM, GRU and RNN; then single cells with their products, torch.nn.LSTMCell, GRUCell and RNNCell
against ours from `linear` and `cell` functions. Runs the cases whose line contains one of the words. Results are compared
before they are timed. Operations are those of the products, 6·G·H·(I + H) for each row of each step, with I = H.
"""
import ctypes, sys, time
import torch
from common.calls import Library

threads = int(sys.argv[2]) if len(sys.argv) > 2 else 1
words = sys.argv[3:]
torch.set_num_threads(threads)
library = Library(sys.argv[1], threads)
IDENTITY, TANH = 0, 11

def call(name, *args):
    return library(f"ek_{name}_f32", *args)

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
no = False
act = (ctypes.c_int32(TANH), 0.0)

def sequence(kind, T, N, H):
    """Ours and theirs, and the results of both."""
    G = GATES[kind] * H
    net = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[kind](H, H)
    x = torch.randn(T, N, H).requires_grad_()
    dy = torch.randn(T, N, H)
    w_ih, w_hh, b, b2 = (p.detach() for p in net.parameters())
    both = b + b2
    h, c, z, zh = torch.empty(T, N, H), torch.empty(T, N, H), torch.empty(T, N, G), torch.empty(T, N, G)
    dx, dw, dwh, db, db2 = torch.empty(T, N, H), torch.empty(G, H), torch.empty(G, H), torch.empty(G), torch.empty(G)
    shape, weights = (T, N, H, H), (w_ih, w_hh)
    if kind == "lstm":
        runs = [call("lstm_forward", *shape, x, None, *weights, both, None, None, h, c, z),
                call("lstm_backward", *shape, x, None, *weights, None, None, h, c, z, dy, None, None, no, dx, dw, dwh, db,
                     None, None, None)]
    elif kind == "gru":
        runs = [call("gru_forward", *shape, x, None, *weights, b, b2, None, h, z, zh),
                call("gru_backward", *shape, x, None, *weights, None, h, z, zh, dy, None, no, dx, dw, dwh, db, db2, None,
                     None)]
    else:
        runs = [call("rnn_forward", *act, *shape, x, None, *weights, both, None, h, z),
                call("rnn_backward", *act, *shape, x, None, *weights, None, h, z, dy, None, no, dx, dw, dwh, db, None,
                     None)]
    def ours():
        for run in runs:
            run()
        return h, dx, dw, dwh, db
    def theirs():
        y, _ = net(x)
        grads = torch.autograd.grad(y, [x, *net.parameters()], dy)
        return y.detach(), *grads[:4]
    return ours, theirs, 6 * T * N * 2 * H * G

def cell(kind, N, H):
    """A step as a user would write it: two products, the gates, and back to everything that asks for a gradient."""
    G = GATES[kind] * H
    net = {"lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell, "rnn": torch.nn.RNNCell}[kind](H, H)
    x, h0, c0 = (torch.randn(N, H).requires_grad_() for _ in range(3))
    dy = torch.randn(N, H)
    w_ih, w_hh, b, b2 = (p.detach() for p in net.parameters())
    h, c, dx, dh0, dc0 = (torch.empty(N, H) for _ in range(5))
    z, zh, dz, dzh = (torch.empty(N, G) for _ in range(4))
    dw, dwh, db, db2 = torch.empty(G, H), torch.empty(G, H), torch.empty(G), torch.empty(G)
    plain = (ctypes.c_int32(IDENTITY), 0.0)
    forward = lambda x, w, b, y: call("linear_forward", *plain, N, H, G, x, w, b, None, y)
    back = lambda dy, w, dx: call("linear_backward_input", *plain, N, H, G, dy, w, None, dx)
    weight = lambda dy, x, dw, db: call("linear_backward_weight", N, H, G, dy, x, no, dw, db, None)
    def product(transposed, m, n, k, a, b, c):  # c += a·b
        return call("matmul", ctypes.c_int32(0), ctypes.c_int32(transposed), m, n, k, 1.0, a, k, b, k if transposed else n,
                    1.0, c, n)
    if kind == "gru":
        runs = [forward(x, w_ih, b, z), forward(h0, w_hh, b2, zh), call("gru_cell_forward", N, H, z, zh, h0, h),
                call("gru_cell_backward", N, H, z, zh, h0, dy, dz, dzh, dh0), back(dz, w_ih, dx),
                product(0, N, H, G, dzh, w_hh, dh0), weight(dz, x, dw, db), weight(dzh, h0, dwh, db2)]
    else:
        runs = [forward(x, w_ih, b + b2, z), product(1, N, G, H, h0, w_hh, z)]
        if kind == "lstm":
            runs += [call("lstm_cell_forward", N, H, z, c0, c, h),
                     call("lstm_cell_backward", N, H, z, c0, c, dy, None, dz, dc0)]
        else:
            runs += [call("activation_forward", *act, N * G, z, h), call("activation_backward", *act, N * G, z, dy, dz)]
        runs += [back(dz, w_ih, dx), back(dz, w_hh, dh0), weight(dz, x, dw, db), weight(dz, h0, dwh, None)]
    def ours():
        for run in runs:
            run()
        return h, dx, dh0, dw, dwh, db
    def theirs():
        y = net(x, (h0, c0))[0] if kind == "lstm" else net(x, h0)
        wants = [x, h0, *net.parameters()] + ([c0] if kind == "lstm" else [])
        grads = torch.autograd.grad(y, wants, dy)
        return y.detach(), *grads[:5]
    return ours, theirs, 6 * N * 2 * H * G

def contest(name, ours, theirs, operations):
    if words and not any(word in name for word in words):
        return
    for a, b in zip(ours(), theirs()):
        worst = ((a - b).abs().max() / b.abs().max()).item()
        assert worst < 1e-4, f"{name}: results differ by {worst:.1e} of the largest"
    best, times = [1e9, 1e9], [1, 1]
    for i, run in enumerate((ours, theirs)):
        start = time.perf_counter(); run()
        times[i] = max(2, int(0.02 / (time.perf_counter() - start)))
    for _ in range(6):
        for i, run in enumerate((ours, theirs)):
            run()  # Whoever ran before has left its threads spinning.
            for _ in range(times[i]):
                start = time.perf_counter(); run(); best[i] = min(best[i], time.perf_counter() - start)
    us = [t * 1e6 for t in best]
    gf = [operations / t / 1e9 for t in best]
    print(f"{name:<22}{threads:>8}{us[0]:>12.1f}{us[1]:>12.1f}{gf[0]:>10.1f}{gf[1]:>9.1f}{gf[0] / gf[1]:>7.2f}", flush=True)

torch.manual_seed(0)
print(f"{'forward + backward':<22}{'threads':>8}{'our µs':>12}{'torch µs':>12}{'GFLOP/s':>10}{'torch':>9}{'ratio':>7}")
print(f"torch {torch.__version__}")
for T, N, H in [(128, 32, 256), (128, 32, 512), (50, 32, 256), (50, 32, 512), (128, 1, 256), (128, 1, 512), (50, 1, 256),
                (50, 1, 512)]:
    for kind in GATES:
        name = f"{kind} T={T} N={N} H={H}"
        if not words or any(word in name for word in words):
            contest(name, *sequence(kind, T, N, H))
for N in (32, 1):
    for kind in GATES:
        name = f"{kind} cell N={N} H=256"
        if not words or any(word in name for word in words):
            contest(name, *cell(kind, N, 256))
