"""Converter ranges and input scales of a model's matrices, from clean calibration text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import LogicalCopies, Unit
from cimsim.config import ChipConfig
from cimsim.mac import AdcRange
from cimsim.model import Decoder, FloatLinear
from cimsim.stages.compute import NUMBA, Compute
from cimsim.stages.subject import ModelOnText
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["LEAST_ROWS", "ROWS", "find_ranges", "measure_ranges"]

Floats = NDArray[np.float32]
ROWS = 512  # inputs kept of every matrix to find its converter's range
LEAST_ROWS = 16  # inputs that an expert's converter range needs to be its own


class _RangeFinder:
    """Float products that keep the first rows of every matrix's input, a layer at a time.

    Args:
        config: the chip.
        decoder: the model.
        holds: which matrices are analog.
        rows: input vectors kept per matrix.
        compute: finds the ranges.

    Attributes:
        ranges: of the layers that all windows have passed.
    """

    def __init__(
        self,
        config: ChipConfig,
        decoder: Decoder,
        holds: LogicalCopies,
        rows: int,
        compute: Compute,
    ) -> None:
        self._tile, self._checkpoint, self._rows = config.tile, decoder.checkpoint, rows
        self._backend, self._compute = decoder.backend, compute
        self._parameters = decoder.parameters
        self._digital = FloatLinear(decoder.checkpoint, decoder.backend)
        self._inputs: dict[MatrixId, list[Floats]] = {}
        self._waiting = list(holds.units.values())
        self._layer: int | None = None
        self.ranges: dict[MatrixId, AdcRange] = {}

    def __call__(self, matrix: MatrixId, x: Floats, tokens: TokenKeys) -> Floats:
        if self._layer is not None and matrix.layer != self._layer:
            self.finish([u for u in self._waiting if u.key.layer == self._layer])
        self._layer = matrix.layer
        kept = self._inputs.setdefault(matrix, [])
        room = min(self._rows - sum(len(part) for part in kept), len(x))
        if room > 0:
            kept.append(self._backend.of_layer(matrix.layer).take(x, np.arange(room)))
        return self._digital(matrix, x, tokens)

    def finish(self, units: list[Unit] | None = None) -> None:
        """Find the ranges of units, by default of all that are left, and forget inputs."""
        units = self._waiting if units is None else units
        for unit in units:
            seen = {t.matrix.id: self._seen(t.matrix.id) for t in unit.tilings}
            if unit.key.part == "experts" and min(map(len, seen.values())) < LEAST_ROWS:
                seen = self._borrowed(unit)
            for matrix, inputs in seen.items():
                backend = self._backend.of_layer(matrix.layer)
                weight = backend.weight(self._checkpoint, matrix)
                found = self._compute.calibrate(weight, matrix, self._tile, inputs)
                self.ranges[matrix] = found
        self._waiting = [unit for unit in self._waiting if unit not in units]
        self._inputs.clear()

    def _seen(self, matrix: MatrixId) -> Floats:
        """Return the inputs kept of a matrix, float32 [rows, n_in]; none gives no rows."""
        parts, backend = self._inputs.get(matrix), self._backend.of_layer(matrix.layer)
        if not parts:
            return backend.zeros((0, 0))
        ends = np.cumsum([len(part) for part in parts])
        places = np.split(np.arange(ends[-1]), ends[:-1])
        return backend.join(list(zip(places, parts, strict=True)), int(ends[-1]))

    def _borrowed(self, unit: Unit) -> dict[MatrixId, Floats]:
        """Return inputs for an expert that few calibration tokens chose.

        Its gate and up would see what its router saw: the normed hidden states of all tokens;
        its down sees what they make of them.
        """
        gate, up, down = (t.matrix.id for t in unit.tilings)
        layer = unit.key.layer
        x, backend = self._seen(MatrixId(layer, "router")), self._backend.of_layer(layer)
        through = [backend.product(x, backend.weight(self._checkpoint, m)) for m in (gate, up)]
        hidden = self._parameters.scaled(down, backend.swiglu(*through))
        return {gate: x, up: x, down: hidden}


def find_ranges(
    config: ChipConfig, subject: ModelOnText, holds: LogicalCopies
) -> dict[MatrixId, AdcRange]:
    """Return the ADC range of every analog matrix: a stage of a run.

    Args:
        config: the chip.
        subject: the model, with text for ranges.
        holds: which matrices are analog.
    """
    stage = subject.stages.watch(config=config, copies=holds)
    chip, copies = stage.views["config"], stage.views["copies"]
    compute = subject.compute
    return stage.recall(
        "ranges",
        {**subject.model, "profile": subject.profile},
        lambda: measure_ranges(chip, subject.decoder, copies, subject.profile, compute=compute),
    )


def measure_ranges(
    config: ChipConfig,
    decoder: Decoder,
    holds: LogicalCopies,
    windows: NDArray[np.int64],
    rows: int = ROWS,
    compute: Compute = NUMBA,
) -> dict[MatrixId, AdcRange]:
    """Find the ADC range of every analog matrix from clean calibration activations.

    Args:
        config: the chip.
        decoder: the model.
        holds: which matrices are analog.
        windows: calibration text, int64 [windows, context].
        rows: input vectors kept per matrix.
        compute: finds the ranges, with the arrays of the decoder.
    """
    finder = _RangeFinder(config, decoder, holds, rows, compute)
    decoder.score(windows, finder, sequences=np.arange(len(windows), dtype=np.int64))
    finder.finish()
    return finder.ranges
