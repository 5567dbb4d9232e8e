"""The routed experts of a layer in detail: tokens sorted by expert, a launch a kind of matrix.

Gates, ups and downs of all experts that a kernel reads together are one launch each
(`FusedGroup`); so are those of which all are folded, where the other matrices of their experts are
not (`folded_group`). Other matrices are read one after another on their own rows. Corrections and
the order of a token's sum are those of experts that are read alone, and so are detailed outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimsim.backends.torch.copies import Reading, TorchCopy, tiles_of
from cimsim.backends.torch.experts import places_of
from cimsim.backends.torch.plain import Tokens
from cimsim.backends.torch.sending import sent
from cimsim.backends.torch.stack import FoldedStack
from cimsim.backends.torch.terms import columns_of, registers_of
from cimsim.backends.torch.tile import TorchTile
from cimsim.mac import MacStatistics, Mode
from cimsim.model.linear import ExpertCall
from cimsim.workload.matrix import TokenKeys

if TYPE_CHECKING:
    from cimsim.backends.torch.fused_group import FusedGroup

__all__ = ["How", "Sorted", "Three", "read_experts"]

_VISITS = 1 << 15  # of experts at a time: rows of outputs

Three = tuple[TorchCopy, TorchCopy, TorchCopy]


@dataclass(frozen=True)
class How:
    """How a pass reads copies.

    Attributes:
        read_seed: of fresh noise.
        mode: detailed or folded.
        statistics: where to count conversions, or None.
    """

    read_seed: int
    mode: Mode
    statistics: MacStatistics | None


@dataclass(frozen=True)
class Sorted:
    """Visits of some experts, sorted by expert.

    Attributes:
        token: int64 [visits], of the rows.
        on_device: the same on the device.
        spans: first visit of each expert, and the one after its last.
        place: int64 [n, k], visits of a token in rising order; any where there is none.
        gates: float32 [n, k] of these, 0 where there is none.
    """

    token: NDArray[np.int64]
    on_device: Tensor
    spans: tuple[tuple[int, int], ...]
    place: Tensor
    gates: Tensor

    @classmethod
    def of(
        cls,
        experts: NDArray[np.int16],
        gates: NDArray[np.float32],
        chosen: Sequence[int],
        device: torch.device,
    ) -> Sorted:
        """Sort visits.

        Args:
            experts: int16 [n, k].
            gates: float32 [n, k].
            chosen: the experts, rising.
            device: of the tensors.
        """
        which, ends = places_of(experts, chosen)
        order = np.argsort(which, axis=None, kind="stable")
        visits = int(ends[-1])
        flat = np.empty(order.size, dtype=np.int64)
        flat[order] = np.arange(order.size)
        unsorted = flat.reshape(which.shape)
        rising = np.argsort(unsorted, axis=1)
        place = np.take_along_axis(unsorted, rising, 1)
        weight = np.take_along_axis(gates, rising, 1)
        token = order[:visits] // which.shape[1]
        return cls(
            token,
            sent(token, device),
            tuple(zip((ends - np.diff(ends, prepend=0)).tolist(), ends.tolist(), strict=True)),
            sent(np.minimum(place, max(0, visits - 1)), device),
            sent(np.where(place < visits, weight, np.float32(0.0)), device),
        )

    def sum(self, y: Tensor) -> Tensor:
        """Return the sum by gates of rows [visits, width], float32 [n, width]: experts rising."""
        total = y.new_zeros((len(self.place), y.shape[1]))
        if len(y):
            for rank in range(self.place.shape[1]):
                rows = y.index_select(0, self.place[:, rank])
                total += rows.mul_(self.gates[:, rank : rank + 1])
        return total


class _Role:
    """Gates, ups or downs of some experts.

    Args:
        copies: one of each expert.
        role: gate (0), up (1) or down (2).
        chosen: the experts.
        call: the products.
        reading: how copies are read,
        how: and how in this pass.
    """

    def __init__(
        self,
        copies: Sequence[TorchCopy],
        role: int,
        chosen: Sequence[int],
        call: ExpertCall,
        reading: Reading,
        how: How,
    ) -> None:
        self._copies, self._reading, self._how = copies, reading, how
        x: Any = call.x
        visits = np.bincount(call.routing.experts.ravel(), minlength=max(chosen) + 1)
        self._vectors = [int(visits[e]) for e in chosen]
        self._stack = self._folded_stack()
        tiles = self._tiles_that_join()
        self._joined, self._group = list(tiles), _group_of(list(tiles.values()), how.read_seed)
        self._sums = torch.zeros((2, len(tiles)), dtype=torch.int64, device=x.device)
        matrices = [call.experts[e][role].id for e in chosen]
        n_out = copies[0].formats.n_out
        self._registers = self._columns = None
        if any(m in call.trims for m in matrices):
            self._registers = registers_of(call, matrices, n_out, x.device)
        if any(m in call.columns for m in matrices):
            self._columns = columns_of(call, matrices, n_out, x.device)
        terms = [call.low_rank.get(m) for m in matrices]
        self._low_rank = [
            None if term is None else (sent(term.u, x.device), sent(term.v, x.device))
            for term in terms
        ]

    def _folded_stack(self) -> FoldedStack | None:
        """Return the folded forms of all matrices, None if some are read in detail."""
        orders = [copy.order for copy in self._copies if copy.order is not None]
        on_device = self._reading.device.type == "cuda" and self._how.mode == "folded"
        if not on_device or len(orders) < len(self._copies):
            return None
        return self._reading.forms.stack(orders) if all(c.folds for c in self._copies) else None

    def _tiles_that_join(self) -> dict[int, TorchTile]:
        """Return the tiles that one launch reads, by the place of their expert."""
        read = [
            i
            for i, copy in enumerate(self._copies)
            if self._vectors[i] and not (self._how.mode == "folded" and copy.folds)
        ]
        if not read:
            return {}
        counted = self._how.statistics is not None
        tiles = tiles_of([self._copies[i] for i in read], counted=counted)
        return {i: tile for i, tile in zip(read, tiles, strict=True) if tile.joins(tiles[0])}

    def read(
        self, x: Tensor, of: Tensor | None, rows: Sorted, keys: TokenKeys, tokens: Tokens
    ) -> Tensor:
        """Return corrected products of visits, float32 [visits, n_out].

        Args:
            x: inputs of tokens, or of visits.
            of: int64 [visits], the token of each; None if inputs are those of visits.
            rows: the visits.
            keys: addresses of visits.
            tokens: the same on the device.
        """
        out = self._read_together(x, of, rows, tokens)
        for i, copy in enumerate(self._copies):
            some = slice(*rows.spans[i])
            alone = self._stack is None and i not in self._joined
            if alone and some.start < some.stop:
                inputs = x[some] if of is None else x.index_select(0, of[some])
                its = keys.take(np.arange(some.start, some.stop))
                out[some] = copy.multiply(
                    inputs, its, read_seed=self._how.read_seed, mode=self._how.mode, replica=0,
                    statistics=self._how.statistics,
                )  # fmt: skip
        return self._corrected(out, x, of, rows)

    def _read_together(self, x: Tensor, of: Tensor | None, rows: Sorted, tokens: Tokens) -> Tensor:
        """Return products of visits of the experts that join; anything for the others."""
        if self._stack is not None:
            from cimsim.backends.torch.folded_group import (  # noqa: PLC0415 - Triton
                multiply_together,
            )

            how = self._how.read_seed, self._reading.later
            return multiply_together(self._stack, x, of, tokens, rows.spans, *how)
        group, counted = self._group, self._how.statistics is not None
        if group is None:
            shape = (len(rows.token), self._copies[0].formats.n_out)
            return x.new_empty(shape, dtype=torch.float32)
        fed = group.feed(x)
        spans = [rows.spans[i] for i in self._joined]
        if counted:
            codes = group.code_sums(fed)
            self._sums[1] += _sums_of(codes if of is None else codes[of], spans)
        clipped = self._sums[0] if counted else None
        return group.multiply(fed if of is None else fed.rows(of), tokens, spans, clipped)

    def _corrected(self, y: Tensor, x: Tensor, of: Tensor | None, rows: Sorted) -> Tensor:
        """Return outputs behind their registers and digital corrections, as `CorrectedLinear`."""
        which = None
        if self._registers is not None or self._columns is not None:
            lengths = [end - start for start, end in rows.spans]
            which = sent(np.repeat(np.arange(len(lengths)), lengths), y.device)
        if self._registers is not None:
            gain, offset = (each[which] for each in self._registers)
            top = x.abs().amax(dim=1, keepdim=True)
            y = y * gain + offset * (top if of is None else top[of])
        for term, (start, end) in zip(self._low_rank, rows.spans, strict=True):
            if term is not None and start < end:
                inputs = x[start:end] if of is None else x.index_select(0, of[start:end])
                y[start:end] += torch.matmul(torch.matmul(inputs, term[0]), term[1])
        if self._columns is not None:
            scale, offset = (each[which] for each in self._columns)
            y = y * scale + offset
        return y

    def count(self) -> None:
        """Count what is read together; conversions when the device has said how many."""
        statistics = self._how.statistics
        if statistics is None:
            return
        if self._stack is not None:
            for copy, vectors in zip(self._copies, self._vectors, strict=True):
                if vectors:
                    copy.count_vectors(statistics, vectors)
        for sums, i in zip(self._sums.T, self._joined, strict=True):
            self._copies[i].count_conversions(statistics, self._vectors[i], list(sums))


def read_experts(
    copies: Mapping[int, Three], call: ExpertCall, reading: Reading, how: How
) -> Tensor:
    """Return the sum by gates of some experts' outputs, float32 [n, d_model].

    Args:
        copies: gate, up and down of each expert, in rising order.
        call: the products of the layer.
        reading: how copies are read,
        how: and how in this pass.

    Raises:
        CimsimError: if an input is not finite.
    """
    chosen, x, tokens = list(copies), call.x, reading.tokens(call.tokens)
    roles = [
        _Role([three[number] for three in copies.values()], number, chosen, call, reading, how)
        for number in range(3)
    ]
    step = max(1, _VISITS // call.routing.experts.shape[1])
    parts = []
    for first in range(0, len(x), step):
        some = slice(first, first + step)
        rows = Sorted.of(
            call.routing.experts[some], call.routing.gates[some], chosen, tokens[0].device
        )
        address = tokens[0][some][rows.on_device], tokens[1][some][rows.on_device]
        parts.append(
            _read_some(roles, x[some], rows, call.tokens.take(first + rows.token), address)
        )
    for role in roles:
        role.count()
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _read_some(
    roles: Sequence[_Role], x: Any, rows: Sorted, keys: TokenKeys, tokens: Tokens
) -> Tensor:
    """Return the sum by gates of some tokens."""
    if not len(rows.token):
        return torch.zeros_like(x)
    gate, up = (role.read(x, rows.on_device, rows, keys, tokens) for role in roles[:2])
    hidden = torch.nn.functional.silu(gate).mul_(up)
    del gate, up
    return rows.sum(roles[2].read(hidden, None, rows, keys, tokens))


def _group_of(tiles: Sequence[TorchTile], read_seed: int) -> FusedGroup | None:
    """Return tiles that join as one, None if there are none."""
    if not tiles:
        return None
    from cimsim.backends.torch.fused import FusedTile  # noqa: PLC0415 - Triton
    from cimsim.backends.torch.fused_group import FusedGroup  # noqa: PLC0415

    return FusedGroup([tile for tile in tiles if isinstance(tile, FusedTile)], read_seed)


def _sums_of(numbers: Tensor, spans: Sequence[tuple[int, int]]) -> Tensor:
    """Return the sum of the numbers of each span, int64 [spans]."""
    until = torch.cat([numbers.new_zeros(1), numbers.cumsum(0)])
    starts, ends = sent(spans, numbers.device).T
    return until[ends] - until[starts]
