"""The products of a deployed model: analog where a matrix is programmed, digital elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import copy_of_token
from cimsim.mac import MacStatistics, Mode
from cimsim.model import ExpertCall, FloatLinear, Registers
from cimsim.stages.copy import Copy
from cimsim.stages.trimmed import TrimmedCopy
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["AnalogLinear", "JoinsExperts"]

Floats = NDArray[np.float32]


@runtime_checkable
class JoinsExperts(Protocol):
    """Arrays whose library reads copies of a layer's experts together."""

    def join_experts(
        self,
        copies: Mapping[int, tuple[Copy, ...]],
        call: ExpertCall,
        *,
        read_seed: int,
        mode: Mode,
        statistics: MacStatistics | None,
    ) -> tuple[Floats, frozenset[int]] | None:
        """Return the sum of some experts by gates, and which; None where it joins none.

        Args:
            copies: gate, up and down of experts that have one copy each.
            call: the products.
            read_seed: seed of the read noise.
            mode: detailed or folded.
            statistics: where to count conversions, or None.
        """
        ...


@dataclass(frozen=True)
class AnalogLinear:
    """`Linear` of a deployed model: analog where programmed, digital float elsewhere.

    Attributes:
        programmed: copies of every analog matrix, in replica order.
        digital: the float products of matrices that are not analog.
        read_seed: seed of the read noise.
        mode: detailed or folded.
        averaged: experts (layer, expert) whose copies all serve every token and are averaged.
        statistics: where conversions and clips are counted, by matrix; or None.
    """

    programmed: Mapping[MatrixId, tuple[Copy, ...]]
    digital: FloatLinear
    read_seed: int
    mode: Mode
    averaged: frozenset[tuple[int, int]] = frozenset()
    statistics: MacStatistics | None = None

    def __call__(self, matrix: MatrixId, x: Floats, tokens: TokenKeys) -> Floats:
        """Return x @ W as the chip computes it, float32 [n, n_out]."""
        if matrix not in self.programmed:
            return self.digital(matrix, x, tokens)
        copies = self.programmed[matrix]
        if len(copies) == 1 or not len(x):
            return self.read(copies[0], x, tokens, 0)
        if (matrix.layer, matrix.routed) in self.averaged:
            return self.mean(copies, x, tokens)
        chosen = copy_of_token(tokens.sequence, tokens.position, len(copies))
        backend, pieces = self.digital.backend.of_layer(matrix.layer), []
        for replica, copy in enumerate(copies):
            rows = np.flatnonzero(chosen == replica)
            if len(rows):
                some = backend.take(x, rows)
                pieces.append((rows, self.read(copy, some, tokens.take(rows), replica)))
        return backend.join(pieces, len(x))

    def serve_experts(self, call: ExpertCall) -> tuple[Floats, frozenset[int]] | None:
        """Return the sum of the experts that the backend reads together, and which."""
        backend = self.digital.backend.of_layer(call.layer)
        if not isinstance(backend, JoinsExperts):
            return None
        lone: dict[int, tuple[Copy, ...]] = {}
        trims: dict[MatrixId, Registers] = {}
        for number, three in enumerate(call.experts):
            if (call.layer, number) in self.averaged:
                continue
            copies = [self.programmed[m.id] for m in three if m.id in self.programmed]
            if len(copies) == len(three) and all(len(some) == 1 for some in copies):
                alone = [some[0] for some in copies]
                for matrix, copy in zip(three, alone, strict=True):
                    if isinstance(copy, TrimmedCopy):
                        trims[matrix.id] = copy.registers
                lone[number] = tuple(c.copy if isinstance(c, TrimmedCopy) else c for c in alone)
        return backend.join_experts(
            lone,
            replace(call, trims=trims),
            read_seed=self.read_seed,
            mode=self.mode,
            statistics=self.statistics,
        )

    def mean(self, copies: tuple[Copy, ...], x: Floats, tokens: TokenKeys) -> Floats:
        """Return the mean of the products of all copies of a matrix, float32 [n, n_out]."""
        read = [self.read(copy, x, tokens, replica) for replica, copy in enumerate(copies)]
        return self.digital.backend.mean(read)

    def read(self, copy: Copy, x: Floats, keys: TokenKeys, replica: int) -> Floats:
        """Return the product of one copy, float32 [n, n_out]."""
        return copy.multiply(
            x,
            keys,
            read_seed=self.read_seed,
            mode=self.mode,
            replica=replica,
            statistics=self.statistics,
        )
