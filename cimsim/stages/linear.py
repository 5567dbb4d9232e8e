"""The products of a deployed model: analog where a matrix is programmed, digital elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import copy_of_token
from cimsim.mac import IdealMatrix, MacStatistics, Mode, ProgrammedMatrix
from cimsim.model import FloatLinear
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["AnalogLinear", "Copy"]

Floats = NDArray[np.float32]
Copy = ProgrammedMatrix | IdealMatrix


@dataclass(frozen=True)
class AnalogLinear:
    """`Linear` of a deployed model: analog where programmed, digital float elsewhere.

    Attributes:
        programmed: copies of every analog matrix, in replica order.
        n_out: outputs of every analog matrix.
        digital: the float products of matrices that are not analog.
        read_seed: seed of the read noise.
        mode: detailed or folded.
        averaged: experts (layer, expert) whose copies all serve every token and are averaged.
        statistics: where conversions and clips are counted, by matrix; or None.
    """

    programmed: Mapping[MatrixId, tuple[Copy, ...]]
    n_out: Mapping[MatrixId, int]
    digital: FloatLinear
    read_seed: int
    mode: Mode
    averaged: frozenset[tuple[int, int]] = frozenset()
    statistics: MacStatistics | None = None

    def __call__(self, matrix: MatrixId, x: Floats, tokens: TokenKeys) -> Floats:
        """Return x @ W as the chip computes it, float32 [n, n_out]."""
        copies = self.programmed.get(matrix)
        if copies is None:
            return self.digital(matrix, x, tokens)
        if len(copies) == 1:
            return self.read(copies[0], x, tokens, 0)
        if (matrix.layer, matrix.routed) in self.averaged:
            return self.mean(matrix, copies, x, tokens)
        chosen = copy_of_token(tokens.sequence, tokens.position, len(copies))
        y = np.empty((len(x), self.n_out[matrix]), dtype=np.float32)
        for replica, copy in enumerate(copies):
            rows = np.flatnonzero(chosen == replica)
            if len(rows):
                y[rows] = self.read(copy, x[rows], tokens.take(rows), replica)
        return y

    def mean(
        self, matrix: MatrixId, copies: tuple[Copy, ...], x: Floats, tokens: TokenKeys
    ) -> Floats:
        """Return the mean of the products of all copies of a matrix, float32 [n, n_out]."""
        total = np.zeros((len(x), self.n_out[matrix]), dtype=np.float64)
        for replica, copy in enumerate(copies):
            total += self.read(copy, x, tokens, replica)
        return (total / len(copies)).astype(np.float32)

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
