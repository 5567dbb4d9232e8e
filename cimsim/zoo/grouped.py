"""Routed experts as grouped products: rows sorted by expert, one product per expert.

Exact, as the masked form is (`cimsim.zoo.network`), and faster once experts are wide: a token costs
top_k experts and not all of them. Gathering and combining have gradients of their own, sums of a
token's k rows, where autograd would add rows atomically.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["grouped_experts", "grouped_product"]


def grouped_product(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """Return x[rows of e] @ weight[e] for every expert e, rows in order of experts.

    In bfloat16 on CUDA one kernel of torch; else a loop, which is its definition.

    Args:
        x: [rows, n_in].
        weight: [experts, n_in, n_out].
        ends: int32 [experts], the row after an expert's last.
    """
    if x.is_cuda and x.dtype == torch.bfloat16:
        found: Tensor = torch._grouped_mm(x, weight, offs=ends)
        return found
    parts = torch.tensor_split(x, ends[:-1].long().cpu())
    return torch.cat([part @ w for part, w in zip(parts, weight, strict=True)])


class _Gather(torch.autograd.Function):
    """y[j] = x[token[j]]; `slot` [tokens, k] says where the rows of a token went."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, token: Tensor, slot: Tensor) -> Tensor:
        """Return the rows."""
        ctx.save_for_backward(slot)
        return x[token]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return the sum over a token's rows."""
        (slot,) = ctx.saved_tensors
        (g,) = gradients
        return g[slot].float().sum(1).to(g.dtype), None, None


class _Combine(torch.autograd.Function):
    """y[n] = sum over r of gate[n, r] x[slot[n, r]]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gate: Tensor, slot: Tensor, token: Tensor, order: Tensor
    ) -> Tensor:
        """Return the weighted sums, float32."""
        ctx.save_for_backward(x, gate, slot, token, order)
        return (x[slot].float() * gate[..., None]).sum(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return the gradients of rows and of gates."""
        x, gate, slot, token, order = ctx.saved_tensors
        (g,) = gradients
        of_rows = (g[token] * gate.reshape(-1)[order][:, None]).to(x.dtype)
        of_gates = (g[:, None, :] * x[slot].float()).sum(-1)
        return of_rows, of_gates, None, None, None


def grouped_experts(
    x: Tensor, gates: Tensor, chosen: Tensor, weights: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the gated sum of each token's experts, float32, and tokens per expert.

    Args:
        x: [tokens, width], in the type that products are computed in.
        gates: float32 [tokens, k].
        chosen: int64 [tokens, k].
        weights: gate, up and down, each [experts, expert width, width].
    """
    gate, up, down = (w.to(x.dtype) for w in weights)
    with torch.no_grad():
        order = chosen.reshape(-1).argsort(stable=True)
        slot = torch.empty_like(order)
        slot[order] = torch.arange(len(order), device=x.device)
        slot, token = slot.view(chosen.shape), order // chosen.shape[1]
        every = torch.arange(gate.shape[0], device=x.device)
        count = (chosen[:, :, None] == every).sum((0, 1))
        ends = count.cumsum(0).to(torch.int32)
    rows: Tensor = _Gather.apply(x, token, slot)  # type: ignore[no-untyped-call]
    hidden = functional.silu(grouped_product(rows, gate.mT, ends))
    hidden = hidden * grouped_product(rows, up.mT, ends)
    rows = grouped_product(hidden, down, ends)
    y: Tensor = _Combine.apply(rows, gates, slot, token, order)  # type: ignore[no-untyped-call]
    return y, count
