"""Writes tests/data/recurrent.txt: what PyTorch's nn.RNN, nn.GRU and nn.LSTM compute, forward and backward.

Usage: python scripts/recurrent_vectors.py > tests/data/recurrent.txt   (made with PyTorch 2.15 on a CPU)

A case is a line "case KIND seq batch input hidden", then a line "name numbers…" for each tensor: weights, inputs, the
upstream gradients, the outputs, and the gradients. One case of each kind has lengths: PyTorch then pads its outputs
with zeros and returns every row's last state, whose gradient is part of the loss.
"""

import sys

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

torch.manual_seed(5)
torch.set_num_threads(1)


def show(name, tensor):
    print(name, *(f"{v:.9g}" for v in tensor.detach().flatten().tolist()))


def case(kind, seq, batch, inputs, hidden, lengths=None, scale=1.0):
    make = {
        "tanh": lambda: torch.nn.RNN(inputs, hidden),
        "relu": lambda: torch.nn.RNN(inputs, hidden, nonlinearity="relu"),
        "lstm": lambda: torch.nn.LSTM(inputs, hidden),
        "gru": lambda: torch.nn.GRU(inputs, hidden),
    }
    net = make[kind]()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(scale)
    x = torch.randn(seq, batch, inputs, requires_grad=True)
    h0 = torch.randn(1, batch, hidden, requires_grad=True)
    c0 = torch.randn(1, batch, hidden, requires_grad=True)
    state = (h0, c0) if kind == "lstm" else h0
    if lengths is None:
        out, last = net(x, state)
    else:
        packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
        out, last = net(packed, state)
        out, _ = pad_packed_sequence(out, total_length=seq)
    hn, cn = last if kind == "lstm" else (last, None)
    dh, dh_last, dc_last = torch.randn_like(out), torch.randn_like(hn), torch.randn_like(hn)
    loss = (out * dh).sum() + (hn * dh_last).sum()
    if cn is not None:
        loss = loss + (cn * dc_last).sum()
    loss.backward()

    print("case", kind, seq, batch, inputs, hidden)
    if lengths is not None:
        print("lengths", *lengths)
    show("w_ih", net.weight_ih_l0)
    show("w_hh", net.weight_hh_l0)
    show("b_ih", net.bias_ih_l0)
    show("b_hh", net.bias_hh_l0)
    show("x", x)
    show("h0", h0)
    show("dh", dh)
    show("dh_last", dh_last)
    show("out", out)
    show("h_last", hn)
    show("dx", x.grad)
    show("dh0", h0.grad)
    show("dw_ih", net.weight_ih_l0.grad)
    show("dw_hh", net.weight_hh_l0.grad)
    show("db_ih", net.bias_ih_l0.grad)
    show("db_hh", net.bias_hh_l0.grad)
    if cn is not None:
        show("c0", c0)
        show("dc_last", dc_last)
        show("c_last", cn)
        show("dc0", c0.grad)


print(f"# PyTorch {torch.__version__.split('+')[0]}, made by scripts/recurrent_vectors.py")
for kind in ["tanh", "relu", "lstm", "gru"]:
    case(kind, 5, 3, 4, 5)
    case(kind, 9, 2, 3, 17, scale=2.0)
    case(kind, 6, 4, 2, 6, lengths=[3, 6, 1, 4])
sys.stdout.flush()
