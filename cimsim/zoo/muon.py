"""Muon: momentum whose update of each matrix is orthogonalised by a Newton-Schulz iteration.

Source: K. Jordan et al., "Muon: an optimizer for hidden layers" (2024); the step is scaled by
0.2 sqrt(max(rows, columns)) so that its root mean square matches AdamW's, after J. Liu et al.,
"Muon is scalable for LLM training" (arXiv 2502.16982). Written from the equations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # odd quintic that drives singular values towards 1
STEPS = 5


def orthogonalise(stack: Tensor) -> Tensor:
    """Nearest orthogonal factor of each matrix of a stack [n, rows, columns], roughly.

    X <- a X + (b A + c A A) X with A = X X', five times, in bfloat16; singular values end
    between about 0.7 and 1.2.
    """
    a, b, c = NEWTON_SCHULZ
    x: Tensor = stack.bfloat16()
    is_tall = x.shape[1] > x.shape[2]
    if is_tall:
        x = x.mT
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.mT if is_tall else x


class Muon(torch.optim.Optimizer):
    """Muon over matrices [rows, columns] or stacks of matrices [n, rows, columns].

    Args:
        parameters: Matrices or stacks; equal shapes are orthogonalised in one batch.
        lr: Learning rate, comparable with AdamW's.
        momentum: Decay of the (Nesterov) momentum.
        weight_decay: Decoupled decay, multiplied by the learning rate.
        compiled: Compile the iteration (on an accelerator).
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        *,
        compiled: bool = False,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.iterate = torch.compile(orthogonalise, dynamic=False) if compiled else orthogonalise

    @torch.no_grad()
    def step(self, _closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Apply one update from the gradients."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[Tensor]] = {}
            for parameter in group["params"]:
                by_shape.setdefault(tuple(parameter.shape[-2:]), []).append(parameter)
            for shape, members in by_shape.items():
                self._step_shape(group, shape, members)

    def _step_shape(
        self, group: dict[str, Any], shape: tuple[int, int], members: list[Tensor]
    ) -> None:
        grads = [m.grad for m in members if m.grad is not None]
        for member in members:
            if "momentum" not in self.state[member]:
                self.state[member]["momentum"] = torch.zeros_like(member)
        buffers = [self.state[m]["momentum"] for m in members]
        torch._foreach_lerp_(buffers, grads, 1.0 - group["momentum"])
        ahead = torch._foreach_lerp(grads, buffers, group["momentum"])
        stack = torch.cat([u.reshape(-1, *shape) for u in ahead])
        updates = self.iterate(stack).float() * (0.2 * max(shape) ** 0.5)
        counts = [m.numel() // (shape[0] * shape[1]) for m in members]
        parts = [u.reshape(m.shape) for u, m in zip(updates.split(counts), members, strict=True)]
        torch._foreach_mul_(members, 1.0 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(members, parts, alpha=-group["lr"])
