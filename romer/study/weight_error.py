"""Relative error of stored weights that a device model means."""

from __future__ import annotations

import math

import numpy as np

from cimsim.mac.devices import device_model
from romer.study.laboratory import Laboratory

__all__ = ["relative_weight_error"]


def relative_weight_error(lab: Laboratory) -> float:
    """Return the root mean square of (error of a stored weight / rms(W)) over matrices.

    The device model's own figure, not a measurement: sigma in LSB of the stored code, at
    each weight's own code, times the value of an LSB. What clipping costs is not counted.
    nan for devices whose errors are those of cells.
    """
    tile = lab.config.tile
    model = device_model(tile.device, tile.weight.bits)
    if not model.whole_weight:
        return math.nan
    top = 2 ** (tile.weight.bits - 1) - 1
    by_code = model.weight_sigma_lsb(np.arange(top + 1) / top)
    shares = []
    for unit in lab.placement.units.values():
        for tiling in unit.tilings:
            weight = lab.stored.matrix(tiling.matrix.id).astype(np.float64)
            size = np.abs(weight)
            greatest = size.max(axis=0) if tile.weight.scale == "per_column" else size.max()
            step = np.maximum(greatest, np.finfo(np.float32).tiny) / top
            error = by_code[np.rint(size / step).astype(np.int64)] * step
            shares.append(float(np.mean(error**2) / np.mean(weight**2)))
    return float(np.sqrt(np.mean(shares)))
