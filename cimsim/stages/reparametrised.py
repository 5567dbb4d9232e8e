"""The same model with other weights: inputs of products without outliers, before they are written.

Both forms leave the float model as it is, up to rounding, and cost nothing at inference, because
they are folded into weights and gains:

* **smooth** (after Xiao et al., SmoothQuant, arXiv 2211.10438): input channel j is divided by
  s_j = max|x_j|^1/2 / max|w_j|^1/2 and its rows of all matrices that take it are multiplied by it.
  The division is in the gain of the norm before them; for `down` in the columns of `up`.
* **rotate** (after Ashkboos et al., QuaRot, arXiv 2404.00456): the residual stream x becomes x R
  with an orthogonal R of Hadamard blocks and drawn signs. Gains of norms go into the matrices that
  read the stream, which are then R' W; those that write it are W R, and so is the embedding. The
  inputs of `o` and `down` are not rotated: that would be work at inference.

A head that is tied to the embedding is so no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.model import Checkpoint, Decoder, FloatLinear
from cimsim.model.array_backend import ArrayBackend
from cimsim.model.changed_checkpoint import ChangedCheckpoint, changed
from cimsim.workload.matrix import NO_EXPERT, PART_OF_ROLE, Matrix, MatrixId, TokenKeys
from cimsim.workload.operations import Experts, Head, Norm, Operation
from cimsim.workload.program import Program

__all__ = ["LargestInputs", "hadamard", "readers_of_norms", "reparametrise", "untied"]

Floats = NDArray[np.float32]
Windows = NDArray[np.int64]

SIGNS_KEY = 2404_00456  # of the drawn signs: a fixed choice
_WRITES = ("o", "down", "shared_down", "dense_down")
_SECOND = ("down", "shared_down", "dense_down")


@dataclass(frozen=True)
class _Reparametrised(ChangedCheckpoint):
    """A checkpoint whose matrices and gains are changed when they are asked for.

    Attributes:
        rows: of a matrix to float32 [n_in], multiplied onto its rows.
        columns: of a matrix to float32 [n_out], multiplied onto its columns.
        gains: (layer, role) of a norm to its gain.
        signs: float32 [d_model] of the rotation, or None.
    """

    rows: Mapping[MatrixId, Floats] = field(repr=False, kw_only=True)
    columns: Mapping[MatrixId, Floats] = field(repr=False, kw_only=True)
    gains: Mapping[tuple[int, str], Floats] = field(repr=False, kw_only=True)
    signs: Floats | None = field(repr=False, kw_only=True)

    def parameter(self, layer: int, role: str, expert: int = NO_EXPERT) -> Floats:
        """Return a digital parameter, or a matrix [n_out, n_in], changed."""
        if (layer, role) in self.gains:
            return self.gains[layer, role]
        if role not in PART_OF_ROLE:
            found = self.plain.parameter(layer, role, expert)
            turns = role in ("embedding", "o_bias") and self.signs is not None
            return hadamard(found, self.signs) if turns else found
        matrix = MatrixId(layer, role, expert)
        found = self.plain.matrix(matrix).T
        if matrix in self.rows:
            found = found * self.rows[matrix]
        if matrix in self.columns:
            found = found * self.columns[matrix][:, None]
        if self.signs is None:
            return found
        if role in _WRITES:
            return hadamard(found.T, self.signs).T
        return hadamard(found, self.signs) if matrix in self.rows else found


def hadamard(x: Floats, signs: Floats | None) -> Floats:
    """Return x R over the last axis: signs, then Hadamard blocks of the largest power of two.

    Args:
        x: float32 [..., width].
        signs: float32 [width] of +1 and -1; None leaves x as it is.
    """
    if signs is None:
        return x
    width = x.shape[-1]
    block = width & -width  # the largest power of two that divides it
    y = (x * signs).astype(np.float64).reshape(-1, width // block, block)
    step = 1
    while step < block:
        pairs = y.reshape(*y.shape[:2], block // (2 * step), 2, step)
        first, second = pairs[..., 0, :], pairs[..., 1, :]
        y = np.stack((first + second, first - second), axis=-2).reshape(y.shape)
        step *= 2
    return np.ascontiguousarray((y / np.sqrt(block)).reshape(x.shape), dtype=np.float32)


def reparametrise(
    checkpoint: Checkpoint, form: Literal["smooth", "rotate"], windows: Windows
) -> Checkpoint:
    """Return the model in another form.

    Args:
        checkpoint: the model.
        form: which.
        windows: calibration text, int64 [windows, context], for `smooth`.
    """
    if form == "smooth":
        rows, columns, gains = _smooth(checkpoint, windows)
        signs = None
    else:
        rows, gains, columns = {}, {}, {}
        for norm, readers in readers_of_norms(checkpoint.program):
            gain = checkpoint.parameter(norm.layer, f"{norm.name}_norm")
            rows |= {m.id: gain for m in readers}
            gains[norm.layer, f"{norm.name}_norm"] = np.ones_like(gain)
        draw = np.random.Generator(np.random.Philox(key=SIGNS_KEY))
        signs = np.float32(1.0) - 2.0 * draw.integers(0, 2, checkpoint.program.d_model)
        signs = signs.astype(np.float32)
    scales = (scale.tobytes() for scale in (*rows.values(), *columns.values()))
    values = changed(checkpoint, form, *scales) | {"program": untied(checkpoint.program)}
    return _Reparametrised(**values, rows=rows, columns=columns, gains=gains, signs=signs)


def untied(program: Program) -> Program:
    """Return a program whose head is a matrix of its own."""
    operations = tuple(
        replace(o, tied=False) if isinstance(o, Head) else o for o in program.operations
    )
    return replace(program, operations=operations)


def readers_of_norms(program: Program) -> Iterable[tuple[Norm, list[Matrix]]]:
    """Yield every norm with the matrices that take what it normed."""
    for index, operation in enumerate(program.operations):
        if isinstance(operation, Norm):
            yield operation, list(_after(program.operations[index + 1 :]))


def _after(operations: Iterable[Operation]) -> Iterable[Matrix]:
    """Yield the matrices that take normed inputs, up to what follows from them."""
    for operation in operations:
        if not operation.matrices:
            return
        yield from (m for m in operation.matrices if m.id.role not in _SECOND)
        if not any(m.id.part == "router" for m in operation.matrices):
            return


class LargestInputs(FloatLinear):
    """Float products that keep the largest magnitude of every input of every matrix."""

    def __init__(self, checkpoint: Checkpoint, backend: ArrayBackend | None = None) -> None:
        super().__init__(checkpoint, backend)
        self.seen: dict[MatrixId, Floats] = {}

    def __call__(self, matrix: MatrixId, x: Floats, tokens: TokenKeys) -> Floats:
        """Return x @ W."""
        top = np.abs(self.backend.host(x)).max(axis=0, initial=0.0)
        self.seen[matrix] = np.maximum(self.seen.get(matrix, 0.0), top)
        return super().__call__(matrix, x, tokens)

    def maxima(self, members: Sequence[MatrixId]) -> tuple[Floats, Floats]:
        """Return the largest input and weight of every channel that some matrices share.

        float32 [n_in] each; 1 and 1 where one of them is 0.
        """
        none = np.float32(0.0)
        inputs = weights = np.zeros((), dtype=np.float32)
        for matrix in members:
            inputs = np.maximum(inputs, self.seen.get(matrix, none))
            weights = np.maximum(weights, np.abs(self._checkpoint.matrix(matrix)).max(axis=1))
        known = (inputs > 0.0) & (weights > 0.0)
        return np.where(known, inputs, 1.0), np.where(known, weights, 1.0)


def _smooth(
    checkpoint: Checkpoint, windows: Windows
) -> tuple[dict[MatrixId, Floats], dict[MatrixId, Floats], dict[tuple[int, str], Floats]]:
    """Return what multiplies rows, what multiplies columns, and the gains of norms."""
    largest = LargestInputs(checkpoint)
    decoder = Decoder(checkpoint)
    decoder.score(windows, largest, sequences=np.arange(len(windows), dtype=np.int64))
    rows: dict[MatrixId, Floats] = {}
    columns: dict[MatrixId, Floats] = {}
    gains: dict[tuple[int, str], Floats] = {}
    for norm, readers in readers_of_norms(checkpoint.program):
        scale = _scale(largest, readers)
        rows |= {m.id: scale for m in readers}
        role = f"{norm.name}_norm"
        gains[norm.layer, role] = checkpoint.parameter(norm.layer, role) / scale
    for block in checkpoint.program.operations:
        if not isinstance(block, Experts):
            continue
        for _, up, down in (*block.experts, *([block.shared] if block.shared else [])):
            scale = _scale(largest, [down])
            rows[down.id], columns[up.id] = scale, np.float32(1.0) / scale
    return rows, columns, gains


def _scale(largest: LargestInputs, members: list[Matrix]) -> Floats:
    """Return s of the channels that some matrices share."""
    inputs, weights = largest.maxima([m.id for m in members])
    return np.asarray(np.sqrt(inputs / weights), dtype=np.float32)
