"""evenkeel's kernels under PyTorch's autograd: linear layer, layer norm, LSTM, and AdamW with clipping in the same pass.

Tensors are float32 on the CPU. Nothing is copied unless a tensor is not contiguous.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Optional, Union

import numpy
import torch

from . import _functions as ek
from ._core import Context

Tensor = torch.Tensor


def _view(t: Tensor) -> "numpy.ndarray[Any, Any]":
    """The tensor's memory as an array."""
    if t.device.type != "cpu":
        raise TypeError(f"evenkeel computes on the CPU; the tensor is on {t.device}")
    return t.detach().contiguous().numpy()


def _maybe(t: Optional[Tensor]) -> Optional["numpy.ndarray[Any, Any]"]:
    return None if t is None else _view(t)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Optional[Tensor], act: Any, act_param: float, context: Any) -> Tensor:
        plain = act in (0, "identity")
        z, y = ek.linear_forward_f32(
            _view(x), _view(w), bias=_maybe(bias), act=act, act_param=act_param, z=not plain, ctx=context
        )
        ctx.save_for_backward(x, w)
        ctx.z, ctx.act, ctx.act_param, ctx.context, ctx.has_bias = z, act, act_param, context, bias is not None
        return torch.from_numpy(y)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:  # type: ignore[override]
        x, w = (_view(t) for t in ctx.saved_tensors)
        dz = _view(dy)
        if ctx.z is not None:
            dz = ek.activation_backward_f32(ctx.z, dz, act=ctx.act, act_param=ctx.act_param, ctx=ctx.context)
        dx = dw = dbias = None
        if ctx.needs_input_grad[0]:
            dx = torch.from_numpy(ek.linear_backward_input_f32(dz, w, ctx=ctx.context))
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            result = ek.linear_backward_weight_f32(dz, x, dbias=ctx.has_bias, ctx=ctx.context)
            dw = torch.from_numpy(result.dw)
            dbias = torch.from_numpy(result.dbias) if ctx.has_bias else None
        return dx, dw, dbias, None, None, None


def linear(
    x: Tensor, w: Tensor, bias: Optional[Tensor] = None, act: Union[str, int] = "identity", act_param: float = 0.0,
    ctx: Optional[Context] = None,
) -> Tensor:  # fmt: skip
    """act(x @ w.T + bias), one fused pass; x [..., in], w [out, in], bias [out]."""
    return _Linear.apply(x, w, bias, act, act_param, ctx)  # type: ignore[no-any-return, no-untyped-call]


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Optional[Tensor], beta: Optional[Tensor], eps: float, context: Any) -> Tensor:
        result = ek.layer_norm_forward_f32(
            _view(x), gamma=_maybe(gamma), beta=_maybe(beta), eps=eps, mean=True, rstd=True, ctx=context
        )
        ctx.save_for_backward(x, gamma)
        ctx.mean, ctx.rstd, ctx.context = result.mean, result.rstd, context
        return torch.from_numpy(result.y)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:  # type: ignore[override]
        x, gamma = ctx.saved_tensors
        needs = ctx.needs_input_grad
        result = ek.layer_norm_backward_f32(
            _view(dy), _view(x), ctx.mean, ctx.rstd, gamma=_maybe(gamma), dx=needs[0], dgamma=needs[1], dbeta=needs[2],
            ctx=ctx.context,
        )  # fmt: skip
        return *(None if g is None else torch.from_numpy(g) for g in result), None, None


def layer_norm(
    x: Tensor, gamma: Optional[Tensor] = None, beta: Optional[Tensor] = None, eps: float = 1e-5, ctx: Optional[Context] = None
) -> Tensor:
    """Layer norm over the last axis."""
    return _LayerNorm.apply(x, gamma, beta, eps, ctx)  # type: ignore[no-any-return, no-untyped-call]


