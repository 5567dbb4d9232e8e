"""Column trimming: gain and offset of every column from a dark read and test vectors, no text.

What a chip does when it is brought up (Numan et al., arXiv 2506.15440, trim gains and offsets of
columns by an on-chip processor): every copy of every matrix multiplies `TRIM_VECTORS` vectors, a
fifth of them dark but for one row, which pins the scale of the codes; the others are normal. With y
what the converters give and t the exact product with the weights that were meant::

    gain = cov(y, t) / var(y),   offset = mean t - gain mean y

by column, over vectors of equal greatest magnitude m, so that the offset is known in units of m: a
converter's offset is one of codes, whose value grows with m (`cimsim.model.ColumnTrim`). A column
that gives one value whatever its inputs keeps its gain and loses that value. The registers are
digital: what a converter clipped or rounded away does not come back. Whatever is written after a
trim is trimmed as it is written (`trimmed_again`).
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimsim.model import TRIM_VECTORS, ColumnTrim, Correction
from cimsim.model.kernels.product import product
from cimsim.rng import normals_at
from cimsim.workload.matrix import MatrixId
from romer.deployment import BroughtUp
from romer.exact_sums import column_moments
from romer.record import Routers
from romer.registry import register_step
from romer.task import Task

__all__ = ["fit_trim", "read_vectors", "trim_columns", "trimmed_again", "vectors_of"]

Floats = NDArray[np.float32]

DARK_SHARE = 5  # one vector in so many drives a single row
VECTORS_KEY = (1506, 15440)  # of the test vectors: the same for every chip
_CONSTANT = 1e-9  # a variance below this share of the mean square is none


@register_step("trim_columns")
def trim_columns(task: Task, correction: Correction, routers: Routers) -> Correction:
    """Trim every copy of every analog matrix, whatever it was trimmed to before."""
    del routers
    trims = _trims_of(task, correction, None)
    if not trims:
        return correction
    # Terms that were fitted to untrimmed columns no longer hold.
    return replace(correction, trims=trims, columns={}, low_rank={})


def trimmed_again(task: Task, correction: Correction, changed: Set[MatrixId]) -> Correction:
    """Return a correction with trims of matrices that it newly writes; none where none was."""
    if not correction.trims:
        return correction
    return replace(correction, trims={**correction.trims, **_trims_of(task, correction, changed)})


def _trims_of(
    task: Task, correction: Correction, which: Set[MatrixId] | None
) -> dict[MatrixId, ColumnTrim]:
    """Return the trims of some matrices, or of all, under the writes of a correction."""
    gains: dict[MatrixId, list[Floats]] = {}
    offsets: dict[MatrixId, list[Floats]] = {}
    for copy, _, y, target in read_vectors(task, correction, which):
        gain, offset = fit_trim(y, target)
        gains.setdefault(copy.matrix, []).append(gain)
        offsets.setdefault(copy.matrix, []).append(offset / np.float32(copy.top))
    return {m: ColumnTrim(np.stack(gains[m]), np.stack(offsets[m])) for m in gains}


def read_vectors(
    task: Task, correction: Correction | None, which: Set[MatrixId] | None = None
) -> Iterator[tuple[BroughtUp, Floats, Floats, Floats]]:
    """Yield copies of matrices with test vectors, what they give for them, and exact products.

    Args:
        task: the chip.
        correction: whose writes the copies hold; None for the chip as it was deployed.
        which: matrices, or None for all.
    """
    vectors: dict[int, Floats] = {}
    for copy in task.deployment.bring_up(
        correction, read_seed=task.read_seeds[0], mode=task.mode, which=which
    ):
        weight = _weight(task, correction, copy.source)
        if len(weight) not in vectors:
            vectors[len(weight)] = vectors_of(len(weight))
        x = vectors[len(weight)] * np.float32(copy.top)
        yield copy, x, copy.read(x), product(x, weight)


def vectors_of(n_in: int) -> Floats:
    """Return the test vectors of a matrix, [TRIM_VECTORS, n_in], each of greatest magnitude 1."""
    x = np.stack([normals_at(n_in, (i, 0, 0), VECTORS_KEY) for i in range(TRIM_VECTORS)])
    for i in range(0, TRIM_VECTORS, DARK_SHARE):
        row = (i // DARK_SHARE * n_in * DARK_SHARE // TRIM_VECTORS) % n_in
        x[i] = 0.0
        x[i, row] = 1.0 if i % 2 else -1.0
    return np.asarray(x / np.abs(x).max(axis=1, keepdims=True), dtype=np.float32)


def fit_trim(y: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Return gain and offset of every column, float32 [n_out] each.

    Args:
        y: float32 [n, n_out], what the converters give.
        target: float32 [n, n_out], the exact products.
    """
    n = len(y)
    sums = column_moments(y, target)
    mean_y, mean_t = sums.x / n, sums.y / n
    square = sums.xx / n
    power = square - mean_y**2
    shared = sums.xy / n - mean_y * mean_t
    moves = power > _CONSTANT * square
    gain = np.where(moves, shared / np.where(moves, power, 1.0), 1.0)
    return gain.astype(np.float32), (mean_t - gain * mean_y).astype(np.float32)


def _weight(task: Task, correction: Correction | None, matrix: MatrixId) -> Floats:
    refits = {} if correction is None else correction.router_refit
    refit = refits.get(matrix.layer) if matrix.role == "router" else None
    if refit is not None and refit.where == "reprogrammed":
        return refit.weight
    weight: Floats = task.decoder.checkpoint.matrix(matrix)
    return weight
