"""Exact integer products of a run in torch."""

from __future__ import annotations

from typing import Any

import torch

from cimsim.backends.torch import plain
from cimsim.backends.torch.held import HeldIdeal
from cimsim.mac import MacStatistics, Mode
from cimsim.mac.statistics import MatrixCounts, exact_share
from cimsim.workload.matrix import TokenKeys

__all__ = ["TorchIdeal"]


class TorchIdeal:
    """The exact integer product of one matrix: what `cimsim.mac.IdealMatrix` is to a run.

    Args:
        ideal: the matrix.
    """

    folds = True  # exact arithmetic is the same in both modes

    def __init__(self, ideal: HeldIdeal) -> None:
        self._ideal = ideal

    @property
    def held_bytes(self) -> int:
        """Bytes that it takes."""
        return self._ideal.values.nbytes

    def forget_folded(self) -> None:
        """Do nothing: there is no second form."""

    def multiply(
        self,
        x: Any,
        keys: TokenKeys,
        *,
        read_seed: int,
        mode: Mode,
        replica: int,
        statistics: MacStatistics | None,
    ) -> Any:
        """Return the exact product of quantised tokens, float32 [n, n_out]."""
        del keys, read_seed, mode, replica
        held, n = self._ideal, len(x)
        if n == 0:
            return x.new_zeros((0, held.values.shape[1]))
        q, scale = plain.whole_inputs(x.float(), held.input_bits, held.input_scale, held.matrix)
        exact = torch.matmul(q.to(held.values.dtype), held.values).double()
        if statistics is not None:
            fed = q >> 1 if held.input_bits == 1 else q  # +-1 are fed as their sign bit
            ones = sum((fed >> bit & 1).sum() for bit in range(held.input_bits))
            counts = MatrixCounts(vectors=n, code_sum=int(ones))
            counts.code_slots = q.numel() * held.input_bits
            counts.level_fraction_sum = n * exact_share(held.mean_fraction)
            statistics.add(held.matrix, counts)
        return (exact * (scale.double()[:, None] * held.scale.double())).float()
