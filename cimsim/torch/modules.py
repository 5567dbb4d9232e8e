"""What computes in place of the `forward` of linear layers, routers and fused experts.

A module keeps its class, parameters, buffers and names; only its `forward` is another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cimsim.torch.products import Product
from cimsim.torch.tokens import TokenTracker
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["ExpertsOnTiles", "LinearOnTiles", "RouterOnTiles", "Slot"]


class Slot:
    """Place of one matrix in a model.

    Attributes:
        matrix: its name.
        weight: returns the clean weight [n_out, n_in] where the model holds it now.
        product: what multiplies.
    """

    def __init__(self, matrix: MatrixId, weight: Callable[[], Tensor]) -> None:
        self.matrix, self.weight = matrix, weight
        self.product: Product | None = None

    def __call__(self, x: Tensor, keys: TokenKeys) -> Tensor:
        """Return the product of rows [n, n_in]."""
        assert self.product is not None  # noqa: S101 - set before the model is handed out
        return self.product(x, keys)


class LinearOnTiles:
    """A linear layer: product on tiles, digital bias.

    Args:
        inner: the layer.
        slot: its matrix.
        tokens: says which tokens rows are.
    """

    def __init__(self, inner: nn.Linear, slot: Slot, tokens: TokenTracker) -> None:
        self._inner, self._slot, self._tokens = inner, slot, tokens

    def __call__(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that callers may use
        """Return x @ W + bias, [..., n_out]."""
        y, bias = product_of(self._slot, input, self._tokens), self._inner.bias
        return y if bias is None else y + bias


class RouterOnTiles:
    """A router that is no linear layer: its own code, with the product of its weight on tiles.

    Args:
        inner: the router, whose `forward` calls `torch.nn.functional.linear` with its weight.
        slot: its matrix.
        tokens: says which tokens rows are.
    """

    def __init__(self, inner: nn.Module, slot: Slot, tokens: TokenTracker) -> None:
        self._forward, self._slot, self._tokens = inner.forward, slot, tokens

    @torch.compiler.disable
    def __call__(self, *given: Any, **named: Any) -> Any:
        """Return what the router returns."""
        with _Products(self._slot, self._tokens):
            return self._forward(*given, **named)


class ExpertsOnTiles:
    """All routed experts of a layer, which transformers holds as three-dimensional weights.

    Args:
        inner: has ``gate_up_proj`` [experts, 2 width, n_in] and ``down_proj`` [experts, n_in,
            width], and an activation.
        slots: gate, up and down of every expert, by role and expert.
        tokens: says which tokens rows are.
    """

    def __init__(
        self, inner: nn.Module, slots: Mapping[tuple[str, int], Slot], tokens: TokenTracker
    ) -> None:
        self._activation: Callable[[Tensor], Tensor] = inner.act_fn  # type: ignore[assignment]
        self._slots, self._tokens = slots, tokens

    @torch.compiler.disable
    def __call__(self, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        """Return the weighed sum of the chosen experts, [tokens, n_in].

        Args:
            hidden_states: [tokens, n_in].
            top_k_index: experts of every token, int64 [tokens, k].
            top_k_weights: their weights [tokens, k].
        """
        out = torch.zeros_like(hidden_states)
        all_keys = self._tokens.rows(len(hidden_states))
        for expert in torch.unique(top_k_index).tolist():
            rows, place = torch.where(top_k_index == expert)
            keys, x = all_keys.take(rows.cpu().numpy()), hidden_states[rows]
            gate, up, down = (self._slots[role, expert] for role in ("gate", "up", "down"))
            y = down(self._activation(gate(x, keys)) * up(x, keys), keys)
            out.index_add_(0, rows, (y * top_k_weights[rows, place, None]).to(out.dtype))
        return out


def product_of(slot: Slot, x: Tensor, tokens: TokenTracker) -> Tensor:
    """Return the product of all tokens with a matrix, [..., n_out]."""
    rows = x.reshape(-1, x.shape[-1])
    y = slot(rows, tokens.rows(len(rows)))
    return y.reshape(*x.shape[:-1], y.shape[-1])


class _Products(TorchFunctionMode):
    """Runs products with one weight on its tiles."""

    def __init__(self, slot: Slot, tokens: TokenTracker) -> None:
        super().__init__()
        self._slot, self._tokens, self._weight = slot, tokens, slot.weight().data_ptr()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        named = kwargs or {}
        if func is not torch.nn.functional.linear or args[1].data_ptr() != self._weight:
            return func(*args, **named)
        bias = args[2] if len(args) > 2 else named.get("bias")
        y = product_of(self._slot, args[0], self._tokens)
        return y if bias is None else y + bias
