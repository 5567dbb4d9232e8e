"""Embedded flash: a measured 40 nm chip, and SONOS cells.

`25c`: an int8 weight W is recovered as `gain` W + `mean_lsb` + `sigma_lsb` z, z frozen with the
write. Measured read-back of five layers (Bai et al., IEEE TCAD 2024): sigma 1.74 to 3.02 LSB,
mean 2.24; intercept -0.04 to 0.26 LSB; slope 0.98 to 1.00. The two differ from layer to layer
without a pattern, so by default there is no intercept and a slope of 1. The measured spread is
that of (read-back - W): sqrt(sigma_lsb^2 + (1 - gain)^2 var W). `80c_assumed` multiplies sigma
by `temperature_factor`, which is an assumption, not a measurement; mean and gain stay. A weight
of other bits errs by the same share of full scale.

`sonos_*`: sigma_I = A (1 - exp(-I / B)) of the cell current in nA, at 0, 1 and 5 days after
programming (CrossSim's SONOS table); full scale 3200 nA at 0 days, 1800 nA later. The mean
drift of these states is not modelled. Their read noise has the same form, A = 12.58037 nA and
B = 215.36557 nA: `read_noise: {sigma: 0.00393137, sigma_unit: frac_gmax, scaling: saturating,
knee: 0.0673017}` over 3200 nA; sigma 0.00698909 and knee 0.119648 over 1800 nA.

Threshold voltages move with temperature. Below threshold the current is exp((V_g - V_t) / (n kT/q))
(n the slope factor), so that a shift of V_t by `threshold_mv_per_c` (T - 25) mV that no bias
circuit follows is a gain common to all cells::

    I(T) / I(25 C) = exp(-threshold_mv_per_c (T - 25) / (n kT/q))

kT/q = 30.4 mV at 80 C: 30 to 80 mV over 55 K are gains of 1.9 to 5.8 either way. That levels, which
are differences of threshold, also move towards each other as kT/q grows is not modelled. A gate
coupled to a cell of its own follows it: Guo et al. (arXiv 1611.03379) measured less than 3 % from
25 to 85 C.
"""

from __future__ import annotations

import numpy as np

from cimsim.config.device import EflashDevice
from cimsim.elementary import exp
from cimsim.elementary_arrays import exp_of
from cimsim.errors import CimsimError
from cimsim.mac.devices.base import DeviceModel, Fractions, WriteError, register_device
from cimsim.mac.quantize import greatest_integer

__all__ = ["EflashModel"]

# A, B and full scale, in nA
_SONOS_NA = {
    "sonos_0d": (19.88665, 176.3115, 3200.0),
    "sonos_1d": (25.59102, 186.85544, 1800.0),
    "sonos_5d": (34.57909, 207.34309, 1800.0),
}

_OF_PROFILES = (
    "sigma_lsb", "mean_lsb", "gain", "temperature_factor", "threshold_mv_per_c", "slope_factor",
)  # fmt: skip
_MV_PER_K = 0.08617333262  # Boltzmann's constant over the charge of an electron
_ZERO_C_K = 273.15
_REFERENCE_C = 25.0


@register_device("eflash")
class EflashModel(DeviceModel):
    """eFlash cells that hold whole weights, or SONOS cells that hold slices."""

    section = EflashDevice
    config: EflashDevice

    def __init__(self, config: EflashDevice, weight_bits: int) -> None:
        super().__init__(config, weight_bits)
        measured = {n: f.default for n, f in EflashDevice.model_fields.items()}
        used = ["sigma_lsb", "mean_lsb", "gain"] if self.whole_weight else []
        used += ["threshold_mv_per_c", "slope_factor"] if self.whole_weight else []
        used += ["temperature_factor"] if config.profile == "80c_assumed" else []
        for name in _OF_PROFILES:
            if name not in used and getattr(config, name) != measured[name]:
                raise CimsimError(
                    f"profile {config.profile} does not use this knob",
                    key=f"tile.device.{name}",
                    value=getattr(config, name),
                    allowed=str(measured[name]),
                )

    @property
    def whole_weight(self) -> bool:
        """Whether the profile speaks of recovered weights."""
        return self.config.profile not in _SONOS_NA

    def programming(self, target: Fractions) -> WriteError:
        """Return the SONOS law over its full scale."""
        a, b, full = _SONOS_NA[self.config.profile]
        sigma = a * (1.0 - exp_of(-target * full / b)) / full
        return WriteError(np.zeros_like(target), sigma)

    def weight_sigma_lsb(self, magnitude: Fractions) -> Fractions:
        """Return the measured error, the same for every weight."""
        section = self.config
        factor = section.temperature_factor if section.profile == "80c_assumed" else 1.0
        return np.full_like(magnitude, section.sigma_lsb * factor * self._int8_lsb)

    def warm_gain(self, temperature_c: float) -> float:
        """Return what a shift of all threshold voltages makes of sub-threshold currents."""
        section = self.config
        if section.threshold_mv_per_c == 0.0:
            return 1.0
        shift_mv = section.threshold_mv_per_c * (temperature_c - _REFERENCE_C)
        thermal_mv = _MV_PER_K * (temperature_c + _ZERO_C_K)
        return exp(-shift_mv / (section.slope_factor * thermal_mv))

    def weight_shift_lsb(self, weight: Fractions) -> Fractions:
        """Return what slope and intercept of read-back add to a weight."""
        section = self.config
        integer = weight * greatest_integer(self.weight_bits)
        return (section.gain - 1.0) * integer + section.mean_lsb * self._int8_lsb

    @property
    def _int8_lsb(self) -> float:
        """LSB of the weights a LSB of int8, at the same full scale."""
        return float(1 << (self.weight_bits - 1)) / 128.0
