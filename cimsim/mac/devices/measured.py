"""Cells after a laboratory's own table of mean and spread by target, time and temperature.

Mean and standard deviation of a target r at an age t and a temperature T are

- linear in the target between the targets measured at one time and temperature,
- linear in T between the two temperatures measured next to it,
- linear in ln t between the two times measured next to it,

and a cell that was written with the standard normal z0 conducts mean + sigma z0 ever after: it
keeps its rank, which moments alone do not say. Cells younger than the first time are as they were
then. Nothing is extrapolated: a target, age or temperature beyond the table is refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.config.device import MeasuredDevice
from cimsim.elementary import log
from cimsim.errors import CimsimError
from cimsim.mac.devices.base import DeviceModel, Fractions, WriteError, register_device

__all__ = ["MeasuredModel"]

_ROUNDING = 1e-9  # of a fraction of g_max: what division leaves of an end of the table


@register_device("measured")
class MeasuredModel(DeviceModel):
    """Cells of a measured table."""

    section = MeasuredDevice
    config: MeasuredDevice

    def __init__(self, config: MeasuredDevice, weight_bits: int) -> None:
        super().__init__(config, weight_bits)
        rows = np.array(config.rows)
        self._times = np.unique(rows[:, 0])
        self._temperatures = np.unique(rows[:, 1])
        self._rows = rows
        self._rows[:, 2:] = self._fractions(rows[:, 2:])

    def programming(self, target: Fractions) -> WriteError:
        """Return the moments of the first measured time, at 25 C."""
        return self.read_back(target, 0.0, 25.0)

    @property
    def first_read_s(self) -> float | None:
        """The first time of a table of several."""
        return float(self._times[0]) if self._times.size > 1 else None

    def read_back(self, target: Fractions, age_s: float, temperature_c: float) -> WriteError:
        """Return the moments that the table gives.

        Raises:
            CimsimError: if target, age or temperature lie beyond the table.
        """
        age_s = max(age_s, float(self._times[0]))
        if age_s > self._times[-1] and self._times.size > 1:
            raise CimsimError(
                "cells were not measured at this age, and nothing is extrapolated",
                key="tile.device.age_s", value=age_s, allowed=f"at most {self._times[-1]:g} s",
            )  # fmt: skip
        degrees = self._temperatures
        if not degrees[0] <= temperature_c <= degrees[-1]:
            raise CimsimError(
                "cells were not measured at this temperature, and nothing is extrapolated",
                key="technology.temperature_c", value=temperature_c,
                allowed=f"{degrees[0]:g} to {degrees[-1]:g} C",
            )  # fmt: skip
        logs = np.array([log(t) for t in self._times])
        at_age = _neighbours(logs, log(age_s) if self._times.size > 1 else logs[0])
        at_temperature = _neighbours(degrees, temperature_c)
        mean, sigma = np.zeros_like(target), np.zeros_like(target)
        for t, share_t in at_age:
            for c, share_c in at_temperature:
                block = self._block(self._times[t], degrees[c], target)
                mean = mean + share_t * share_c * block[0]
                sigma = sigma + share_t * share_c * block[1]
        return WriteError(mean - target, sigma)

    def _block(
        self, time_s: float, temperature_c: float, target: Fractions
    ) -> tuple[Fractions, Fractions]:
        """Return mean and sigma of targets at a measured time and temperature."""
        rows = self._rows[(self._rows[:, 0] == time_s) & (self._rows[:, 1] == temperature_c)]
        low, high = rows[0, 2], rows[-1, 2]
        wanted = target[(target < low - _ROUNDING) | (target > high + _ROUNDING)]
        if wanted.size:
            raise CimsimError(
                f"cells of this target, as a fraction of g_max_us, were not measured at "
                f"{time_s:g} s and {temperature_c:g} C, and nothing is extrapolated",
                key="tile.device.file", value=round(float(wanted[0]), 6),
                allowed=f"{low:g} to {high:g}",
                hint="set tile.device.g_max_us and on_off_ratio to what was measured",
            )  # fmt: skip
        return np.interp(target, rows[:, 2], rows[:, 3]), np.interp(target, rows[:, 2], rows[:, 4])

    def _fractions(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return target, mean and sigma [rows, 3] as fractions of g_max."""
        section = self.config
        if section.unit == "us":
            return values / section.g_max_us
        if section.unit == "frac_gmax":
            return values
        low = 1.0 / section.on_off_ratio if section.on_off_ratio else 0.0
        found: NDArray[np.float64] = values * (1.0 - low) / ((1 << section.cell_bits) - 1)
        found[:, :2] += low
        return found


def _neighbours(points: NDArray[np.float64], value: float) -> tuple[tuple[int, float], ...]:
    """Return the points on both sides of a value and their shares of it."""
    above = min(int(np.searchsorted(points, value)), points.size - 1)
    if above == 0 or points[above] == value:
        return ((above, 1.0),)
    share = float((value - points[above - 1]) / (points[above] - points[above - 1]))
    return ((above - 1, 1.0 - share), (above, share))
