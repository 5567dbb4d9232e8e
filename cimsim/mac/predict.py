"""The error of a tile in closed form: what its device and converter tables lead one to expect.

With L the level of a cell, V = L + b(L) + sqrt(v(L)) z what it holds after writing, drift, 1/f
noise, temperature and stuck cells, c_s what column s of a weight counts, w_k what plane k
counts, x the fed input and D the width of a code, all sums over the rows of an output::

    cells        (sum x c_s b)^2 + sum x^2 c_s^2 v, whole weights (sum x b_w)^2 + sum x^2 v_w
    read noise   sum_k w_k^2 code_k^2 sum c_s^2 sigma^2(G)
    gain         c_s^2 gain^2 (sum x L)^2
    offset       c_s^2 (offset D sum_k w_k)^2
    converters   c_s^2 noise^2 D^2 sum_k w_k^2
    rounding     sum_k w_k^2 sum c_s^2 D^2 / 12

averaged over the chips that could be drawn. Columns that share a converter share its gain and
offset, drift included; crossbars do not. Rounding is taken as uniform and independent, which it is
not where most sums lie within a code, or whole levels meet whole codes. Clipping, wires, supply
droop, the reference, stuck columns, integral non-linearity and transfer curves have no term here.
`left_out` names what of this is present.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.mac.adc import AdcRange, fresh_variance, step_of
from cimsim.mac.cells import CellTables, cell_tables
from cimsim.mac.columns import columns_of
from cimsim.mac.converters import spreads_of
from cimsim.mac.curves import is_straight
from cimsim.mac.encode import Encoded, encode
from cimsim.mac.feed import cycle_power
from cimsim.mac.formats import Formats
from cimsim.mac.inputs import static_scale
from cimsim.mac.moments import level_moments, weight_moments
from cimsim.mac.program import compensation_gain, read_variance, write_ideal
from cimsim.mac.quantize import quantized_inputs
from cimsim.mac.write import read_share
from cimsim.workload.matrix import MatrixId

__all__ = ["PredictedError", "predict_error"]

Real = NDArray[np.float64]
_WHOLE, _COARSE = "whole levels on whole codes", "sums within a code"


@dataclass(frozen=True)
class PredictedError:
    """Expected relative error of outputs, against the exact product of the same integers.

    Attributes:
        error: of everything that is predicted, root of the sum of squares; None if every exact
            output is 0.
        by_source: cells (stuck ones, shift and warmth included), read_noise, converter_errors
            (fresh noise), converter_gain and converter_offset where there are any (drift
            included), rounding; empty if every exact output is 0.
        left_out: sources present that have no term.
    """

    error: float | None
    by_source: dict[str, float]
    left_out: tuple[str, ...]

    @property
    def uniform(self) -> bool:
        """Whether rounding is near the uniform error that the sum takes it for."""
        return not {_WHOLE, _COARSE} & set(self.left_out)


def predict_error(
    weight: NDArray[np.float32],
    matrix: MatrixId,
    tile: Tile,
    inputs: NDArray[np.float32],
    adc_range: AdcRange,
    *,
    temperature_c: float = 25.0,
) -> PredictedError:
    """Predict the error of a matrix on a tile with an analog crossbar.

    Args:
        weight: float32 [n_in, n_out].
        matrix: its name.
        tile: the tile.
        inputs: float32 [n, n_in], finite.
        adc_range: from `calibrate_range`.
        temperature_c: temperature of the chip.
    """
    encoded = encode(weight, matrix, tile)
    if encoded.formats.merged:
        return PredictedError(None, {}, ("slices merged before the converter",))
    if encoded.formats.recoveries:
        return PredictedError(None, {}, ("columns converted again",))
    x = np.ascontiguousarray(inputs, dtype=np.float32)
    static = static_scale(tile, adc_range)
    q, scale = quantized_inputs(x, encoded.formats.input_bits, static, matrix)
    tables = cell_tables(tile, encoded.formats.slices, tile.device.age_s, temperature_c)
    parts = _Parts(encoded, tile, tables, q, spreads_of(tile, temperature_c))
    step = step_of(tile, encoded.formats, adc_range)
    compensated = tile.device.drift_compensation == "global"
    fresh = cell_tables(tile, encoded.formats.slices, 0.0) if compensated else tables
    squares = {
        "cells": parts.cells(fresh),
        "read_noise": parts.read_noise(temperature_c),
        "converter_errors": parts.converter_noise(step),
        "rounding": parts.rounding(step),
    }
    if parts.gain_sigma > 0.0:
        squares["converter_gain"] = parts.converter_gains()
    if parts.offset_lsb > 0.0:
        squares["converter_offset"] = parts.converter_offsets(step)
    scales = scale[:, None].astype(np.float64) * encoded.scale.astype(np.float64)
    signal = float(np.mean((scales * (q.astype(np.float64) @ encoded.wq)) ** 2))
    found = {
        name: float(np.sqrt(np.mean(scales**2 * square) / signal))
        for name, square in squares.items()
        if signal > 0.0
    }
    return PredictedError(
        error=float(np.sqrt(sum(e**2 for e in found.values()))) if found else None,
        by_source=found,
        left_out=_left_out(parts, adc_range, step),
    )


def _left_out(parts: _Parts, adc_range: AdcRange, step: float) -> tuple[str, ...]:
    tile = parts.tile
    lossless = parts.rounding(step).max() == 0.0
    present = {
        "wires": tile.crossbar.wire_ohm > 0.0,
        "clipping": bool(adc_range.clip_rate),
        "integral non-linearity": tile.adc.inl_lsb > 0.0,
        "transfer curve": not is_straight(tile.adc),
        "reference": tile.adc.reference_gain != 1.0 or tile.adc.drift.reference_per_c != 0.0,
        "supply droop": tile.pe.supply_droop > 0.0,
        "skipped conversions": parts.formats.skip_zeros,
        "stuck columns": tile.crossbar.stuck_columns_high + tile.crossbar.stuck_columns_low > 0.0,
        # Errors below half a code vanish there, larger ones become a whole code.
        _WHOLE: step == 1.0 and not lossless,
        _COARSE: parts.sum_rms() < step,
    }
    return tuple(name for name, there in present.items() if there)


class _Parts:
    """Expected squared errors of every output in units of one LSB product, [n, n_out]."""

    def __init__(
        self,
        encoded: Encoded,
        tile: Tile,
        tables: CellTables,
        q: NDArray[np.int32],
        spreads: tuple[float, float],
    ) -> None:
        self.gain_sigma, self.offset_lsb = spreads
        self.encoded, self.tile, self.tables, self.q = encoded, tile, tables, q
        self.formats: Formats = encoded.formats
        self.columns = columns_of(encoded)
        values, grid = write_ideal(encoded, tile)
        self.levels = np.rint(values.astype(np.float64) * grid).astype(np.int64)
        self.fed = (q + self.formats.input_shift).astype(np.float64)
        self.mean, self.variance = level_moments(tables)

    def _column_sums(self, table: Real, *, power: int) -> Real:
        """Return sum_s (sign c_s)^power table[L] of every weight, [n_in, n_out].

        With pairs subtracted before the converter the two cells' entries are subtracted
        (power 1) or added (power 2).
        """
        formats, levels = self.formats, self.levels
        other = -1.0 if power == 1 else 1.0
        entry = table[np.maximum(levels, 0)]
        if formats.analog_difference:
            entry = entry + other * table[np.maximum(-levels, 0)]
        stored = formats.stored_columns * formats.n_out
        weights = self.columns.weight[:, None]
        total = np.empty((formats.n_in, formats.n_out))
        for g, group in enumerate(formats.groups):
            rows = slice(group.start, group.stop)
            signed = weights * self.columns.sign(g)
            cells = entry[rows, :stored].reshape(-1, weights.size, formats.n_out)
            total[rows] = (cells * signed**power).sum(axis=1)
            if formats.units:
                unit = entry[rows][:, stored + self.columns.block_of_output]
                total[rows] += unit * self.columns.unit_coefficient[g] ** power
        return total

    def _conversions(self) -> Real:
        """Return sum over conversions of one plane of what each counts, squared, [n_out]."""
        each = float(np.sum(self.columns.weight**2))
        total = np.full(self.formats.n_out, each * len(self.formats.groups))
        return total + sum(c**2 for c in self.columns.unit_coefficient)

    def cells(self, fresh: CellTables) -> Real:
        """Return what cells add; `fresh` are their tables before they age."""
        mean, variance, gain = self.mean, self.variance, 1.0
        if self.tile.device.drift_compensation == "global":
            both = np.concatenate([np.maximum(self.levels, 0).ravel(), self._negative().ravel()])
            counts = np.bincount(both, minlength=mean.size)
            gain = compensation_gain(float(counts @ level_moments(fresh)[0]), float(counts @ mean))
            mean, variance = gain * mean, gain**2 * variance
        bias = mean - np.arange(mean.size)
        shift = self._column_sums(bias, power=1)
        spread = self._column_sums(variance, power=2)
        if self.tables.weight_sigma.size > 1:
            whole_mean, whole_variance = self._whole_weights()
            shift = shift + gain * whole_mean
            spread = spread + gain**2 * whole_variance
        total: Real = (self.fed @ shift) ** 2 + self.fed**2 @ spread
        return total

    def _whole_weights(self) -> tuple[Real, Real]:
        """Return what errors of whole weights add to mean and variance of each weight, in LSB."""
        formats, wq = self.formats, self.encoded.wq.astype(np.int64)
        if formats.pair:
            level, side = np.abs(wq), np.where(wq < 0, -1.0, 1.0)
        else:
            level = self.levels[:, : formats.n_out]
            side = np.concatenate(
                [
                    np.repeat(self.columns.sign(g), group.stop - group.start, axis=0)
                    for g, group in enumerate(formats.groups)
                ]
            )
        mean, variance = weight_moments(self.tables, self.mean, wq, level, side)
        return mean * formats.weight_step, variance * formats.weight_step**2

    def _negative(self) -> NDArray[np.int64]:
        """Return levels of the negative cells of pairs that are subtracted as currents."""
        whole = self.levels if self.formats.analog_difference else self.levels[:0]
        return np.maximum(-whole, 0)

    def read_noise(self, temperature_c: float) -> Real:
        """Return what noise that is fresh at every read adds."""
        formats, tile, tables = self.formats, self.tile, self.tables
        variance, _ = read_variance(tile, formats, tables, temperature_c)
        noise = tile.device.read_noise
        g = np.maximum((self.mean + tables.base) / tables.to_levels, 0.0)
        power_of_g = {"constant": 0, "sqrt": 1, "proportional": 2, "saturating": 3}[noise.scaling]
        share = np.array([read_share(value, power_of_g, noise.knee) for value in g])
        power = cycle_power(self.q, formats) * float(formats.input_step**2)
        total: Real = power @ self._column_sums(variance * share, power=2)
        return total

    def converter_noise(self, step: float) -> Real:
        """Return what fresh noise of the converters adds."""
        planes = self.formats.plane_weight
        noise = fresh_variance(self.tile) * step**2 * float(np.sum(planes**2))
        return np.tile(noise * self._conversions(), (self.fed.shape[0], 1))

    def converter_gains(self) -> Real:
        """Return what gains of the converters add."""
        total = np.zeros((self.fed.shape[0], self.formats.n_out))
        for block in range(len(self.formats.tiling.row_blocks)):
            sums, _ = self._converted(block)
            total += self.gain_sigma**2 * (sums**2).sum(axis=1)
        return total

    def converter_offsets(self, step: float) -> Real:
        """Return what offsets of the converters add."""
        total = np.zeros((self.fed.shape[0], self.formats.n_out))
        offset = self.offset_lsb * step * float(np.sum(self.formats.plane_weight))
        for block in range(len(self.formats.tiling.row_blocks)):
            _, zeros = self._converted(block)
            total += offset**2 * (zeros**2).sum(axis=0)
        return total

    def _converted(self, block: int) -> tuple[Real, Real]:
        """Return what each converter handles for an output of a row block, as it counts.

        Returns:
            Sums of levels, [n, converters, n_out], and what a code of 1 counts,
            [converters, n_out], over the row groups.
        """
        formats, n = self.formats, self.fed.shape[0]
        stored, served = formats.stored_columns, self._converter_of_column()
        sums = np.zeros((n, int(served.max()) + 1, formats.n_out))
        zeros = np.zeros(sums.shape[1:])
        columns = np.arange(formats.n_out)
        for g, group in enumerate(formats.groups):
            if group.row_block != block:
                continue
            found = self.fed[:, group.start : group.stop] @ self.levels[group.start : group.stop]
            weights = self.columns.weight[:, None] * self.columns.sign(g)
            if formats.units:
                weights = np.concatenate([weights, self.columns.unit_coefficient[g][None]])
            for s, weight in enumerate(weights):
                unit = s == stored
                place = stored * formats.n_out + self.columns.block_of_output if unit else columns
                at = place if unit else s * formats.n_out + place
                sums[:, served[s], columns] += found[:, at] * weight
                zeros[served[s], columns] += weight
        return sums, zeros

    def _converter_of_column(self) -> NDArray[np.int64]:
        """Return which converter serves each stored column of an output, and the unit column.

        A crossbar's converters are dealt to its columns in turn. They are numbered from 0 for
        each output, so that equal numbers mean one converter, [columns of an output, n_out].
        """
        formats, tile = self.formats, self.tile
        each = max(1, tile.adc.per_pe // tile.pe.crossbars)
        stored, widths = formats.stored_columns, formats.tiling.column_blocks
        own = np.arange(stored) % each
        served = np.repeat(own[:, None], formats.n_out, axis=1)
        if formats.units:
            left = np.concatenate([(w - np.arange(w)) * stored for w in widths]) % each
            served = np.vstack([served, np.where(left < stored, left, own.max() + 1)])
        return served

    def sum_rms(self) -> float:
        """Return the rms of a column sum of one plane, in levels: as if planes were alike."""
        planes = float(np.sum(self.formats.plane_weight**2))
        groups = self.formats.groups
        rows = [slice(g.start, g.stop) for g in groups]
        means = [np.mean((self.fed[:, r] @ self.levels[r]) ** 2) for r in rows]
        return float(np.sqrt(np.mean(means) / planes))

    def rounding(self, step: float) -> Real:
        """Return what uniform rounding adds; none where whole levels meet whole codes."""
        exact = self.tables.ideal and step == 1.0 and self.tile.crossbar.wire_ohm == 0.0
        planes = float(np.sum(self.formats.plane_weight**2))
        share = 0.0 if exact else step**2 / 12.0 * planes
        return np.tile(share * self._conversions(), (self.fed.shape[0], 1))
