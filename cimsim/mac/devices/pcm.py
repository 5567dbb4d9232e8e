"""Phase-change memory: published polynomials of programming noise, drift and 1/f noise.

Sigma is published in uS at the g_max of the measured device. A profile here keeps the
ratio sigma / g_max, so another `g_max_us` changes energy and wire loss, not accuracy.

Sources: aihwkit's PCMLikeNoiseModel (Nandakumar et al., ICECS 2019) and its HERMES models;
Joshi et al. 2020 (fit of CrossSim); Buechel et al., arXiv 2505.09663 (`afm`: noise of the
signed weight, scaled to 180 at the greatest weight, no noise on a weight of zero).
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from cimsim.config.device import PcmDevice
from cimsim.elementary import log
from cimsim.elementary_arrays import exp_of, log_of
from cimsim.mac.devices.base import (
    DeviceModel,
    DriftLaw,
    Fractions,
    WriteError,
    polynomial,
    register_device,
)
from cimsim.mac.quantize import greatest_integer

__all__ = ["PcmModel"]

# sigma in uS = sum_i c_i r^i, and the g_max in uS at which it was measured.
_SIGMA_US = {
    "aihwkit": ((0.26348, 1.9650, -1.1731), 25.0),
    "hermes_2dev": ((0.16603222, 4.71806468, -8.48101252, 4.68961419), 20.7),
    "hermes_1dev": ((0.15781817, 2.32443916, -2.16310839, 0.68841818), 10.35),
    # in powers of G: c_i g_max^i in powers of r
    "joshi": ((0.28638599, 0.07585724 * 25.0, -0.00178767 * 625.0), 25.0),
}
_AFM_LOW = (2.579741066, 0.2241968595, -3.715812081e-3, 2.939751381e-5)
_AFM_HIGH = (2.110295720, 0.2453487120, -3.054993405e-3, 1.232975540e-5)
_AFM_SCALE, _AFM_BREAK, _AFM_ZERO = 180.0, 52.5, 0.6

_READ_S = {"aihwkit": 250e-9, "hermes_1dev": 512e-9, "hermes_2dev": 512e-9}
_FLOOR = 1e-7  # of r before its logarithm


@register_device("pcm")
class PcmModel(DeviceModel):
    """PCM cells after a published profile."""

    section = PcmDevice
    config: PcmDevice

    @property
    def whole_weight(self) -> bool:
        """Whether the profile speaks of recovered weights."""
        return self.config.profile == "afm"

    def programming(self, target: Fractions) -> WriteError:
        """Return the polynomial of the profile over its g_max."""
        coefficients, g_max_us = _SIGMA_US[self.config.profile]
        sigma = np.maximum(polynomial(coefficients, target), 0.0) / g_max_us
        return WriteError(np.zeros_like(target), sigma)

    def weight_sigma_lsb(self, magnitude: Fractions) -> Fractions:
        """Return the two-branch cubic of `afm` in weight LSB."""
        g = _AFM_SCALE * magnitude
        sigma = np.where(g <= _AFM_BREAK, polynomial(_AFM_LOW, g), polynomial(_AFM_HIGH, g))
        sigma = np.where(g < _AFM_ZERO, 0.0, sigma)
        return sigma / _AFM_SCALE * greatest_integer(self.weight_bits)

    def drift(self, target: Fractions) -> DriftLaw | None:
        """Return exponents of drift: aihwkit's logarithms, or HERMES' piecewise fit."""
        log = log_of(np.maximum(target, _FLOOR))
        if self.config.profile == "aihwkit":
            return DriftLaw(
                np.clip(-0.0155 * log + 0.0244, 0.049, 0.1),
                np.clip(-0.0125 * log - 0.0059, 0.008, 0.045),
                20.0,
            )
        if self.config.profile == "hermes_2dev":
            sigma = np.where(
                target < 0.3055,
                np.clip(-0.0117 * log - 0.0057, 0.0091, 0.04),
                polynomial((0.0073, 0.0093, -0.0118), target),
            )
            return DriftLaw(_hermes_nu(log, target), sigma, 300.0)
        if self.config.profile == "hermes_1dev":
            sigma = np.where(
                target < 0.3039,
                np.clip(-0.0120 * log - 0.0023, 0.0124, 0.04),
                polynomial((0.0104, 0.0116, -0.0165), target),
            )
            return DriftLaw(_hermes_nu(log, target), sigma, 200.0)
        return None

    def flicker(self, written: Fractions, age_s: float) -> Fractions | None:
        """Return Q(G_P) sqrt(ln((t + t0 + t_r) / (2 t_r))), relative to the drifted G."""
        law = self.drift(written)
        if law is None:
            return None
        read_s = _READ_S[self.config.profile]
        growth = sqrt(log((age_s + law.t0_s + read_s) / (2.0 * read_s)))
        return np.asarray(self._flicker_q(written) * growth)

    def _flicker_q(self, r: Fractions) -> Fractions:
        log = log_of(np.maximum(r, _FLOOR))
        if self.config.profile == "aihwkit":
            return np.minimum(
                0.2, 0.0088 / np.maximum(1e-3, exp_of(0.65 * log_of(np.maximum(r, 0.0))))
            )
        if self.config.profile == "hermes_2dev":
            return np.where(
                r < 0.16,
                np.clip(-0.0117 * log - 0.0069, 0.015, 0.04),
                polynomial((0.0123, 0.0211, -0.0280, 0.0069), r),
            )
        return np.where(
            r < 0.1591,
            np.clip(-0.0078 * log + 0.0038, 0.0179, 0.04),
            polynomial((0.0088, 0.0768, -0.1352, 0.0664), r),
        )


def _hermes_nu(log: Fractions, r: Fractions) -> Fractions:
    return np.where(
        r < 0.0945,
        np.clip(-0.0387 * log - 0.0182, 0.0720, 0.13),
        polynomial((0.0736, -0.0126, -0.0436), r),
    )
