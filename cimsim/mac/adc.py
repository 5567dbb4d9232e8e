"""The converter of a column: range, codes, frozen errors and fresh noise.

A conversion of a column sum v (in levels) is::

    t    = v / step                                    one multiplication by 1 / step
    t   := t + curve(u)                                deviation of the transfer curve (`curves`)
    t   := t (1 + gain_c) + offset_c + inl_c 4 u (1 - u)   frozen, of converter c
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

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.elementary import power
from cimsim.errors import CimsimError
from cimsim.mac.formats import Formats
from cimsim.rng import normals_of_bits, philox4x32

__all__ = ["AdcRange", "Converters", "full_range_levels", "step_of"]


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
    rows, top = formats.rows_at_once, formats.top_level
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
    step = top / code_bounds(formats, tile.adc.bits)[1]
    return step if tile.adc.range.kind == "fixed" else max(step, 1.0)


@dataclass(frozen=True)
class Converters:
    """Frozen errors of the converter behind each column of each row block.

    Attributes:
        gain: float32 [row blocks, columns], 1 + relative gain error.
        offset: float32 [row blocks, columns], in codes.
        bow: float32 [row blocks, columns], 4 x signed peak INL in codes.
    """

    gain: NDArray[np.float32]
    offset: NDArray[np.float32]
    bow: NDArray[np.float32]

    def of(self, row_block: int) -> NDArray[np.float32]:
        """Return gain, offset and bow of the columns of a row block, float32 [3, columns]."""
        return np.stack([self.gain[row_block], self.offset[row_block], self.bow[row_block]])


def converters_of(tile: Tile, formats: Formats, key: tuple[int, int]) -> Converters | None:
    """Return the frozen errors of the converters that serve a matrix, None if there are none.

    The crossbars of the matrix, row block by row block, fill PEs of its own. A PE's converters
    are dealt to its crossbars evenly, and a crossbar's converters to its columns in turn; with
    fewer converters than crossbars, a crossbar takes that of its place modulo their number.
    More converters add draws to those of fewer: crossbar c always has converter c, if there
    are so many.

    Args:
        tile: the tile.
        formats: formats of the matrix.
        key: of the converters of its silicon (`cimsim.mac.writing`).
    """
    adc = tile.adc
    if adc.offset_lsb == 0.0 and adc.gain_sigma == 0.0 and adc.inl_lsb == 0.0:
        return None
    # Read here and not before: how many converters there are decides no number of perfect ones.
    per_pe, in_pe = adc.per_pe, tile.pe.crossbars
    blocks = len(formats.tiling.row_blocks)
    errors = np.zeros((3, blocks, formats.columns), dtype=np.float32)
    column_block, local = _places(formats)
    for row_block in range(blocks):
        crossbar = row_block * len(formats.tiling.column_blocks) + column_block
        pe, place = crossbar // in_pe, crossbar % in_pe
        own = place + in_pe * (local % max(1, per_pe // in_pe))
        counter = np.zeros((crossbar.size, 4), dtype=np.uint32)
        counter[:, 0] = own if per_pe >= in_pe else place % per_pe
        counter[:, 1] = pe
        bits = philox4x32(counter, key)
        errors[0, row_block] = 1.0 + adc.gain_sigma * normals_of_bits(bits[:, 0])
        errors[1, row_block] = adc.offset_lsb * normals_of_bits(bits[:, 1])
        sign = np.where(bits[:, 2] >> 31 == 1, 1.0, -1.0)
        errors[2, row_block] = 4.0 * adc.inl_lsb * sign
    return Converters(errors[0], errors[1], errors[2])


def _places(formats: Formats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return column block and converted column on its crossbar of every column."""
    widths = formats.tiling.column_blocks
    block_of_output = np.repeat(np.arange(len(widths)), widths)
    first = np.array(formats.tiling.column_starts)
    stored = formats.stored_columns
    output = np.arange(formats.n_out)
    local_output = (output - first[block_of_output]) * stored
    block = np.tile(block_of_output, stored)
    local = (local_output[None, :] + np.arange(stored)[:, None]).ravel()
    if formats.units:
        block = np.concatenate([block, np.arange(formats.units)])
        local = np.concatenate([local, np.array(widths) * stored])
    return block, local


def fresh_variance(tile: Tile) -> float:
    """Return the variance of a conversion's own noise in codes squared."""
    adc = tile.adc
    enob = 0.0
    if adc.enob is not None and adc.enob < adc.bits:
        enob = (power(4.0, adc.bits - adc.enob) - 1.0) / 12.0
    return float(adc.noise_lsb**2 + enob)
