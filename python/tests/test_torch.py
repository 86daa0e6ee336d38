"""The layers under autograd against PyTorch's own in float64."""

import pytest

torch = pytest.importorskip("torch")

import evenkeel as ek  # noqa: E402
import evenkeel.torch as ek_torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402


def leaves(*shapes):
    torch.manual_seed(1)
    return [torch.randn(shape, requires_grad=True) for shape in shapes]


def compare(ours, theirs, inputs):
    """Values and all gradients, for a random gradient of the output."""
    doubles = [t.detach().double().requires_grad_() for t in inputs]
    for t in inputs:
        t.grad = None
    y, truth = ours(*inputs), theirs(*doubles)
    y, truth = (r if isinstance(r, tuple) else (r,) for r in (y, truth))
    loss, loss_truth = 0, 0
    for a, b in zip(y, truth):
        torch.testing.assert_close(a.double(), b, rtol=2e-6, atol=2e-6)
        dy = torch.randn_like(a)
        loss, loss_truth = loss + (a * dy).sum(), loss_truth + (b * dy.double()).sum()
    loss.backward()
    loss_truth.backward()
    for a, b in zip(inputs, doubles):
        torch.testing.assert_close(a.grad.double(), b.grad, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    "act, phi",
    [("identity", lambda z: z), ("relu", F.relu), ("tanh", torch.tanh), ("silu", F.silu), ("gelu", F.gelu), ("mish", F.mish)],
)
def test_linear(act, phi):
    compare(lambda x, w, b: ek_torch.linear(x, w, b, act), lambda x, w, b: phi(F.linear(x, w, b)), leaves((5, 7), (3, 7), (3,)))
    compare(lambda x, w: ek_torch.linear(x, w, None, act), lambda x, w: phi(F.linear(x, w)), leaves((2, 5, 7), (3, 7)))


def test_linear_takes_views_and_frozen_weights():
    x, w = leaves((7, 5), (3, 7))
    compare(lambda x, w: ek_torch.linear(x.T, w), lambda x, w: F.linear(x.T, w), [x, w])
    frozen = w.detach()
    ek_torch.linear(x.T, frozen).sum().backward()
    assert x.grad is not None


def test_layer_norm():
    compare(
        lambda x, g, b: ek_torch.layer_norm(x, g, b), lambda x, g, b: F.layer_norm(x, (9,), g, b), leaves((4, 6, 9), (9,), (9,))
    )
    compare(lambda x: ek_torch.layer_norm(x), lambda x: F.layer_norm(x, (9,)), leaves((4, 9)))


@pytest.mark.skipif(not hasattr(ek, "lstm_forward_f32"), reason="this library has no LSTM")
def test_lstm():
    seq, batch, size, hidden = 6, 3, 5, 4

    def theirs(x, w_ih, w_hh, bias, h0, c0):
        cell = torch.nn.LSTM(size, hidden, dtype=torch.float64)
        names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
        weights = dict(zip(names, [w_ih, w_hh, bias, torch.zeros_like(bias)]))
        h, (_, c) = torch.func.functional_call(cell, weights, (x, (h0[None], c0[None])))
        return h, c[0]

    compare(
        ek_torch.lstm, theirs,
        leaves((seq, batch, size), (4 * hidden, size), (4 * hidden, hidden), (4 * hidden,), (batch, hidden), (batch, hidden)),
    )  # fmt: skip


@pytest.mark.parametrize("max_norm", [None, 0.05])
def test_adamw(max_norm):
    torch.manual_seed(2)
    ours = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    theirs = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double()
    theirs.load_state_dict({name: t.double() for name, t in ours.state_dict().items()})

    def groups(net):
        return [{"params": net[0].parameters()}, {"params": net[2].parameters(), "lr": 3e-3}]

    a = ek_torch.AdamW(groups(ours), lr=1e-2, weight_decay=0.1, max_norm=max_norm)
    b = torch.optim.AdamW(groups(theirs), lr=1e-2, weight_decay=0.1)
    x = torch.randn(16, 6)
    for _ in range(30):
        for net, optimizer, data in [(ours, a, x), (theirs, b, x.double())]:
            optimizer.zero_grad()
            (net(data) ** 2).mean().backward()
            if max_norm is not None and net is theirs:
                torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm)
            optimizer.step()
    # PyTorch adds 1e-6 to the norm that it divides by.
    for p, q in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(p.double(), q, rtol=1e-4, atol=2e-5)


def test_adamw_skips_a_step_that_is_not_finite():
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = ek_torch.AdamW([p])
    p.grad = torch.tensor([1.0, float("nan"), 1.0])
    optimizer.step()
    assert optimizer.report.skipped and (p == 1).all() and optimizer.state[p]["step"] == 0


def test_training_with_the_layers_lowers_the_loss():
    w1, w2, gamma, beta = leaves((16, 8), (1, 16), (16,), (16,))
    optimizer = ek_torch.AdamW([w1, w2, gamma, beta], lr=1e-2, max_norm=1.0)
    x = torch.randn(64, 8)
    target = x[:, :1] * x[:, 1:2]
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        y = ek_torch.linear(ek_torch.layer_norm(ek_torch.linear(x, w1, None, "silu"), gamma, beta), w2)
        loss = ((y - target) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0], losses
