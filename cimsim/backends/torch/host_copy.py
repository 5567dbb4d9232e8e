"""Copies on the processor whose products are those of `cimsim.mac`, of tensors.

`exact` promises the bits of the Numba tile, and on a processor that tile is there: its compiled
kernels read the memory of a tensor as it stands. Torch takes a dozen passes over every conversion
for what they do in one. The products in plain torch (`tile`, `folded`, `ideal`) are the twins of
the kernels of a device, and compute there what has no kernel.
"""

from __future__ import annotations

from typing import Any

import torch

from cimsim.mac import IdealMatrix, MacStatistics, Mode, ProgrammedMatrix
from cimsim.workload.matrix import TokenKeys

__all__ = ["HostCopy"]


class HostCopy:
    """One copy of a matrix: what it is to a run that computes in NumPy, for tensors.

    Args:
        copy: written by `cimsim.mac`.
    """

    def __init__(self, copy: ProgrammedMatrix | IdealMatrix) -> None:
        self._copy = copy

    @property
    def folds(self) -> bool:
        """Whether the folded form is faithful."""
        return self._copy.folds

    @property
    def held_bytes(self) -> int:
        """Bytes that it takes, its folded form included."""
        return self._copy.held_bytes

    def forget_folded(self) -> None:
        """Free the folded form; it is made again, with the same bits, when it is next used."""
        self._copy.forget_folded()

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
        """Return the product of tokens, a tensor of float32 [n, n_out].

        Arguments and errors are those of `cimsim.mac.ProgrammedMatrix.multiply`; `x` is a tensor
        on the processor.
        """
        found = self._copy.multiply(
            x.float().contiguous().numpy(),
            keys,
            read_seed=read_seed,
            mode=mode,
            replica=replica,
            statistics=statistics,
        )
        return torch.from_numpy(found)
