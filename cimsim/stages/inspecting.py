"""What of a model is hard for crossbars: spread of weights, outliers of inputs, scarce tokens.

A matrix is stored on a grid from its largest weight, and inputs are driven on one from the largest
input: a large ratio of maximum to root mean square wastes both. Inputs have their large values in a
few channels (outliers), or in a few tokens (sinks), which a scale per token serves and a static one
does not. Statistics are those of the clean model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.model import Checkpoint, Decoder, FloatLinear
from cimsim.workload.matrix import Matrix, MatrixId, TokenKeys

__all__ = ["OUTLIER", "SINK", "RoleStatistics", "inspect_model"]

Floats = NDArray[np.float32]
Windows = NDArray[np.int64]

OUTLIER = 6.0  # a channel whose largest input is so many times that of the median channel
SINK = 10.0  # a token whose largest input is so many times that of the median token


@dataclass(frozen=True)
class RoleStatistics:
    """The matrices of one role in one layer.

    Attributes:
        layer, role: which.
        matrices: how many: experts, or heads.
        weight_max_over_rms: of the matrix with the largest ratio.
        input_max_over_rms: over all scored tokens.
        outlier_channels: inputs whose largest value is `OUTLIER` times that of the median input.
        channels: inputs of a matrix.
        sink_tokens: share of scored tokens whose largest value is `SINK` times the median one's.
        clip_rate: share of scored inputs beyond the largest that its matrix had in calibration
            text, which is what a static scale clips.
        clip_rate_first: the same of the first tokens of windows.
        fewest_tokens: calibration tokens of the matrix that saw fewest.
        scarce: matrices with fewer calibration tokens than inputs, for experts by number.
    """

    layer: int
    role: str
    matrices: int
    weight_max_over_rms: float
    input_max_over_rms: float
    outlier_channels: int
    channels: int
    sink_tokens: float
    clip_rate: float
    clip_rate_first: float
    fewest_tokens: int
    scarce: tuple[int, ...]


class _Inputs:
    """Inputs of the matrices of one role in one layer, as far as statistics need them."""

    def __init__(self, channels: int, windows: int, context: int) -> None:
        self.of_channel = np.zeros(channels, dtype=np.float32)
        self.of_token = np.zeros((windows, context), dtype=np.float32)
        self.squares, self.count, self.clipped = 0.0, 0, 0
        self.first_count, self.first_clipped = 0, 0

    def see(self, x: Floats, tokens: TokenKeys, static: float) -> None:
        """Take in rows of one matrix, whose calibration inputs were at most `static`."""
        size = np.abs(x)
        np.maximum(self.of_channel, size.max(axis=0, initial=0.0), out=self.of_channel)
        at = tokens.sequence, tokens.position
        np.maximum.at(self.of_token, at, size.max(axis=1, initial=0.0))
        self.squares += float(np.square(x, dtype=np.float64).sum())
        self.count += x.size
        beyond, first = size > static, tokens.position == 0
        self.clipped += int(beyond.sum())
        self.first_count += int(first.sum()) * x.shape[1]
        self.first_clipped += int(beyond[first].sum())


class _Watch(FloatLinear):
    """Float products that pass their inputs on."""

    def __init__(self, checkpoint: Checkpoint, shape: tuple[int, int]) -> None:
        super().__init__(checkpoint)
        self._shape = shape
        self.largest: dict[MatrixId, float] = {}
        self.tokens: dict[MatrixId, int] = {}
        self.seen: dict[tuple[int, str], _Inputs] | None = None

    def __call__(self, matrix: MatrixId, x: Floats, tokens: TokenKeys) -> Floats:
        if self.seen is None:
            known = self.largest.get(matrix, 0.0)
            self.largest[matrix] = max(known, float(np.abs(x).max(initial=0.0)))
            self.tokens[matrix] = self.tokens.get(matrix, 0) + len(x)
        else:
            place = matrix.layer, matrix.role
            if place not in self.seen:
                self.seen[place] = _Inputs(x.shape[1], *self._shape)
            # An expert that calibration never reached has no static scale: nothing is clipped.
            self.seen[place].see(x, tokens, self.largest.get(matrix, np.inf))
        return super().__call__(matrix, x, tokens)


def inspect_model(
    checkpoint: Checkpoint, calibration: Windows, scored: Windows
) -> tuple[RoleStatistics, ...]:
    """Return statistics of every layer and role, in program order.

    Args:
        checkpoint: the model.
        calibration: windows from which static scales would be taken, int64 [windows, context].
        scored: windows whose inputs are looked at.
    """
    decoder = Decoder(checkpoint)
    watch = _Watch(checkpoint, (len(scored), scored.shape[1]))
    decoder.score(calibration, watch, sequences=np.arange(len(calibration), dtype=np.int64))
    watch.seen = {}
    decoder.score(scored, watch, sequences=np.arange(len(scored), dtype=np.int64))
    groups = _by_role(checkpoint)
    return tuple(_row(checkpoint, watch, watch.seen, members) for members in groups)


def _by_role(checkpoint: Checkpoint) -> Iterator[list[Matrix]]:
    """Yield the matrices of each layer and role."""
    groups: dict[tuple[int, str], list[Matrix]] = {}
    for matrix in checkpoint.program.matrices():
        groups.setdefault((matrix.id.layer, matrix.id.role), []).append(matrix)
    yield from groups.values()


def _row(
    checkpoint: Checkpoint,
    watch: _Watch,
    seen: dict[tuple[int, str], _Inputs],
    members: list[Matrix],
) -> RoleStatistics:
    layer, role, _ = members[0].id
    n_in = members[0].n_in
    inputs = seen.get((layer, role)) or _Inputs(n_in, 1, 1)
    tokens = inputs.of_token[inputs.of_token > 0.0]
    rms = np.sqrt(inputs.squares / max(1, inputs.count))
    reached = {m.id.expert: watch.tokens.get(m.id, 0) for m in members}
    return RoleStatistics(
        layer=layer,
        role=role,
        matrices=len(members),
        weight_max_over_rms=max(_spread(checkpoint.matrix(m.id)) for m in members),
        input_max_over_rms=float(inputs.of_channel.max() / rms) if rms else 0.0,
        outlier_channels=int((inputs.of_channel > OUTLIER * np.median(inputs.of_channel)).sum()),
        channels=n_in,
        sink_tokens=float((tokens > SINK * np.median(tokens)).mean()) if len(tokens) else 0.0,
        clip_rate=inputs.clipped / max(1, inputs.count),
        clip_rate_first=inputs.first_clipped / max(1, inputs.first_count),
        fewest_tokens=min(reached.values()),
        scarce=tuple(expert for expert, count in reached.items() if count < n_in),
    )


def _spread(weight: Floats) -> float:
    """Return max / rms of a matrix, 0 if it is zero."""
    rms = float(np.sqrt(np.mean(np.square(weight, dtype=np.float64))))
    return float(np.abs(weight).max()) / rms if rms else 0.0
