"""A device of a user's own: cells whose error grows with their level."""

from __future__ import annotations

import numpy as np

from cimsim.config.device import CustomDevice
from cimsim.mac import DeviceModel, WriteError, register_device


@register_device("leaning")
class Leaning(DeviceModel):
    """Errors in proportion to the conductance."""

    def programming(self, target: np.ndarray) -> WriteError:
        """Return no bias and a sigma that the chip file scales."""
        assert isinstance(self.config, CustomDevice)
        return WriteError(np.zeros_like(target), self.config.parameters["slope"] * target)
