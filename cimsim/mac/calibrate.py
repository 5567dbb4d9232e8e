"""Finding a converter's range and the input scale of a matrix on clean calibration inputs.

No noise and no seed are involved: this is what a designer knows from the weights, the
formats and calibration text before any chip is made.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.config.converter import AutoRange, FixedRange, PercentileRange
from cimsim.errors import CimsimError
from cimsim.mac.adc import AdcRange, code_bounds, full_range_levels, step_of
from cimsim.mac.convert import histogram
from cimsim.mac.encode import Encoded, encode
from cimsim.mac.feed import fed_planes
from cimsim.mac.formats import Formats
from cimsim.mac.least_error import SeenSums, is_lossless
from cimsim.mac.program import write_ideal
from cimsim.mac.quantize import quantized_inputs, static_scale_of
from cimsim.workload.matrix import MatrixId

__all__ = ["calibrate_range", "empty_counts", "range_of_counts", "spread_rows"]

_MOST_TOKENS = 128  # column sums of so many tokens, evenly spaced, are counted
_MOST_BINS = 1 << 16


def calibrate_range(
    weight: NDArray[np.float32],
    matrix: MatrixId,
    tile: Tile,
    inputs: NDArray[np.float32] | None = None,
) -> AdcRange:
    """Find the converter range and, with static scales, the input scale of a matrix.

    Args:
        weight: float32 [n_in, n_out].
        matrix: its name.
        tile: the tile it will sit on.
        inputs: float32 [n, n_in] calibration inputs. A full or fixed range with per-token
            scales needs none, nor does `auto` where codes of one level hold every sum.

    Returns:
        The range. Of `auto`, that of least error (`cimsim.mac.least_error`); of a percentile
        range, the least whole number of levels that holds the share of absolute column sums
        (every cycle, slice and row group counts). With inputs also the share of sums that it
        clips, what that costs outputs, and what the range of least error would cost them.

    Raises:
        CimsimError: if inputs are needed and missing, or do not fit the matrix.
    """
    encoded = encode(weight, matrix, tile)
    chosen = tile.adc.range
    some = inputs is not None and inputs.shape[0] > 0
    static = tile.input.scale != "per_token"
    formats, digital = encoded.formats, tile.crossbar.kind == "digital"
    lossless = digital or (chosen.kind in {"auto", "full"} and is_lossless(tile, formats))
    if not some and (static or (isinstance(chosen, AutoRange | PercentileRange) and not lossless)):
        raise CimsimError(
            f"matrix {matrix} needs calibration inputs to find its range",
            key="tile.input.scale" if static else "tile.adc.range",
            hint="give at least one input",
        )
    input_scale = None
    q = np.zeros((0, weight.shape[0]), dtype=np.int32)
    if some and inputs is not None:
        input_scale, q = _quantised(inputs, encoded, static=static)
    if digital:
        return AdcRange(float("inf"), input_scale, 0.0)
    full = full_range_levels(formats)
    if lossless or (chosen.kind == "full" and not some):
        return AdcRange(full, input_scale, 0.0)
    if isinstance(chosen, FixedRange) and not some:
        return AdcRange(chosen.levels, input_scale, None)
    counts, width = _count_sums(q, encoded, tile, full)
    outputs = q.astype(np.float64) @ encoded.wq
    signal = float(np.mean(outputs**2))
    return range_of_counts(counts, width, tile, formats, signal, input_scale)


def range_of_counts(
    counts: NDArray[np.int64],
    width: float,
    tile: Tile,
    formats: Formats,
    signal: float,
    input_scale: float | None,
) -> AdcRange:
    """Return the range, what it clips and how it errs, from counts of column sums.

    Args:
        counts: absolute column sums by bins.
        width: of a bin in levels.
        tile: the tile.
        formats: of the matrix.
        signal: mean square of the exact outputs, in units of one LSB product.
        input_scale: static scale of its inputs, or None.
    """
    chosen, full = tile.adc.range, full_range_levels(formats)
    there = np.flatnonzero(counts)
    seen = SeenSums(there.astype(np.float64) * width, counts[there], tile, formats, signal)
    best = seen.best()
    if isinstance(chosen, PercentileRange):
        top = min(_percentile(counts, width, chosen.percentile), full)
    elif isinstance(chosen, FixedRange):
        top = chosen.levels
    else:
        top = full if chosen.kind == "full" else best
    # What clips is converted again: neither error is that of the outputs.
    known = (top, best) if not formats.recoveries else ()
    error, least = [seen.error(step_of(tile, formats, AdcRange(t))) for t in known] or (None, None)
    found = AdcRange(top, input_scale, error=error, least_error=least)
    return _with_clip_rate(found, counts, width, tile, formats)


def spread_rows(n: int) -> NDArray[np.int64]:
    """Return which of n inputs are counted: at most `_MOST_TOKENS`, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, _MOST_TOKENS).astype(np.int64))


def empty_counts(full: float) -> tuple[NDArray[np.int64], float]:
    """Return room for counts of column sums up to twice a full range, and a bin's width."""
    width = max(1.0, np.ceil(2.0 * full / _MOST_BINS))
    return np.zeros(int(2.0 * full / width) + 2, dtype=np.int64), float(width)


def _quantised(
    inputs: NDArray[np.float32], encoded: Encoded, *, static: bool
) -> tuple[float | None, NDArray[np.int32]]:
    """Return the static scale, if asked for, and integers of evenly spaced inputs."""
    formats = encoded.formats
    if inputs.ndim != 2 or inputs.shape[1] != formats.n_in:
        raise CimsimError(
            "calibration inputs do not fit the matrix",
            value=inputs.shape,
            allowed=f"[tokens, {formats.n_in}]",
        )
    if not np.isfinite(inputs).all():
        raise CimsimError("a calibration input is not a finite number")
    scale = static_scale_of(inputs.astype(np.float32), formats.input_bits) if static else 0.0
    x = np.ascontiguousarray(inputs[spread_rows(inputs.shape[0])], dtype=np.float32)
    q, _ = quantized_inputs(x, formats.input_bits, scale, formats.tiling.matrix.id)
    return (scale if static else None), q


def _count_sums(
    q: NDArray[np.int32], encoded: Encoded, tile: Tile, full: float
) -> tuple[NDArray[np.int64], float]:
    """Return counts of absolute column sums by bins and the width of a bin in levels."""
    formats = encoded.formats
    values, grid = write_ideal(encoded, tile)
    counts, width = empty_counts(full)
    planes = np.empty((q.shape[0] * formats.planes, formats.n_in), dtype=values.dtype)
    fed_planes(q, formats, planes)
    for group in formats.groups:
        rows = slice(group.start, group.stop)
        sums = planes[:, rows] @ values[rows]
        histogram(sums, formats.columns, grid / width, counts)
    return counts, width


def _percentile(counts: NDArray[np.int64], width: float, percentile: float) -> float:
    """Return the least top that holds a share of the sums."""
    below = np.cumsum(counts)
    index = int(np.searchsorted(below, np.ceil(int(below[-1]) * percentile / 100.0)))
    return max(index, 1) * width


def _with_clip_rate(
    found: AdcRange, counts: NDArray[np.int64], width: float, tile: Tile, formats: Formats
) -> AdcRange:
    """Return the range with the share of sums that round to codes above the highest."""
    step = step_of(tile, formats, found)
    reach = step * (code_bounds(formats, tile.adc.bits)[1] + 0.5)
    above = counts[np.arange(counts.size) * width > reach].sum()
    return replace(found, clip_rate=float(above) / float(counts.sum()))
