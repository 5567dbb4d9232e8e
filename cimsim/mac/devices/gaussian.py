"""Ideal cells, and cells with one Gaussian programming error for all levels."""

from __future__ import annotations

import numpy as np

from cimsim.config.device import GaussianDevice
from cimsim.mac.devices.base import DeviceModel, Fractions, WriteError, register_device

__all__ = ["GaussianModel", "IdealModel"]


@register_device("ideal")
class IdealModel(DeviceModel):
    """Cells that hold their level exactly."""


@register_device("gaussian")
class GaussianModel(DeviceModel):
    """Frozen normal error of standard deviation sigma, constant or proportional to the level.

    `weight_lsb` speaks of the recovered weight, so it counts once for a pair; the other
    units speak of each cell. `proportional` scales sigma with |W_q| or with the conductance.
    """

    section = GaussianDevice
    config: GaussianDevice

    @property
    def whole_weight(self) -> bool:
        """Whether sigma is given in weight LSB."""
        return self.config.sigma_unit == "weight_lsb"

    def programming(self, target: Fractions) -> WriteError:
        """Return sigma as a fraction of g_max."""
        section = self.config
        ratio = section.on_off_ratio
        window = 1.0 - (1.0 / ratio if ratio else 0.0)
        fraction = {
            "cell_level": section.sigma * window / ((1 << section.cell_bits) - 1),
            "us": section.sigma / section.g_max_us,
            "frac_gmax": section.sigma,
            "weight_lsb": 0.0,
        }[section.sigma_unit]
        shape = target if section.scaling == "proportional" else np.ones_like(target)
        return WriteError(np.zeros_like(target), fraction * shape)

    def weight_sigma_lsb(self, magnitude: Fractions) -> Fractions:
        """Return sigma in weight LSB."""
        shape = magnitude if self.config.scaling == "proportional" else np.ones_like(magnitude)
        return self.config.sigma * shape
