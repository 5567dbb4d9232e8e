"""What destroyed a model on a chip, which knob to turn, and what that would do to the tile.

One matrix stands for all: the analog one of the middle layer that most calibration tokens reach,
written as chip seed 0 and fed with its own clean inputs. `cimsim.mac.study_tile` takes its sources
of error away one by one; the source without which the least error is left is the one to mend. Of a
converter it is the range where another range at the same bits leaves a fifth less, else the bits.
Errors are relative, rms of outputs against the exact product of the same integers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cimsim.config import ChipConfig, Tile
from cimsim.mac import AdcRange, TileStudy, study_tile, tile_error
from cimsim.model import FloatLinear
from cimsim.model.text import perplexity
from cimsim.results.destroyed import COSTLY_RANGE, DESTROYED, is_destroyed
from cimsim.stages.measured import ChipMeasurement
from cimsim.stages.subject import ModelOnText
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["diagnosis", "range_warning"]

TOKENS = 64
LESS = 0.8  # error of another range over that of the chip's, for the range to be the cause
WORTH = 0.1  # error of outputs beyond the least that a run warns of
_KNOBS = {
    "stuck": ("stuck cells", "tile.device.stuck_low and stuck_high"),
    "read_noise": ("read noise", "tile.device.read_noise.sigma"),
    "wires": ("voltage drop along wires", "tile.crossbar.wire_ohm"),
    "converter_errors": (
        "errors of the converters",
        "tile.adc.enob, noise_lsb, inl_lsb and curve",
    ),
    "converter_offset": ("offsets of the converters", "tile.adc.offset_lsb"),
    "converter_gain": ("gains of the converters", "tile.adc.gain_sigma"),
    "converter_drift": ("drift of the converters since they were trimmed", "tile.adc.drift"),
    "reference": (
        "the reference of the converters",
        "tile.adc.reference_gain and drift.reference_per_c",
    ),
    "stuck_columns": ("stuck columns", "tile.crossbar.stuck_columns_high and stuck_columns_low"),
    "supply_droop": ("droop of the supply", "tile.pe.supply_droop"),
    "cell_shift": (
        "the mean error of cells",
        "tile.device.shift_level, shift_level_per_c and mean_lsb",
    ),
    "warm_cells": (
        "what warmth does to the current of cells",
        "tile.device.temperature.conductance_per_c and threshold_mv_per_c, or set converters at "
        "that temperature (tile.adc.drift.calibrated_c)",
    ),
}
_Floats = NDArray[np.float32]


def range_warning(ranges: Mapping[MatrixId, AdcRange], kind: str) -> tuple[str, ...]:
    """Return a warning where the converter range costs outputs more than it need.

    Args:
        ranges: of every analog matrix.
        kind: of the range.
    """
    known = [(r.error, r.least_error) for r in ranges.values()]
    pairs = np.array([(e, least) for e, least in known if e is not None and least is not None])
    if kind == "auto" or not pairs.size:
        return ()
    error, least = np.sqrt(np.mean(pairs**2, axis=0))
    if np.sqrt(max(error**2 - least**2, 0.0)) < WORTH:
        return ()
    return (
        f"{COSTLY_RANGE} {kind} costs more than it need: by converting, outputs of calibration "
        f"text err by {_share(error)} of their rms; tile.adc.range={{kind: auto}} leaves "
        f"{_share(least)}",
    )


def _share(error: float) -> str:
    """Write an error that was added up as if conversions erred alike, which ends at 1."""
    return f"{error:.2g}" if error < 1.0 else "all"


def diagnosis(measured: ChipMeasurement, subject: ModelOnText) -> tuple[str, ...]:
    """Return what destroyed the model on the chip and what would help; empty if it was not.

    Args:
        measured: everything that one chip and model gave.
        subject: the model and its texts.
    """
    accuracy, config = measured.accuracy, measured.config
    unigram = accuracy.unigram_ppl
    if not any(is_destroyed(s.ppl.mean, unigram) for s in (measured.noisy, measured.calibrated)):
        return ()
    if is_destroyed(perplexity(accuracy.clean.nll), unigram):
        return (
            f"{DESTROYED} before it reached a chip: the float model itself is no better than "
            f"counting tokens on this text; give a model that was trained on such text, or "
            f"another text",
        )
    if is_destroyed(accuracy.ideal_ppl, unigram):
        return (
            f"{DESTROYED} by its number formats, before any analog error: give "
            f"tile.weight.bits (now {config.tile.weight.bits}) or tile.input.bits "
            f"(now {config.tile.input.bits}) more",
        )
    if config.tile.crossbar.kind == "digital" or not accuracy.ranges:
        return ()
    matrix, inputs = _typical(subject, accuracy.ranges)
    backend = subject.decoder.backend.of_layer(matrix.layer)
    weight = backend.weight(subject.checkpoint, matrix)
    host = np.ascontiguousarray(subject.decoder.backend.host(weight), dtype=np.float32)
    return (_explained(config, matrix, host, inputs),)


def _explained(config: ChipConfig, matrix: MatrixId, weight: _Floats, inputs: _Floats) -> str:
    tile, warmth = config.tile, config.technology.temperature_c
    study = study_tile(tile, weight, inputs, temperature_c=warmth)
    sources = [s for s in study.sources if s.without is not None]
    if study.error is None or not sources:
        return f"{DESTROYED}; no source of error stands out on matrix {matrix}"
    worst = min(sources, key=lambda s: s.without or 0.0)
    if worst.name == "rounding":
        cause, advice = _converter(tile, study, study.error)
    elif worst.name == "cells":
        cause, advice = _cells(tile, weight, inputs, warmth)
    else:
        cause, knobs = _KNOBS[worst.name]
        advice = f"lower {knobs}"
    without = "" if worst.name == "rounding" else f", {worst.without:.2g} without this source"
    return (
        f"{DESTROYED} mostly by {cause}: outputs err by {study.error:.2g} of their rms"
        f"{without} (matrix {matrix}, chip seed 0). {advice[0].upper()}{advice[1:]}"
    )


def _converter(tile: Tile, study: TileStudy, error: float) -> tuple[str, str]:
    """Return whether range or bits are the cause, and what helps."""
    by_range = study.error_by_range
    best = min(by_range, key=lambda name: by_range[name])
    if by_range["auto"] <= LESS * error:
        best = "auto"  # found for every matrix, where a percentile suits the one looked at
    if by_range[best] <= LESS * error:
        kind, _, share = best.partition(" ")
        knob = f"{{kind: {kind}{f', percentile: {share}' if share else ''}}}"
        return (
            "the range of the converters",
            f"set tile.adc.range={knob}: {by_range[best]:.2g} at the same {tile.adc.bits} bits",
        )
    bits = study.recommended_bits or tile.adc.bits
    if bits <= tile.adc.bits:
        return "rounding and clipping of the converters", "use fewer rows at once (rows_active)"
    return (
        "too few bits of the converters",
        f"set tile.adc.bits={bits} (now {tile.adc.bits}): {study.error_by_bits[bits]:.2g}",
    )


def _cells(tile: Tile, weight: _Floats, inputs: _Floats, warmth: float) -> tuple[str, str]:
    """Return errors of cells as the cause, and what half of their sigma would leave."""
    name = next((n for n in ("sigma", "sigma_lsb") if hasattr(tile.device, n)), None)
    if name is None:
        return "errors of cells", "write and verify (tile.device.verify.tolerance)"
    sigma = getattr(tile.device, name)
    calmer = tile.device.model_copy(update={name: sigma / 2.0})
    halved = tile_error(
        tile.model_copy(update={"device": calmer}), weight, inputs, temperature_c=warmth
    )
    left = "" if halved is None else f", which leaves {halved:.2g}"
    return "errors of cells", f"halve tile.device.{name} (now {sigma:g}){left}"


def _typical(subject: ModelOnText, ranges: Mapping[MatrixId, AdcRange]) -> tuple[MatrixId, _Floats]:
    """Return the matrix of the middle layer that most tokens reach, and its clean inputs."""
    layers = sorted({m.layer for m in ranges})
    middle = layers[len(layers) // 2]
    seen: dict[MatrixId, list[_Floats]] = {}
    backend, digital = (
        subject.decoder.backend,
        FloatLinear(subject.checkpoint, subject.decoder.backend),
    )

    def watch(matrix: MatrixId, x: _Floats, tokens: TokenKeys) -> _Floats:
        if matrix in ranges and matrix.layer == middle:
            seen.setdefault(matrix, []).append(np.asarray(backend.host(x), dtype=np.float32))
        return digital(matrix, x, tokens)

    subject.decoder.score(subject.profile[:1], watch, sequences=np.zeros(1, dtype=np.int64))
    matrix = max(seen, key=lambda m: sum(map(len, seen[m])))
    inputs = np.concatenate(seen[matrix])
    return matrix, inputs[np.linspace(0, len(inputs) - 1, min(TOKENS, len(inputs))).astype(int)]
