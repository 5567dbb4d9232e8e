"""A model whose weights are changed when they are asked for: what every such form has in common."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.model.checkpoint import Checkpoint
from cimsim.model.stored_weights import MatrixCache
from cimsim.workload.matrix import MatrixId

__all__ = ["ChangedCheckpoint", "changed"]


@dataclass(frozen=True)
class ChangedCheckpoint(Checkpoint):
    """A checkpoint whose parameters or matrices are others than those on disk.

    Attributes:
        plain: the checkpoint on disk.
    """

    plain: Checkpoint = field(repr=False, kw_only=True)

    @property
    def input_scales(self) -> Mapping[MatrixId, NDArray[np.float32]]:
        """What inputs of matrices are divided by before the product, float32 [n_in]."""
        return self.plain.input_scales

    def bfloat16(self, matrix: MatrixId) -> None:
        """Return None: what is stored in the files is not what this model has."""
        del matrix


def changed(checkpoint: Checkpoint, change: str, *scales: bytes) -> dict[str, Any]:
    """Return the fields of a `ChangedCheckpoint` over a checkpoint.

    It has an identity and a store of matrices of its own: weights that were read are known by the
    hash of their model.

    Args:
        checkpoint: the model on disk.
        change: what is done to it, with all that decides it.
        scales: numbers that decide it too.
    """
    state = hashlib.sha256(f"{checkpoint.hash} {change}".encode())
    for numbers in scales:
        state.update(numbers)
    values = {f.name: getattr(checkpoint, f.name) for f in fields(Checkpoint)}
    return {
        **values,
        "hash": state.hexdigest(),
        "_cache": MatrixCache(),
        "plain": checkpoint,
    }
