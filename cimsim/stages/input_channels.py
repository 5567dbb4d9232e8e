"""A scale of its own for every input channel: inputs are divided by it, rows of weights carry it.

`tile.input.scale: per_channel`. Channel j of the inputs of a matrix is divided by

    s_j = max|x_j|^a / max|w_j|^(1 - a),   a = MIGRATION

over calibration text and the matrices that take it, and row j of each is multiplied by s_j, so that
the exact product stays (Xiao et al., SmoothQuant, arXiv 2211.10438). All matrices that take one
vector have one scale: those behind a norm, and the downs of all experts of a layer, whose weights
may change places. What is divided is then driven on the one static grid of its matrix.

Unlike `calibration.inputs: smooth`, which folds the division into gains and weights where it can,
a digital unit divides here: inputs of `o` have scales too, weights before a `down` stay as they
are, and the work is charged (`cimsim.cost.input_scale`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cimsim.model import Checkpoint, Decoder
from cimsim.model.array_backend import ArrayBackend
from cimsim.model.changed_checkpoint import ChangedCheckpoint, changed
from cimsim.stages.reparametrised import LargestInputs, readers_of_norms, untied
from cimsim.workload.matrix import NO_EXPERT, PART_OF_ROLE, Matrix, MatrixId
from cimsim.workload.program import Program

__all__ = ["MIGRATION", "scale_channels"]

Floats = NDArray[np.float32]

MIGRATION = 0.5  # share of a channel's spread that goes into weights


@dataclass(frozen=True)
class _Scaled(ChangedCheckpoint):
    """A checkpoint whose inputs are divided, and whose rows of weights are multiplied.

    Attributes:
        scales: of a matrix to float32 [n_in].
    """

    scales: Mapping[MatrixId, Floats] = field(repr=False, kw_only=True)

    @property
    def input_scales(self) -> Mapping[MatrixId, Floats]:
        """What inputs of matrices are divided by before the product."""
        return self.scales

    def parameter(self, layer: int, role: str, expert: int = NO_EXPERT) -> Floats:
        """Return a digital parameter, or a matrix [n_out, n_in], its rows multiplied."""
        if role not in PART_OF_ROLE:
            return self.plain.parameter(layer, role, expert)
        matrix = MatrixId(layer, role, expert)
        stored = self.plain.matrix(matrix).T
        return stored * self.scales[matrix] if matrix in self.scales else stored


def scale_channels(
    checkpoint: Checkpoint,
    parts: Collection[str],
    windows: NDArray[np.int64],
    backend: ArrayBackend,
) -> Checkpoint:
    """Return a model whose matrices on tiles have a scale for every input.

    Args:
        checkpoint: the model.
        parts: of the model that are on tiles.
        windows: calibration text, int64 [windows, context].
        backend: computes the float model on it.
    """
    largest = LargestInputs(checkpoint, backend)
    numbers = np.arange(len(windows), dtype=np.int64)
    Decoder(checkpoint, backend).score(windows, largest, sequences=numbers)
    scales: dict[MatrixId, Floats] = {}
    for group in _groups(checkpoint.program):
        members = [m.id for m in group if m.id.part in parts]
        if members:
            scales |= dict.fromkeys(members, _scale(largest, members))
    values = changed(checkpoint, "input channels", *(s.tobytes() for s in scales.values()))
    values["program"] = untied(checkpoint.program)
    return _Scaled(**values, scales=scales)


def _groups(program: Program) -> Iterator[list[Matrix]]:
    """Yield the matrices that have one scale: takers of a vector, downs of a layer's experts."""
    taken: set[MatrixId] = set()
    for _, readers in readers_of_norms(program):
        taken.update(m.id for m in readers)
        yield readers
    left: dict[tuple[int, str, int], list[Matrix]] = {}
    for operation in program.operations:
        for matrix in operation.matrices:
            if matrix.id not in taken:
                # Downs of experts have one place; heads of a latent product take their own parts.
                own = NO_EXPERT if matrix.id.part == "experts" else matrix.id.expert
                left.setdefault((matrix.id.layer, matrix.id.role, own), []).append(matrix)
    yield from left.values()


def _scale(largest: LargestInputs, members: list[MatrixId]) -> Floats:
    """Return the scale of channels that matrices share."""
    inputs, weights = largest.maxima(members)
    scale: Floats = (inputs**MIGRATION / weights ** (1.0 - MIGRATION)).astype(np.float32)
    return scale
