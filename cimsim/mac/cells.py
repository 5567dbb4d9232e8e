"""Cells of one tile as tables by level: what the compiled writer needs to know.

Order of the physics of one cell, in fractions of g_max::

    target        r_l = g_min + l (1 - g_min) / (levels - 1)
    write         g_P = max(0, r_l + bias_l + sigma_l z0)
    verify        the first of `attempts` writes with |g_P - r_l| <= tolerance, else the last
    drift         g_D = g_P exp(-|nu_l + s_l z1| ln((t + t0) / t0))
    1/f           g   = max(0, g_D + g_D Q(g_P) z2)
    stuck         g   = g_min or 1, for cells whose frozen uniform number falls in the fraction
    temperature   g   := g f(T) / f(calibrated_c), f = (1 + conductance_per_c (T - 25)) m(T)

and in units of one level V = (g - g_min) (levels - 1) / (1 - g_min): the current of the
lowest level is cancelled before the converter by a reference column of nominal g_min, whose
own errors are not modelled. A model of whole weights adds its mean error and sigma z0 to the
recovered weight once: to the cell of a pair that holds the magnitude, or to the one cell, where
the mean error changes sign in columns stored as complements; stuck cells take neither. As with
sigma, a small level can fall below zero; pairs that are converted apart clip sums below zero.

A weight LSB is one unit of the integer weight W_q, which is a level; weights of one bit are +-1,
two LSB apart, as wide as the three codes of two bits: sigma in LSB is then the same share of the
greatest weight in both. A single cell holds such a weight in one level, which counts two LSB.

z0, z1 and z2 are pure functions of (chip seed, matrix, copy, programming count, cell); the uniform
number is one of the silicon and the cell, because a stuck cell stays stuck however often it is
written (`cimsim.mac.writing`).

`shift_level` adds to the bias of every level. m(T) is a device model's own `warm_gain`, that of
flash a common shift of threshold voltages. Ranges of converters and digital scales were set at
`tile.adc.drift.calibrated_c`, so that f counts from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Device, Tile
from cimsim.elementary import log
from cimsim.errors import CimsimError
from cimsim.mac.devices import DeviceModel, DriftLaw, device_model
from cimsim.mac.quantize import greatest_integer

__all__ = ["FLICKER_STEPS", "CellTables", "cell_tables", "first_read_s"]

Table = NDArray[np.float64]

FLICKER_STEPS = 4096  # of the 1/f table, per g_max
_FLICKER_TOP = 2.0


@dataclass(frozen=True)
class CellTables:
    """Tables of one device on one tile at one age.

    Attributes:
        target: [levels] target conductance over g_max.
        bias: [levels] mean error of a write.
        sigma: [levels] standard deviation of a write.
        tolerance: greatest error that is accepted; infinite without verify.
        attempts: most writes of a cell.
        nu_mean: [levels] mean drift exponent.
        nu_sigma: [levels] its standard deviation.
        log_time: ln((age + t0) / t0); 0 without drift.
        flicker: relative 1/f sigma by written conductance; one entry of 0 if there is none.
        weight_sigma: [weight_max + 1] sigma of a whole weight in levels by |W_q|; one entry of
            0 if cells err.
        weight_shift: [2 weight_max + 1] mean error of a whole weight in levels by W_q, from
            -weight_max; one entry of 0 if cells err.
        stuck_low: cells stuck at the lowest level, as a count of 2**32.
        stuck_high: cells stuck at g_max, as a count of 2**32.
        g_min: lowest conductance over g_max.
        to_levels: levels per g_max.
        base: g_min in levels.
        temperature_factor: factor of every conductance at the temperature of the chip.
    """

    target: Table
    bias: Table
    sigma: Table
    tolerance: float
    attempts: int
    nu_mean: Table
    nu_sigma: Table
    log_time: float
    flicker: Table
    weight_sigma: Table
    weight_shift: Table
    stuck_low: int
    stuck_high: int
    g_min: float
    to_levels: float
    base: float
    temperature_factor: float

    @property
    def whole_errs(self) -> bool:
        """Whether whole weights err."""
        return bool(self.weight_sigma.any() or self.weight_shift.any())

    @property
    def ideal(self) -> bool:
        """Whether every cell holds its level exactly."""
        noisy = self.bias.any() or self.sigma.any() or self.whole_errs
        drifts = self.log_time > 0.0 or self.flicker.any()
        stuck = self.stuck_low + self.stuck_high > 0
        return not (noisy or drifts or stuck or self.temperature_factor != 1.0)


def cell_tables(tile: Tile, slices: int, age_s: float, temperature_c: float = 25.0) -> CellTables:
    """Evaluate the device model of a tile at an age and a temperature.

    Raises:
        CimsimError: if sigma is that of whole weights but weights are sliced, more than all
            cells are stuck, or an age is set for cells that do not drift.
    """
    device = tile.device
    model = device_model(device, tile.weight.bits)
    _check(device, model, slices)
    target, to_levels = _targets(device)
    zeros = np.zeros(target.size)
    bias, sigma, weight_sigma, weight_shift = zeros, zeros, np.zeros(1), np.zeros(1)
    if model.whole_weight:
        top = greatest_integer(tile.weight.bits)
        weight_sigma = model.weight_sigma_lsb(np.arange(top + 1) / top) / tile.weight.level_lsb
        integers = np.arange(-top, top + 1)
        weight_shift = model.weight_shift_lsb(integers / top) / tile.weight.level_lsb
    else:
        moments = model.read_back(target, age_s, temperature_c)
        bias, sigma = moments.bias, moments.sigma
    shift = device.shift_level + device.temperature.shift_level_per_c * (temperature_c - 25.0)
    bias = bias + shift / to_levels
    hotter = max(1.0 + device.temperature.sigma_per_c * (temperature_c - 25.0), 0.0)
    sigma = sigma * hotter
    law = _drift_law(model, target)
    _check_ageing(device, drifts=law is not None or model.first_read_s is not None)
    flicker = None
    if law is not None:
        grid = np.arange(int(_FLICKER_TOP * FLICKER_STEPS) + 2) / FLICKER_STEPS
        flicker = model.flicker(grid, age_s)
    g_min = float(target[0])
    return CellTables(
        target=target,
        bias=bias,
        sigma=sigma,
        tolerance=_tolerance(device, to_levels, errs=bool(sigma.any() or bias.any())),
        attempts=device.verify.attempts,
        nu_mean=zeros if law is None else law.nu_mean,
        nu_sigma=zeros if law is None else law.nu_sigma,
        log_time=0.0 if law is None else log((age_s + law.t0_s) / law.t0_s),
        flicker=np.zeros(1) if flicker is None else flicker,
        weight_sigma=weight_sigma * hotter,
        weight_shift=weight_shift,
        stuck_low=round(device.stuck_low * 2.0**32),
        stuck_high=round(device.stuck_high * 2.0**32),
        g_min=g_min,
        to_levels=to_levels,
        base=g_min * (target.size - 1) / (1.0 - g_min),
        temperature_factor=_warmth(tile, model, temperature_c),
    )


def _warmth(tile: Tile, model: DeviceModel, temperature_c: float) -> float:
    """Return the factor of conductances since converters and digital scales were set."""

    def factor(at_c: float) -> float:
        linear = 1.0 + model.config.temperature.conductance_per_c * (at_c - 25.0)
        return max(linear, 0.0) * model.warm_gain(at_c)

    set_at_c = tile.adc.drift.calibrated_c
    reference = factor(set_at_c)
    if reference <= 0.0:
        raise CimsimError(
            "no current is left at the temperature at which converters were set",
            key="tile.adc.drift.calibrated_c",
            value=set_at_c,
            hint="lower tile.device.temperature.conductance_per_c",
        )
    return factor(temperature_c) / reference


def first_read_s(tile: Tile) -> float | None:
    """Return the time of the first read of cells that change with age, None if they keep."""
    model = device_model(tile.device, tile.weight.bits)
    law = _drift_law(model, _targets(tile.device)[0])
    return model.first_read_s if law is None else law.t0_s


def _targets(device: Device) -> tuple[Table, float]:
    """Return target conductances over g_max by level, and the levels per g_max."""
    g_min = 1.0 / device.on_off_ratio if device.on_off_ratio else 0.0
    top = (1 << device.cell_bits) - 1
    return g_min + np.arange(top + 1) * (1.0 - g_min) / top, top / (1.0 - g_min)


def _check(device: Device, model: DeviceModel, slices: int) -> None:
    """Refuse fractions of cells above 1, and errors of whole weights that several cells share."""
    if device.stuck_low + device.stuck_high > 1.0:
        raise CimsimError(
            "more than all cells are stuck",
            key="tile.device.stuck_low",
            value=device.stuck_low,
            allowed=f"at most {1.0 - device.stuck_high:g} beside stuck_high",
        )
    if model.whole_weight and slices != 1:
        raise CimsimError(
            f"this error is that of a whole weight, which {slices} cells share here",
            key="tile.device.cell_bits",
            value=device.cell_bits,
            allowed="one cell or one pair per weight",
            hint="use cell_bits of weight.bits (less 1 for a pair), or another sigma_unit",
        )


def _check_ageing(device: Device, *, drifts: bool) -> None:
    """Refuse an age and a compensation where conductances do not change."""
    if not drifts and device.age_s > 0.0:
        raise CimsimError(
            "cells of this kind do not drift, so an age has no effect",
            key="tile.device.age_s",
            value=device.age_s,
            allowed="0",
            hint="give it a law with tile.device.drift",
        )
    warms = device.temperature.conductance_per_c != 0.0
    warms = warms or getattr(device, "threshold_mv_per_c", 0.0) != 0.0
    steady = not drifts and not warms
    if steady and device.drift_compensation != "none":
        raise CimsimError(
            "conductances of these cells do not change, so there is nothing to compensate",
            key="tile.device.drift_compensation",
            value=device.drift_compensation,
            allowed="none",
        )


def _tolerance(device: Device, to_levels: float, *, errs: bool) -> float:
    """Return the greatest accepted error of a write over g_max, infinite without verify."""
    if device.verify.tolerance is None:
        return float("inf")
    if not errs:
        raise CimsimError(
            "the writes of these cells have no error of their own that could be verified",
            key="tile.device.verify.tolerance",
            value=device.verify.tolerance,
            allowed="null",
            hint="an error of whole weights is one of read-back, after verifying",
        )
    return device.verify.tolerance / to_levels


def _drift_law(model: DeviceModel, target: Table) -> DriftLaw | None:
    """Return the device kind's own drift, or the one that `device.drift` gives."""
    own = model.drift(target)
    given = model.config.drift
    if given.nu == 0.0 and given.nu_sigma == 0.0:
        return own
    if own is not None:
        raise CimsimError(
            "this device profile has a drift law of its own",
            key="tile.device.drift.nu",
            value=given.nu,
            allowed="0",
        )
    return DriftLaw(
        np.full_like(target, given.nu), np.full_like(target, given.nu_sigma), given.t0_s
    )
