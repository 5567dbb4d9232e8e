"""Resistive memory: published polynomials of programming noise at a read-back time.

Sigma is published in uS at the g_max of the measured device; a profile keeps sigma / g_max.
Sources: Wan et al. 2022 after aihwkit (1 s, 1 day, 2 days after programming); CrossSim's
RRAMMilo (devices of 50 to 225 uS: set `on_off_ratio` to 4.5) and RRAMWan.
"""

from __future__ import annotations

import numpy as np

from cimsim.config.device import ReramDevice
from cimsim.mac.devices.base import (
    DeviceModel,
    Fractions,
    WriteError,
    polynomial,
    register_device,
)

__all__ = ["ReramModel"]

# sigma in uS = sum_i c_i r^i, and the g_max in uS at which it was measured.
_SIGMA_US = {
    "wan_1s": ((0.348, 16.030, -43.853, 45.393, -16.815), 40.0),
    "wan_1d": ((0.701, 22.086, -50.773, 47.095, -16.458), 40.0),
    "wan_2d": ((0.782, 20.274, -43.507, 37.062, -11.934), 40.0),
    # in powers of G: c_i g_max^i in powers of r
    "milo": ((4.782321, -0.009107 * 225.0), 225.0),
    "wan_crosssim": (
        (1.053, 0.2374 * 39.26, -1.167e-2 * 39.26**2, 1.536e-4 * 39.26**3),
        39.26,
    ),
}


@register_device("reram")
class ReramModel(DeviceModel):
    """ReRAM cells after a published profile; the profile names the time since programming."""

    section = ReramDevice
    config: ReramDevice

    def programming(self, target: Fractions) -> WriteError:
        """Return the polynomial of the profile over its g_max."""
        coefficients, g_max_us = _SIGMA_US[self.config.profile]
        sigma = np.maximum(polynomial(coefficients, target), 0.0) / g_max_us
        return WriteError(np.zeros_like(target), sigma)
