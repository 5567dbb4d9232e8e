"""Converter ranges and input scales of a model's matrices, from clean calibration text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import LogicalCopies, Unit
from cimsim.config import ChipConfig
from cimsim.mac import AdcRange, calibrate_range
from cimsim.model import Decoder, FloatLinear
from cimsim.model.kernels.product import product
from cimsim.model.kernels.rows import swiglu
from cimsim.stages.subject import ModelOnText
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["LEAST_ROWS", "ROWS", "find_ranges", "measure_ranges"]

Floats = NDArray[np.float32]
ROWS = 512  # inputs kept of every matrix to find its converter's range
LEAST_ROWS = 16  # inputs that an expert's converter range needs to be its own


class _InputRecorder:
    """Float products that keep the first rows of every matrix's input."""

    def __init__(self, digital: FloatLinear, rows: int) -> None:
        self.digital = digital
        self.rows = rows
        self.inputs: dict[MatrixId, list[Floats]] = {}

    def seen(self, matrix: MatrixId) -> Floats:
        """Return the inputs kept of a matrix, float32 [rows, n_in]; none gives no rows."""
        return np.concatenate(self.inputs.get(matrix, [np.zeros((0, 0), np.float32)]))

    def __call__(self, matrix: MatrixId, x: Floats, tokens: TokenKeys) -> Floats:
        kept = self.inputs.setdefault(matrix, [])
        room = self.rows - sum(len(part) for part in kept)
        if room > 0:
            kept.append(self.digital.backend.host(x[:room]).copy())
        return self.digital(matrix, x, tokens)


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
    return stage.recall(
        "ranges",
        {**subject.model, "profile": subject.profile},
        lambda: measure_ranges(chip, subject.decoder, copies, subject.profile),
    )


def measure_ranges(
    config: ChipConfig,
    decoder: Decoder,
    holds: LogicalCopies,
    windows: NDArray[np.int64],
    rows: int = ROWS,
) -> dict[MatrixId, AdcRange]:
    """Find the ADC range of every analog matrix from clean calibration activations.

    Args:
        config: the chip.
        decoder: the model.
        holds: which matrices are analog.
        windows: calibration text, int64 [windows, context].
        rows: input vectors kept per matrix.
    """
    recorder = _InputRecorder(FloatLinear(decoder.checkpoint, decoder.backend), rows)
    decoder.score(windows, recorder, sequences=np.arange(len(windows), dtype=np.int64))
    ranges: dict[MatrixId, AdcRange] = {}
    for unit in holds.units.values():
        seen = {t.matrix.id: recorder.seen(t.matrix.id) for t in unit.tilings}
        if unit.key.part == "experts" and min(map(len, seen.values())) < LEAST_ROWS:
            seen = _borrowed(decoder, recorder, unit)
        for tiling in unit.tilings:
            matrix = tiling.matrix.id
            weight = decoder.checkpoint.matrix(matrix)
            ranges[matrix] = calibrate_range(weight, matrix, config.tile, seen[matrix])
    return ranges


def _borrowed(decoder: Decoder, recorder: _InputRecorder, unit: Unit) -> dict[MatrixId, Floats]:
    """Return inputs for an expert that few calibration tokens chose.

    Its gate and up would see what its router saw: the normed hidden states of all tokens;
    its down sees what they make of them.
    """
    gate, up, down = (t.matrix.id for t in unit.tilings)
    x = recorder.seen(MatrixId(unit.key.layer, "router"))
    weight = decoder.checkpoint.matrix
    hidden = swiglu(product(x, weight(gate)), product(x, weight(up)))
    return {gate: x, up: x, down: hidden}
