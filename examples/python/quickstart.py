"""Trains a network on handwritten digits in Python, and prints how many of the images it has not seen it reads correctly.

    pip install ./python && python examples/python/quickstart.py data/digits.csv [WEIGHTS [EPOCHS]]

With a second argument it writes the trained weights to that file: the bytes of the quickstart in C. A third sets the
number of epochs.
"""

import sys

import evenkeel as ek
import numpy as np

WIDTH = [64, 128, 128, 10]
LAYERS = len(WIDTH) - 1
BATCH = 128
SEED = 1


def load(path):
    """Images from -1 (paper) to 1 (ink), and what they show; every fifth is held out."""
    rows = np.loadtxt(path, delimiter=",", dtype=np.int64)
    pixels, labels = (rows[:, :-1] / 8 - 1).astype(np.float32), rows[:, -1].copy()
    held_out = np.arange(len(rows)) % 5 == 4
    return (pixels[~held_out], labels[~held_out]), (pixels[held_out], labels[held_out])


def shuffles(n):
    """Orders of n images, a new one for each epoch."""
    order, state = list(range(n)), SEED
    while True:
        for i in range(n, 1, -1):
            state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
            other = (state >> 8) % i
            order[i - 1], order[other] = order[other], order[i - 1]
        yield np.array(order)


class Network:
    def __init__(self, ctx):
        self.ctx = ctx
        self.params, self.grads = [], []
        for layer in range(LAYERS):
            w = np.empty((WIDTH[layer + 1], WIDTH[layer]), np.float32)
            # Biases start at zero; each tensor of weights has its own stream of random numbers.
            ek.init_he_f32(w, seed=SEED, stream=layer, fan_in=WIDTH[layer], distribution="normal", ctx=ctx)
            self.params += [w, np.zeros(WIDTH[layer + 1], np.float32)]
        self.grads = [np.zeros_like(p) for p in self.params]
        self.m = [np.zeros_like(p) for p in self.params]
        self.v = [np.zeros_like(p) for p in self.params]

    def forward(self, x):
        """z = x * W^T + bias, x of the next layer = silu(z); the last layer's z are the logits."""
        self.x, self.z = [x], []
        for layer in range(LAYERS):
            last = layer == LAYERS - 1
            w, bias = self.params[2 * layer], self.params[2 * layer + 1]
            z, y = ek.linear_forward_f32(
                self.x[-1], w, bias=bias, act="identity" if last else "silu", z=not last, ctx=self.ctx
            )
            self.x.append(y)
            self.z.append(z)
        return self.x.pop()

    def backward(self, logits, labels):
        """The loss of the batch, and from its gradient those of all parameters. Also the sum of their squares."""
        _, loss, dz = ek.cross_entropy_f32(logits, labels, ignore_index=-1, dlogits=True, ctx=self.ctx)
        sum_sq = 0.0
        for layer in reversed(range(LAYERS)):
            dw, dbias = self.grads[2 * layer], self.grads[2 * layer + 1]
            sum_sq += ek.linear_backward_weight_f32(dz, self.x[layer], dw=dw, dbias=dbias, ctx=self.ctx).sum_sq
            if layer > 0:
                dz = ek.linear_backward_input_f32(
                    dz, self.params[2 * layer], z_prev=self.z[layer - 1], act="silu", ctx=self.ctx
                )
        return loss, sum_sq


def main(data="data/digits.csv", weights=None, epochs="20"):
    (pixels, labels), (unseen, answers) = load(data)
    # Without options: EK_NUM_THREADS and EK_ISA are heeded.
    ctx = ek.Context()
    print(f"evenkeel {ek.__version__}, {ctx.isa}, {ctx.num_threads} threads")
    net = Network(ctx)
    clip, adam, report = ek.ClipOptions(mode="global_norm", threshold=1), ek.AdamOptions(lr=3e-3), ek.StepReport()
    for epoch, order in zip(range(1, int(epochs) + 1), shuffles(len(labels))):
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            loss, clip.known_sum_sq = net.backward(net.forward(pixels[chosen]), labels[chosen])
            # The norm for clipping came with the gradients: the step reads them once.
            ek.clip_adam_f32(net.params, net.grads, net.m, net.v, clip=clip, adam=adam, report=report, ctx=ctx)
            adam.step += 1
        if epoch % 5 == 0:
            print(f"epoch {epoch:2d}  loss {loss:.4f}  gradient norm {report.grad_norm:.4f}")
    print(f"held-out accuracy {np.mean(net.forward(unseen).argmax(axis=1) == answers):.4f}")
    if weights:
        with open(weights, "wb") as file:
            for p in net.params:
                p.tofile(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
