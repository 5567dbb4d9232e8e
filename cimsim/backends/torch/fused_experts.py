"""The experts of a layer on a CUDA device: two grouped products, and Triton around them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
from torch import Tensor

from cimsim.backends.torch.experts import (
    FoldedExperts,
    Terms,
    Visits,
    behind_trims,
    refuse_infinite,
)
from cimsim.backends.torch.experts_kernel import combine_experts, finish_product, hidden_codes
from cimsim.backends.torch.feed_kernel import feed_tokens
from cimsim.backends.torch.grouped_product import grouped_product
from cimsim.backends.torch.later import Later
from cimsim.backends.torch.plain import Tokens
from cimsim.backends.torch.sending import sent, signed_words
from cimsim.backends.torch.stack import FoldedStack
from cimsim.rng import Key

__all__ = ["FusedExperts", "finished", "quantized"]

_INPUTS, _OUTPUTS = 1024, 1024  # at a time


class FusedExperts(FoldedExperts):
    """`FoldedExperts` through kernels.

    Args:
        first: gates and ups.
        words: of each gate and up.
        down: downs.
        levels: of cells.
        later: looks at whether inputs are finite; None does at once.
        native: with instructions of the device and its grouped product, which Triton's
            interpreter lacks.
    """

    def __init__(
        self,
        first: FoldedStack,
        words: Sequence[tuple[tuple[int, int, int], tuple[int, int, int]]],
        down: FoldedStack,
        levels: Sequence[tuple[float, float, float]],
        later: Later | None = None,
        *,
        native: bool = True,
    ) -> None:
        super().__init__(first, words, down, levels, later)
        self._native = native
        self._known: tuple[int, Tensor, Tensor] | None = None

    def multiply(
        self, x: Tensor, visits: Visits, tokens: Tokens, terms: Terms, *, read_seed: int
    ) -> Tensor:
        """Return the sum by gates of the experts' outputs."""
        (n, d_model), width, device = x.shape, self.width, x.device
        rows, k = visits.token.numel(), visits.matrix.shape[1]
        out = torch.zeros((n, d_model), dtype=torch.float32, device=device)
        if not rows:
            return out
        terms, bias, down_bias = behind_trims(terms, self.first, self.down)
        first_keys, down_keys = self._keys_of(read_seed)
        address = tokens[0].contiguous(), tokens[1].contiguous()
        wrong = torch.zeros(1, dtype=torch.int32, device=device)
        fed, scale = _feed(x, self.first.input_max, wrong)
        product = self._grouped(fed[visits.token], self.first.weight, visits.ends)
        codes = torch.empty((rows, width), dtype=torch.bfloat16, device=device)
        keep = terms.down is not None
        hidden = torch.empty_like(codes) if keep else codes
        each = torch.empty(rows, dtype=torch.float32, device=device)
        shared = (bias, self.first.spread)
        columns = shared if terms.columns is None else terms.columns[0]
        hidden_codes[(rows,)](
            product, codes, each, hidden, wrong,
            visits.token, visits.expert, scale, *shared, *columns, first_keys, *address,
            width, float(self.down.input_max),
            NOISY=self.first.noisy, TERMS=terms.columns is not None, KEEP=keep,
            NATIVE=self._native, BLOCK=_block(width), num_warps=4,
        )  # fmt: skip
        product = self._grouped(codes, self.down.weight, visits.ends)
        low = product if terms.down is None else self._low_rank(hidden, terms.down, visits.ends)
        shared = (down_bias, self.down.spread)
        columns = shared if terms.columns is None else terms.columns[1]
        block = min(_OUTPUTS, _block(d_model))
        combine_experts[(n, triton.cdiv(d_model, block))](
            product, out, visits.place, visits.matrix, visits.gates, each, low,
            *shared, *columns, down_keys, *address, rows, d_model,
            TOP_K=k, NOISY=self.down.noisy, TERMS=terms.columns is not None, LOW=keep,
            NATIVE=self._native, BLOCK=block, num_warps=4,
        )  # fmt: skip
        refuse_infinite(wrong, self.down.words[0][0], self._later)
        return out

    def _grouped(self, x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
        """Return rows [rows, n_in] times the weights [experts, n_out, n_in] of their experts."""
        if self._native:
            return grouped_product(x, weight, ends)
        start, parts = 0, []
        for w, end in zip(weight, ends.tolist(), strict=True):
            parts.append(torch.matmul(x[start:end].float(), w.float().T).bfloat16())
            start = end
        return torch.cat(parts)

    def _low_rank(self, hidden: Tensor, down: tuple[Tensor, Tensor], ends: Tensor) -> Tensor:
        """Return low-rank terms of visits, bf16 [visits, d_model]."""
        u, v = (f.bfloat16().transpose(1, 2).contiguous() for f in down)
        return self._grouped(self._grouped(hidden, u, ends), v, ends)

    def _keys_of(self, read_seed: int) -> tuple[Tensor, Tensor]:
        """Return the keys of noise as kernels read them; those of the last seed are kept."""
        if self._known is None or self._known[0] != read_seed:
            first, down = self.keys(read_seed)
            device = self.first.weight.device
            both = [signed_words(key) for two in first for key in two]
            self._known = (
                read_seed,
                sent(both, device, torch.int32),
                sent([signed_words(k) for k in down], device, torch.int32),
            )
        return self._known[1], self._known[2]


def quantized(x: Tensor, top: int, layer: int, later: Later) -> tuple[Tensor, Tensor]:
    """Return whole codes of tokens [n, n_in] in bf16, and their scales.

    Raises:
        CimsimError: if an input is not finite.
    """
    wrong = torch.zeros(1, dtype=torch.int32, device=x.device)
    fed = _feed(x, top, wrong)
    refuse_infinite(wrong, layer, later)
    return fed


def finished(
    product: Tensor,
    scale: Tensor,
    stack: FoldedStack,
    tokens: Tokens,
    keys: Sequence[Key],
    matrix: Tensor | None = None,
    *,
    native: bool = True,
) -> Tensor:
    """Return (product + bias + spread z) scale, float32 [n, n_out].

    Args:
        product: [n, n_out], any float; a float32 is filled with what is returned.
        scale: float32 [n] of tokens.
        stack: the matrices.
        tokens: addresses.
        keys: of the noise of each matrix.
        matrix: int32 [n], which of several each token has; None if there is one.
        native: with instructions of the device, which Triton's interpreter lacks.
    """
    n, width = product.shape
    out = (
        product
        if product.dtype == torch.float32
        else torch.empty_like(product, dtype=torch.float32)
    )
    words = sent([signed_words(key) for key in keys], product.device, torch.int32)
    block = min(_OUTPUTS, _block(width))
    finish_product[(n, triton.cdiv(width, block))](
        product, out, scale, stack.bias, stack.spread, words, words if matrix is None else matrix,
        tokens[0].contiguous(), tokens[1].contiguous(), width,
        NOISY=stack.noisy, SEVERAL=matrix is not None, NATIVE=native, BLOCK=block, num_warps=4,
    )  # fmt: skip
    return out


def _block(width: int) -> int:
    """Return the outputs of a program that covers a width: normals come in fours (Philox)."""
    return max(4, int(triton.next_power_of_2(width)))


def _feed(x: Tensor, top: int, wrong: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes of tokens in bf16, and their scales."""
    n, n_in = x.shape
    codes = torch.empty((n, n_in), dtype=torch.bfloat16, device=x.device)
    scale = torch.empty(n, dtype=torch.float32, device=x.device)
    sums = torch.empty(n, dtype=torch.float64, device=x.device)
    rows = torch.arange(n_in, dtype=torch.int32, device=x.device)
    feed_tokens[(n,)](
        x.contiguous(), rows, codes, scale, sums, wrong,
        n, n_in, n_in, 0.0, top, 0, PHASES=1, BLOCK=_INPUTS, enable_fp_fusion=False,
    )  # fmt: skip
    return codes, scale
