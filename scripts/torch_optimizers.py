#!/usr/bin/env python3
"""Records PyTorch's optimizers step by step: tests/suite/data/torch_optimizers.txt, which tests/suite/optim_torch.rs follows.

    pip install torch
    scripts/torch_optimizers.py > tests/suite/data/torch_optimizers.txt

Numbers are the bits of f32 in hexadecimal. First come the parameters at the start and the gradients of 100 steps, then for
each case its options and the parameters after some of the steps.
"""

import struct

import torch

STEPS, SIZE, SEED = 100, 12, 7
SHOWN = (1, 2, 3, 10, 30, 100)

CASES = [
    ("sgd", dict(lr=0.01)),
    ("sgd", dict(lr=0.01, weight_decay=0.1)),
    ("sgd", dict(lr=0.01, momentum=0.9)),
    ("sgd", dict(lr=0.01, momentum=0.9, dampening=0.3, weight_decay=0.01)),
    ("sgd", dict(lr=0.01, momentum=0.9, weight_decay=0.01, nesterov=True)),
    ("adam", dict(lr=0.003)),
    ("adam", dict(lr=0.003, weight_decay=0.1, eps=1e-3, beta2=0.99)),
    ("adamw", dict(lr=0.003, weight_decay=0.1)),
    ("adamw", dict(lr=0.003, weight_decay=0.01, beta2=0.95, clip=1.0)),
    ("rmsprop", dict(lr=0.001)),
    ("rmsprop", dict(lr=0.001, weight_decay=0.1, alpha=0.9)),
    ("rmsprop", dict(lr=0.001, momentum=0.9)),
    ("rmsprop", dict(lr=0.001, centered=True)),
    ("rmsprop", dict(lr=0.001, centered=True, momentum=0.5, weight_decay=0.01)),
    ("adagrad", dict(lr=0.01)),
    ("adagrad", dict(lr=0.01, lr_decay=0.01, weight_decay=0.1)),
]


def bits(tensor):
    return " ".join(f"{struct.unpack('<I', struct.pack('<f', x))[0]:08x}" for x in tensor.tolist())


def optimizer(name, options, param):
    options = dict(options)
    options.pop("clip", None)
    beta2 = options.pop("beta2", None)
    if beta2 is not None:
        options["betas"] = (0.9, beta2)
    kind = {
        "sgd": torch.optim.SGD,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "rmsprop": torch.optim.RMSprop,
        "adagrad": torch.optim.Adagrad,
    }[name]
    return kind([param], foreach=False, **options)


def main():
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    start = torch.rand(SIZE) - 0.5
    bias = torch.randn(SIZE) * 0.5
    gradients = [bias + torch.randn(SIZE) for _ in range(STEPS)]
    print(f"# PyTorch {torch.__version__}, scripts/torch_optimizers.py")
    print(f"start {bits(start)}")
    for g in gradients:
        print(f"gradient {bits(g)}")
    for name, options in CASES:
        print("case", name, *(f"{key}={value}" for key, value in options.items()))
        param = start.clone().requires_grad_()
        rule = optimizer(name, options, param)
        for step, g in enumerate(gradients, 1):
            param.grad = g.clone()
            if "clip" in options:
                torch.nn.utils.clip_grad_norm_([param], options["clip"])
            rule.step()
            if step in SHOWN:
                print(f"after {step} {bits(param.detach())}")


main()
