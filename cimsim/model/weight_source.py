"""Where the weights of a matrix that is to be written come from: read when they are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cimsim.model.array_backend import ArrayBackend
from cimsim.model.checkpoint import Checkpoint
from cimsim.workload.matrix import MatrixId

__all__ = ["CheckpointWeight", "GivenWeight", "Weight"]


class Weight(Protocol):
    """Gives a weight matrix; equal ones give equal numbers."""

    @property
    def shape(self) -> tuple[int, int]:
        """Inputs and outputs, known before the weights are read."""
        ...

    def __call__(self) -> Any:
        """Return the weights, [n_in, n_out], an array of the backend."""
        ...


@dataclass(frozen=True, eq=False)
class CheckpointWeight:
    """A matrix of a checkpoint.

    Attributes:
        backend: whose arrays are given.
        checkpoint: the model.
        matrix: its name.
    """

    backend: ArrayBackend
    checkpoint: Checkpoint
    matrix: MatrixId

    @property
    def shape(self) -> tuple[int, int]:
        """Inputs and outputs."""
        return self.checkpoint.shape_of(self.matrix)

    def __call__(self) -> Any:
        """Return the weights."""
        return self.backend.of_layer(self.matrix.layer).weight(self.checkpoint, self.matrix)

    def __hash__(self) -> int:
        return hash((self.checkpoint.hash, self.matrix))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CheckpointWeight):
            return False
        same = self.checkpoint.hash == other.checkpoint.hash
        return same and self.matrix == other.matrix and self.backend is other.backend


@dataclass(frozen=True, eq=False)
class GivenWeight:
    """Weights that are there; equal to itself alone.

    Attributes:
        weight: [n_in, n_out].
    """

    weight: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int]:
        """Inputs and outputs."""
        n_in, n_out = self.weight.shape
        return n_in, n_out

    def __call__(self) -> Any:
        """Return the weights."""
        return self.weight
