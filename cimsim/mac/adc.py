"""The converter of a column: range, codes and fresh noise.

A conversion of a column sum v (in levels) is::

    t    = v / step                                    one multiplication by 1 / step
    t   := t + curve(u)                                deviation of the transfer curve (`curves`)
    t   := t (1 + gain_c) + offset_c + inl_c 4 u (1 - u)   frozen (`converters`)
    t   := t + sqrt(read variance + adc variance) z        fresh
    code = clip(round_half_even(t), low, high)

with u the place of t in the range, low = 0 and high = 2^b - 1 for sums that cannot be
negative, else -2^(b-1) and 2^(b-1) - 1. The digital side multiplies codes by the nominal
step. No range but a `fixed` one takes a step below one level, which is where rounding is
exact for whole levels; `fixed` takes the step that its range gives.

Effective bits below `bits` are modelled as white input noise: the noise of an ideal b-bit
converter is step^2 / 12, that of one with ENOB effective bits 4^(b - ENOB) times that.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cimsim.config import Adc, Tile
from cimsim.config.converter import MeasuredAdc
from cimsim.elementary import power
from cimsim.errors import CimsimError
from cimsim.mac.formats import Formats

__all__ = ["AdcRange", "code_bounds", "fresh_variance", "full_range_levels", "step_of"]


@dataclass(frozen=True)
class AdcRange:
    """Converter range and input scale of one matrix, found without noise.

    Attributes:
        top_levels: top of the range in units of one cell level.
        input_scale: value of one input LSB with static scales, None with per-token ones.
        clip_rate: share of calibration conversions above the range; None if not measured.
        error: relative error of outputs by converting clean calibration sums
            (`cimsim.mac.least_error`); None if not measured.
        least_error: the same of the range that errs least, which `auto` takes.
    """

    top_levels: float
    input_scale: float | None = None
    clip_rate: float | None = None
    error: float | None = None
    least_error: float | None = None


def full_range_levels(formats: Formats) -> float:
    """Return the greatest column sum that can occur without noise, in levels."""
    rows, top = formats.rows_at_once, formats.column_top
    if formats.encoding == "isaac":
        return float(max(-(-rows * top // 2), rows * formats.unit_level) * formats.max_code)
    return float(rows * top * formats.max_code)


def code_bounds(formats: Formats, bits: int) -> tuple[int, int]:
    """Return the lowest and highest code.

    Raises:
        CimsimError: if a signed converter has one bit.
    """
    if not formats.signed_sums:
        return 0, (1 << bits) - 1
    if bits < 2:
        raise CimsimError(
            "column sums of both signs need a converter of two bits",
            key="tile.adc.bits",
            value=bits,
            allowed="at least 2",
        )
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def step_of(tile: Tile, formats: Formats, adc_range: AdcRange) -> float:
    """Return the width of a code in levels.

    Raises:
        CimsimError: if the range is not a positive finite number.
    """
    top = adc_range.top_levels
    if not (np.isfinite(top) and top > 0.0):
        raise CimsimError(
            "the range of the converter clips everything",
            key="tile.adc.range",
            value=top,
            allowed="a positive number of levels",
        )
    if formats.merged and tile.adc.range.kind == "fixed" and top < formats.column_top:
        raise CimsimError(
            "one weight, whose slices are merged before the converter, is wider than its range",
            key="tile.adc.range.levels",
            value=top,
            allowed=f"at least {formats.column_top} levels of the lowest slice",
            hint="or leave tile.pe.merge out",
        )
    step = top / code_bounds(formats, tile.adc.bits)[1]
    return step if tile.adc.range.kind == "fixed" else max(step, 1.0)


def fresh_variance(tile: Tile) -> float:
    """Return the variance of a conversion's own noise in codes squared.

    Of a measured converter the mean over its range, linear in variance between measured inputs.
    """
    adc = tile.adc
    enob = 0.0
    if adc.enob is not None and adc.enob < adc.bits:
        enob = (power(4.0, adc.bits - adc.enob) - 1.0) / 12.0
    return float(adc.noise_lsb**2 + enob + _measured_variance(tile.adc))


def _measured_variance(adc: Adc) -> float:
    if not isinstance(adc, MeasuredAdc):
        return 0.0
    return sum(0.5 * (u - t) * (a**2 + b**2) for (t, _, a), (u, _, b) in pairwise(adc.rows))
