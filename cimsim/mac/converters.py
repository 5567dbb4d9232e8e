"""Frozen errors of the converters behind a matrix: gain, offset and bow of every column.

Of the converter c that serves a column of row block b, in its conversion (`cimsim.mac.adc`)::

    gain   = (1 + gain_sigma z0 + gain_per_c dT z2 + gain_per_decade D z4)
             x reference_gain (1 + reference_per_c dT) x (1 - droop_b)
    offset = offset_lsb z1 + offset_lsb_per_c dT z3 + offset_lsb_per_decade D z5
    dT     = T - calibrated_c,  D = log10(1 + calibrated_for_s / t0_s)

A converter's own share is linear in temperature and in the logarithm of time (first order, and
ageing by trapped charge: assumed), drawn once per converter. All converters share the reference:
outputs of a compensated array moved by less than 3 % from 25 to 85 C (Guo et al., CICC 2017, arXiv
1611.03379). Offsets of untrimmed and trimmed comparators: 14.7 and 1.03 mV at 3.3 sigma (doi
10.19304/J.ISSN1000-7180.2025.0018); gains and offsets of columns that a chip trims itself: Numan
et al., arXiv 2506.15440. A gain beyond 1 reaches the ends of the range sooner: that is how a range
chosen at one temperature clips at another.

Crossbars that are read at once load one supply rail alike, which is fed at the first of them. With
s = (place in its PE + 1) / crossbars a PE and `supply_droop` the relative loss at the far end::

    droop_b = supply_droop (2 s - s^2)

the drop along a rail with a constant current per length; currents of cells are linear in the read
voltage. A column whose bit line is shorted gives the highest code, one whose line is broken 0;
which these are is silicon's, as errors of converters are, by column and row block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.elementary import log
from cimsim.errors import CimsimError
from cimsim.mac.formats import Formats
from cimsim.mac.writing import Writing
from cimsim.rng import normals_of_bits, philox4x32

__all__ = ["Converters", "check_converters", "converters_err", "converters_of", "spreads_of"]

SHORTED = float(1 << 20)
"""Code of a shorted bit line before it is clipped: no noise brings it back into the range."""
_LN10 = 2.302585092994046
_DRIFT_DRAWS = 1  # third word of the counter: trimmed errors have 0
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Converters:
    """Frozen errors of the converter behind each column of each row block.

    Attributes:
        gain: float32 [row blocks, columns], 1 + relative gain error; 0 of a stuck column.
        offset: float32 [row blocks, columns], in codes.
        bow: float32 [row blocks, columns], 4 x signed peak INL in codes.
    """

    gain: Floats
    offset: Floats
    bow: Floats

    def of(self, row_block: int) -> Floats:
        """Return gain, offset and bow of the columns of a row block, float32 [3, columns]."""
        return np.stack([self.gain[row_block], self.offset[row_block], self.bow[row_block]])


@dataclass(frozen=True)
class _Drift:
    """What warmth and time since trimming make of the errors of converters.

    Attributes:
        offset_c: std of offsets from temperature, in codes.
        gain_c: std of relative gains from temperature.
        offset_t: std of offsets from time, in codes.
        gain_t: std of relative gains from time.
        common: gain that all converters share.
    """

    offset_c: float
    gain_c: float
    offset_t: float
    gain_t: float
    common: float

    @property
    def drawn(self) -> bool:
        """Whether converters drift apart."""
        return any((self.offset_c, self.gain_c, self.offset_t, self.gain_t))


def _drift_of(tile: Tile, temperature_c: float) -> _Drift:
    drift = tile.adc.drift
    warmer = temperature_c - drift.calibrated_c
    decades = log(1.0 + drift.calibrated_for_s / drift.t0_s) / _LN10
    common = tile.adc.reference_gain * max(1.0 + drift.reference_per_c * warmer, 0.0)
    return _Drift(
        offset_c=drift.offset_lsb_per_c * warmer,
        gain_c=drift.gain_per_c * warmer,
        offset_t=drift.offset_lsb_per_decade * decades,
        gain_t=drift.gain_per_decade * decades,
        common=common,
    )


def spreads_of(tile: Tile, temperature_c: float) -> tuple[float, float]:
    """Return the std of gains and of offsets (codes) of converters at a temperature."""
    drift = _drift_of(tile, temperature_c)
    gain = (tile.adc.gain_sigma**2 + drift.gain_c**2 + drift.gain_t**2) ** 0.5
    return gain, (tile.adc.offset_lsb**2 + drift.offset_c**2 + drift.offset_t**2) ** 0.5


def converters_err(tile: Tile, temperature_c: float) -> bool:
    """Return whether a converter has a frozen error at a temperature, or a column is stuck."""
    drift, crossbar = _drift_of(tile, temperature_c), tile.crossbar
    stuck = crossbar.stuck_columns_high + crossbar.stuck_columns_low > 0.0
    common = drift.common != 1.0 or tile.pe.supply_droop > 0.0
    adc = tile.adc
    own = adc.offset_lsb + adc.gain_sigma + adc.inl_lsb > 0.0
    return own or drift.drawn or common or stuck


def check_converters(tile: Tile, temperature_c: float) -> None:
    """Refuse errors of converters that leave nothing of their range, and too many stuck columns.

    Raises:
        CimsimError: if so.
    """
    _, offset = spreads_of(tile, temperature_c)
    if offset > 1 << tile.adc.bits:
        raise CimsimError(
            f"offsets of converters spread over {offset:.4g} codes, more than their whole range",
            key="tile.adc.offset_lsb" if tile.adc.offset_lsb >= offset / 2 else "tile.adc.drift",
            value=f"{offset:.4g} LSB",
            allowed=f"at most {1 << tile.adc.bits} codes of {tile.adc.bits} bits",
            hint="lower it, or trim the converters nearer to the temperature of the chip",
        )
    drift = tile.adc.drift
    if _drift_of(tile, temperature_c).common == 0.0:
        raise CimsimError(
            f"the converters' reference has drifted to no gain at all at {temperature_c:g} C",
            key="tile.adc.drift.reference_per_c",
            value=drift.reference_per_c,
            hint="lower it, or raise tile.adc.drift.calibrated_c",
        )
    crossbar = tile.crossbar
    if crossbar.stuck_columns_high + crossbar.stuck_columns_low > 1.0:
        raise CimsimError(
            "more than all columns are stuck",
            key="tile.crossbar.stuck_columns_low",
            value=crossbar.stuck_columns_low,
            allowed=f"at most {1.0 - crossbar.stuck_columns_high:g} beside stuck_columns_high",
        )


def converters_of(tile: Tile, formats: Formats, writing: Writing) -> Converters | None:
    """Return the frozen errors of the converters that serve a matrix, None if there are none.

    The crossbars of the matrix, row block by row block, fill PEs of its own. A PE's converters
    are dealt to its crossbars evenly, and a crossbar's converters to its columns in turn; with
    fewer converters than crossbars, a crossbar takes that of its place modulo their number.
    More converters add draws to those of fewer: crossbar c always has converter c, if there
    are so many.

    Args:
        tile: the tile.
        formats: formats of the matrix.
        writing: which copy, whose silicon and temperature these are.
    """
    if not converters_err(tile, writing.temperature_c):
        return None
    check_converters(tile, writing.temperature_c)
    drift = _drift_of(tile, writing.temperature_c)
    adc, in_pe = tile.adc, tile.pe.crossbars
    # Read here and not before: how many converters there are decides no number of perfect ones.
    per_pe = adc.per_pe
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
        bits = philox4x32(counter, writing.converter_key)
        gain = 1.0 + adc.gain_sigma * normals_of_bits(bits[:, 0])
        offset = adc.offset_lsb * normals_of_bits(bits[:, 1])
        sign = np.where(bits[:, 2] >> 31 == 1, 1.0, -1.0)
        if drift.drawn:
            counter[:, 2] = _DRIFT_DRAWS
            z = normals_of_bits(philox4x32(counter, writing.converter_key))
            gain = gain + drift.gain_c * z[:, 0] + drift.gain_t * z[:, 2]
            offset = offset + drift.offset_c * z[:, 1] + drift.offset_t * z[:, 3]
        errors[0, row_block] = gain * drift.common
        errors[1, row_block] = offset
        errors[2, row_block] = 4.0 * adc.inl_lsb * sign
        if tile.pe.supply_droop > 0.0:
            share = (place + 1) / in_pe
            errors[0, row_block] *= 1.0 - tile.pe.supply_droop * (2.0 * share - share**2)
    _stick(errors, tile, writing)
    return Converters(errors[0], errors[1], errors[2])


def _stick(errors: Floats, tile: Tile, writing: Writing) -> None:
    """Replace what shorted and broken bit lines make of the conversion of their columns."""
    high, low = tile.crossbar.stuck_columns_high, tile.crossbar.stuck_columns_low
    if high + low == 0.0:
        return
    for row_block in range(errors.shape[1]):
        counter = np.zeros((errors.shape[2], 4), dtype=np.uint32)
        counter[:, 0] = np.arange(errors.shape[2])
        counter[:, 1] = row_block
        drawn = philox4x32(counter, writing.column_key)[:, 0].astype(np.float64) / 2.0**32
        shorted, broken = drawn < high, (drawn >= high) & (drawn < high + low)
        errors[:, row_block, shorted | broken] = 0.0
        errors[1, row_block, shorted] = SHORTED


def _places(formats: Formats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return column block and converted column on its crossbar of every column."""
    block_of_output = formats.tiling.block_of_output
    first = np.array(formats.tiling.column_starts)
    stored = formats.stored_columns
    output = np.arange(formats.n_out)
    local_output = (output - first[block_of_output]) * stored
    block = np.tile(block_of_output, stored)
    local = (local_output[None, :] + np.arange(stored)[:, None]).ravel()
    if formats.units:
        block = np.concatenate([block, np.arange(formats.units)])
        local = np.concatenate([local, np.array(formats.tiling.column_blocks) * stored])
    return block, local