class _Lstm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Optional[Tensor], h0: Optional[Tensor], c0: Optional[Tensor],
        context: Any,
    ) -> Any:  # fmt: skip
        h, c, z = ek.lstm_forward_f32(
            _view(x), _view(w_ih), _view(w_hh), bias=_maybe(bias), h0=_maybe(h0), c0=_maybe(c0), ctx=context
        )
        ctx.save_for_backward(x, w_ih, w_hh, h0, c0)
        ctx.kept, ctx.context, ctx.has_bias = (h.copy(), c, z), context, bias is not None
        return torch.from_numpy(h), torch.from_numpy(c[-1].copy())

    @staticmethod
    def backward(ctx: Any, dh: Optional[Tensor], dc_last: Optional[Tensor]) -> Any:  # type: ignore[override]
        x, w_ih, w_hh, h0, c0 = ctx.saved_tensors
        h, c, z = ctx.kept
        needs = ctx.needs_input_grad
        result = ek.lstm_backward_f32(
            _view(x), _view(w_ih), _view(w_hh), h, c, z, h0=_maybe(h0), c0=_maybe(c0), dh=_maybe(dh), dc_last=_maybe(dc_last),
            dx=needs[0], dbias=ctx.has_bias, dh0=h0 is not None, dc0=c0 is not None, ctx=ctx.context,
        )  # fmt: skip
        parts = (result.dx, result.dw_ih, result.dw_hh, result.dbias, result.dh0, result.dc0)
        return *(None if g is None else torch.from_numpy(g) for g in parts), None


def lstm(
    x: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Optional[Tensor] = None, h0: Optional[Tensor] = None, c0: Optional[Tensor] = None,
    ctx: Optional[Context] = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One LSTM layer over x [seq, batch, input]: h [seq, batch, hidden] and the last cell state. Weights are those of
    torch.nn.LSTM, bias the sum of its two."""
    return _Lstm.apply(x, w_ih, w_hh, bias, h0, c0, ctx)  # type: ignore[no-any-return, no-untyped-call]


class AdamW(torch.optim.Optimizer):
    """torch.optim.AdamW's rule, with the gradients' norm clipped to max_norm in the same pass. A step with a NaN or
    infinite gradient is skipped; `report` tells."""

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2, max_norm: Optional[float] = None, ctx: Optional[Context] = None,
    ):  # fmt: skip
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))
        self.max_norm, self.context, self.report = max_norm, ctx, ek.StepReport()

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = [(group, [p for p in group["params"] if p.grad is not None]) for group in self.param_groups]
        clip = ek.ClipOptions()
        if self.max_norm is not None:
            clip = ek.ClipOptions(mode="global_norm", threshold=self.max_norm)
            if len(groups) > 1:
                # The norm is over all groups, each of which is a call of its own.
                norm = ek.grad_norm_f32([_view(p.grad) for _, params in groups for p in params], ctx=self.context).norm
                clip.known_sum_sq = norm * norm
        for group, params in groups:
            for p in params:
                if not p.is_contiguous():
                    raise ValueError("evenkeel.torch.AdamW needs contiguous parameters")
                if not self.state[p]:
                    self.state[p].update(step=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
            # Parameters that got their first gradient at different steps are at different t.
            for t in sorted({self.state[p]["step"] for p in params}):
                chosen = [p for p in params if self.state[p]["step"] == t]
                adam = ek.AdamOptions(
                    lr=group["lr"], beta1=group["betas"][0], beta2=group["betas"][1], eps=group["eps"],
                    weight_decay=group["weight_decay"], decoupled=True, step=t + 1,
                )  # fmt: skip
                ek.clip_adam_f32(
                    [_view(p) for p in chosen], [_view(p.grad) for p in chosen], [_view(self.state[p]["m"]) for p in chosen],
                    [_view(self.state[p]["v"]) for p in chosen], clip=clip, adam=adam, report=self.report, ctx=self.context,
                )  # fmt: skip
                if not self.report.skipped:
                    for p in chosen:
                        self.state[p]["step"] = t + 1
        return loss
