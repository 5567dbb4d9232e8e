"""Relative error of stored weights that a device model means."""

from __future__ import annotations

import math

import numpy as np

from cimsim.mac.devices import device_model
from cimsim.mac.quantize import greatest_integer, quantize_weights
from romer.study.studied_design import StudiedDesign

__all__ = ["relative_weight_error"]


def relative_weight_error(design: StudiedDesign) -> float:
    """Return the root mean square of (error of a stored weight / rms(W)) over matrices.

    The device model's own figure, not a measurement: mean and sigma in LSB of the stored code,
    at each weight's own code, times the value of an LSB. What clipping costs is not counted.
    nan for devices whose errors are those of cells.
    """
    tile = design.config.tile
    model = device_model(tile.device, tile.weight.bits)
    if not model.whole_weight:
        return math.nan
    top = greatest_integer(tile.weight.bits)
    codes = np.arange(-top, top + 1) / top
    by_code = np.hypot(model.weight_sigma_lsb(np.abs(codes)), model.weight_shift_lsb(codes))
    shares = []
    for unit in design.placed.placement.units.values():
        for tiling in unit.tilings:
            weight = design.stored.matrix(tiling.matrix.id)
            per_column = tile.weight.scale == "per_column"
            code, step = quantize_weights(weight, tile.weight.bits, per_column=per_column)
            error = by_code[code.astype(np.int64) + top] * step.astype(np.float64)
            shares.append(float(np.mean(error**2) / np.mean(weight.astype(np.float64) ** 2)))
    return float(np.sqrt(np.mean(shares)))
