"""Two cells of a user's own, registered on import: Gaussian errors, the second twice as large."""

from __future__ import annotations

import numpy as np

from cimsim.config.device import CustomDevice
from cimsim.mac import register_device
from cimsim.mac.devices.base import DeviceModel, Fractions, WriteError


@register_device("first")
class First(DeviceModel):
    factor = 1.0

    def programming(self, target: Fractions) -> WriteError:
        assert isinstance(self.config, CustomDevice)
        sigma = self.factor * self.config.parameters["sigma"]
        return WriteError(np.zeros_like(target), np.full_like(target, sigma))


@register_device("second")
class Second(First):
    factor = 2.0
