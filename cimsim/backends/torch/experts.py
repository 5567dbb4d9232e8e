"""The routed experts of a layer in their folded form: every product of a kind in one call.

Tokens are sorted by expert and quantised once; gates and ups of all experts are one grouped
product, downs another one. Errors of outputs have the addresses of `FusedFolded`, so that an expert
alone gives what it gives here, up to roundings of bf16. `TwinExperts` is the same in plain torch,
expert by expert; `FusedExperts` needs a CUDA device and Triton.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimsim.backends.torch import plain
from cimsim.backends.torch.folded import ALL_GROUPS
from cimsim.backends.torch.later import Later
from cimsim.backends.torch.normals import philox
from cimsim.backends.torch.plain import Tokens
from cimsim.backends.torch.sending import sent
from cimsim.backends.torch.stack import FoldedStack
from cimsim.errors import CimsimError
from cimsim.rng import Key, derive_key
from cimsim.workload.matrix import MatrixId

__all__ = [
    "PURPOSE_FOLDED",
    "FoldedExperts",
    "Terms",
    "TwinExperts",
    "Visits",
    "behind_trims",
    "folded_normals",
    "places_of",
]

PURPOSE_FOLDED = 35
_NO_GAIN = 1e-30  # of a register: what stands for 0 where it divides


@dataclass(frozen=True)
class Terms:
    """Digital corrections of the experts in a stack, float32; None where there are none.

    Attributes:
        columns: scale and offset of every column: of gates and ups [experts, 2, width], then of
            downs [experts, d_model].
        down: factors of low-rank terms of downs, [experts, width, rank] and [experts, rank,
            d_model].
        trims: gain and offset of trim registers, which come before the others; shapes are those
            of `columns`, offsets in units of the greatest magnitude of a token's inputs.
    """

    columns: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    down: tuple[Tensor, Tensor] | None = None
    trims: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None


@dataclass(frozen=True)
class Visits:
    """Where the tokens of a batch go, sorted by expert.

    Attributes:
        matrix: int32 [n, k], place of each token's experts in the stack.
        place: int32 [n, k], row of each visit in that order; visits of experts that are not in
            the stack come last.
        token: int32 [visits], of the rows.
        expert: int32 [visits], place in the stack.
        ends: int32 [experts in the stack], row after the last of each.
        gates: float32 [n, k].
    """

    matrix: Tensor
    place: Tensor
    token: Tensor
    expert: Tensor
    ends: Tensor
    gates: Tensor

    @classmethod
    def of(
        cls,
        experts: NDArray[np.int16],
        gates: NDArray[np.float32],
        chosen: Sequence[int],
        device: torch.device,
    ) -> Visits:
        """Sort visits.

        Args:
            experts: int16 [n, k].
            gates: float32 [n, k].
            chosen: experts in the stack, in its order.
            device: of the tensors.
        """
        places, ends = places_of(experts, chosen)
        matrix = sent(places, device)
        flat = matrix.flatten()
        order = torch.sort(flat, stable=True).indices
        place = torch.empty_like(order)
        place[order] = torch.arange(order.numel(), device=device)
        there = order[: int(ends[-1])]
        return cls(
            matrix.clamp(max=len(chosen) - 1).int(),
            place.reshape(matrix.shape).int(),
            (there // experts.shape[1]).int(),
            flat[there].int(),
            sent(ends.astype(np.int32), device),
            sent(gates, device),
        )


def places_of(
    experts: NDArray[np.int16], chosen: Sequence[int]
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Return where each visited expert stands among some, and how many visits those up to it have.

    Args:
        experts: int16 [n, k].
        chosen: some of them, in an order.

    Returns:
        int16 [n, k], `len(chosen)` where an expert is none of them; int64 [chosen].
    """
    most = max(int(experts.max(initial=0)), *chosen) + 1
    known = np.full(most, len(chosen), dtype=np.int16)
    known[list(chosen)] = np.arange(len(chosen))
    places = known[experts]
    return places, np.cumsum(np.bincount(places.ravel(), minlength=len(chosen) + 1)[:-1])


def folded_normals(n_out: int, tokens: Tokens, key: Key) -> Tensor:
    """Return the normals that the folded kernels draw, float32 [n, n_out] (Box and Muller)."""
    sequence, position = (t & 0xFFFFFFFF for t in tokens)
    four = torch.arange(-(-n_out // 4), device=position.device)[None, :]
    where = torch.full_like(four, ALL_GROUPS)
    a, b, c, d = philox((four, where, position[:, None], sequence[:, None]), key, 7)
    found = []
    for first, second in ((a, b), (c, d)):
        u = ((first >> 1).float() + 0.5) * 4.656612873077393e-10
        angle = (second >> 1).float() * 2.925836158534319e-09
        r = (u.log() * -2.0).sqrt()
        found += [r * angle.cos(), r * angle.sin()]
    return torch.stack(found, 2).flatten(1)[:, :n_out]


def behind_trims(
    terms: Terms, first: FoldedStack, down: FoldedStack
) -> tuple[Terms, Tensor, Tensor]:
    """Return corrections that hold the trims, and the biases of both stacks with theirs.

    The greatest magnitude m of a token's inputs is its scale times the greatest code, so that
    registers y' = g y + o m turn (P + b + s z) scale into g (P + b + o code / g + s z) scale.
    """
    if terms.trims is None:
        return terms, first.bias, down.bias
    columns, biases, low = [], [], terms.down
    for i, stack in enumerate((first, down)):
        gain, offset = terms.trims[i]
        gain = torch.where(gain.abs() < _NO_GAIN, _NO_GAIN, gain)
        biases.append(stack.bias + (offset * stack.input_max / gain).reshape(stack.bias.shape))
        if terms.columns is None:
            columns.append((gain, torch.zeros_like(gain)))
        else:
            columns.append((terms.columns[i][0] * gain, terms.columns[i][1]))
        if stack is down and low is not None:  # they are added behind the registers
            low = low[0], low[1] / gain[:, None]
    return Terms((columns[0], columns[1]), low), biases[0], biases[1]


class FoldedExperts:
    """Folded gates and ups, and downs, of some experts of a layer.

    Args:
        first: gates and ups, [experts, 2 width, d_model], gates above ups.
        words: of the gate and of the up of each expert in the key of its noise.
        down: downs.
        levels: mean conductance of the cells of gate, up and down of each expert.
        later: looks at whether inputs are finite; None does at once.

    Attributes:
        first: as given.
        down: as given.
        levels: as given.
    """

    def __init__(
        self,
        first: FoldedStack,
        words: Sequence[tuple[tuple[int, int, int], tuple[int, int, int]]],
        down: FoldedStack,
        levels: Sequence[tuple[float, float, float]],
        later: Later | None = None,
    ) -> None:
        self.first, self.down, self.levels, self._words = first, down, levels, words
        self._later = later or Later()
        self.width = down.weight.shape[2]

    def part(self, expert: int, role: int) -> FoldedStack:
        """Return one matrix of an expert by itself: gate (0), up (1) or down (2)."""
        stack, rows, words = self.down, slice(None), self.down.words[expert]
        if role < 2:
            stack, rows = self.first, slice(role * self.width, (role + 1) * self.width)
            words = self._words[expert][role]
        one = slice(expert, expert + 1)
        return replace(
            stack,
            weight=stack.weight[one, rows],
            bias=stack.bias[one, rows],
            spread=stack.spread[one, rows],
            words=(words,),
            level=(self.levels[expert][role],),
            faithful=(True,),
        )

    def keys(self, read_seed: int) -> tuple[list[tuple[Key, Key]], list[Key]]:
        """Return the keys of noise of gates and ups, and of downs."""
        first = [tuple(derive_key(read_seed, PURPOSE_FOLDED, *w, 0) for w in two)
                 for two in self._words]  # fmt: skip
        return (
            [(two[0], two[1]) for two in first],
            [derive_key(read_seed, PURPOSE_FOLDED, *w, 0) for w in self.down.words],
        )

    def multiply(
        self, x: Tensor, visits: Visits, tokens: Tokens, terms: Terms, *, read_seed: int
    ) -> Tensor:
        """Return the sum by gates of the experts' outputs, float32 [n, d_model].

        Args:
            x: float32 [n, d_model].
            visits: where the tokens go.
            tokens: their addresses.
            terms: digital corrections.
            read_seed: of noise.

        Raises:
            CimsimError: if an input is not finite.
        """
        raise NotImplementedError


class TwinExperts(FoldedExperts):
    """The products expert by expert in plain torch: the twin of `FusedExperts`."""

    def multiply(
        self, x: Tensor, visits: Visits, tokens: Tokens, terms: Terms, *, read_seed: int
    ) -> Tensor:
        """Return the sum by gates of the experts' outputs."""
        total = torch.zeros_like(x)
        terms, bias, down_bias = behind_trims(terms, self.first, self.down)
        q, scale = _codes(x, self.first.input_max)
        keys, down_keys = self.keys(read_seed)
        start = 0
        for e, end in enumerate(visits.ends.tolist()):
            token = visits.token[start:end].long()
            some = (tokens[0][token], tokens[1][token])
            acc = torch.matmul(q[token], self.first.weight[e].float().T).bfloat16().float()
            parts = []
            for i, columns in enumerate(acc.chunk(2, 1)):
                one = slice(i * self.width, (i + 1) * self.width)
                constants = (bias[e, one], self.first.spread[e, one])
                y = _finish(columns, constants, scale[token], some, keys[e][i])
                if terms.columns is not None:
                    y = y * terms.columns[0][0][e, i] + terms.columns[0][1][e, i]
                parts.append(y)
            hidden = torch.nn.functional.silu(parts[0]) * parts[1]
            codes, each = _codes(hidden, self.down.input_max)
            acc = torch.matmul(codes, self.down.weight[e].float().T).bfloat16().float()
            y = _finish(acc, (down_bias[e], self.down.spread[e]), each, some, down_keys[e])
            if terms.down is not None:
                u, v = (f[e].bfloat16().float() for f in terms.down)
                y = y + (hidden.bfloat16().float() @ u) @ v
            if terms.columns is not None:
                y = y * terms.columns[1][0][e] + terms.columns[1][1][e]
            gate = (visits.gates * (visits.matrix == e))[token]
            here = (visits.place >= start) & (visits.place < end)
            total.index_add_(0, token, y * (gate * here[token]).sum(1, keepdim=True))
            start = end
        return total


def _codes(x: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """Return whole codes of tokens as float32, and their scales."""
    bits = top.bit_length() + 1
    q, scale = plain.whole_inputs(x, bits, 0.0, MatrixId(0, "experts"))
    return q.float(), scale


def _finish(
    product: Tensor, constants: tuple[Tensor, Tensor], scale: Tensor, tokens: Tokens, key: Key
) -> Tensor:
    bias, spread = constants
    y = product + bias
    if bool((spread > 0.0).any()):
        y = y + spread * folded_normals(product.shape[1], tokens, key)
    return y * scale[:, None]


def refuse_infinite(wrong: Tensor, layer: int, later: Later) -> None:
    """Refuse inputs that a kernel found not finite, when `later` looks at it.

    Raises:
        CimsimError: it names the layer.
    """

    def refuse(found: Sequence[float]) -> None:
        if found[0]:
            raise CimsimError(f"an input of an expert of layer {layer} is not finite")

    later.ask([wrong], refuse)
