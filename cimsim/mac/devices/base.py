"""What a device model tells the tile, and the registry of device models.

A device model is one class with one registration::

    @register_device("my_cell")
    class MyCell(DeviceModel):
        def programming(self, target):
            return WriteError(bias=0.0 * target, sigma=0.01 + 0.02 * target)

in a file of this folder, or in any other that is imported; `tile.device: {kind: custom, model:
my_cell}` chooses it. A section of knobs of its own, in `cimsim.config.device`, is for models that
need more than `parameters`.

Conductances are fractions of `g_max_us`; the tile multiplies. A model returns moments for
the levels it is asked about; random numbers, their addresses and the order of the physics
belong to the tile, so that a model cannot break reproducibility.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Device
from cimsim.config.device import CustomDevice
from cimsim.errors import CimsimError
from cimsim.plugins import import_installed
from cimsim.registry import Registry

__all__ = [
    "DeviceModel",
    "DriftLaw",
    "WriteError",
    "device_model",
    "fault_of_moments",
    "polynomial",
    "register_device",
    "registered_devices",
]

Fractions = NDArray[np.float64]


@dataclass(frozen=True)
class WriteError:
    """Moments of the error of a write.

    Attributes:
        bias: mean of (written - target).
        sigma: its standard deviation, >= 0.
    """

    bias: Fractions
    sigma: Fractions


@dataclass(frozen=True)
class DriftLaw:
    """Power-law drift G(t) = G_P ((t + t0) / t0)^-|nu|, nu ~ N(mean, sigma) frozen per cell.

    Attributes:
        nu_mean: mean exponent.
        nu_sigma: standard deviation of the exponent between cells.
        t0_s: time of the first read after programming.
    """

    nu_mean: Fractions
    nu_sigma: Fractions
    t0_s: float


class DeviceModel:
    """Behaviour of one cell; the base class is a cell without errors.

    Attributes:
        scope: "cell" if `programming` speaks of one cell as a fraction of g_max; "weight" if
            `weight_sigma_lsb` and `weight_shift_lsb` speak of the recovered signed weight.
        section: kind of section that it reads.
        config: the section of the configuration that chose this model.
        weight_bits: bits of a weight.
    """

    scope: ClassVar[str] = "cell"
    section: ClassVar[type[Device]] = Device

    def __init__(self, config: Device, weight_bits: int) -> None:
        self.config = config
        self.weight_bits = weight_bits

    @property
    def whole_weight(self) -> bool:
        """Whether errors are those of a recovered weight, not of a cell."""
        return self.scope == "weight"

    def programming(self, target: Fractions) -> WriteError:
        """Return bias and sigma of a written cell, fractions of g_max.

        Args:
            target: target conductances, fractions of g_max in [0, 1].
        """
        return WriteError(np.zeros_like(target), np.zeros_like(target))

    def read_back(self, target: Fractions, age_s: float, temperature_c: float) -> WriteError:
        """Return bias and sigma of cells of an age and a temperature, without drift by a law.

        A cell keeps its rank among the cells of its target as they age. Of most models these are
        the moments of its write, which the law of drift and knobs of temperature change.
        """
        del age_s, temperature_c
        return self.programming(target)

    @property
    def first_read_s(self) -> float | None:
        """Time of the first read of cells whose `read_back` changes with age, None of others."""
        return None

    def weight_sigma_lsb(self, magnitude: Fractions) -> Fractions:
        """Return sigma of a recovered weight in weight LSB (scope "weight" only).

        Args:
            magnitude: |W_q| / greatest |W_q|, in [0, 1].
        """
        return np.zeros_like(magnitude)

    def weight_shift_lsb(self, weight: Fractions) -> Fractions:
        """Return the mean error of a recovered weight in weight LSB (scope "weight" only).

        Args:
            weight: W_q / greatest |W_q|, in [-1, 1].
        """
        return np.zeros_like(weight)

    def drift(self, target: Fractions) -> DriftLaw | None:
        """Return the drift law of cells with these targets, None for cells that keep."""
        del target
        return None

    def warm_gain(self, temperature_c: float) -> float:
        """Return the current of every cell at a temperature over that at 25 C."""
        del temperature_c
        return 1.0

    def flicker(self, written: Fractions, age_s: float) -> Fractions | None:
        """Return relative sigma of accumulated 1/f noise of cells at an age, None if none."""
        del written, age_s
        return None


def polynomial(coefficients: tuple[float, ...], r: Fractions) -> Fractions:
    """Return sum_i c_i r^i."""
    value = np.zeros_like(r)
    for c in reversed(coefficients):
        value = value * r + c
    return value


_GRID = np.linspace(0.0, 1.0, 17)
MOST_MOMENT = 1e6  # of the range of a cell, or of LSB: beyond all that sums are exact for

_DEVICES: Registry[type[DeviceModel]] = Registry(
    "device model", "tile.device.kind", "cimsim.mac.devices"
)
Model = TypeVar("Model", bound=type[DeviceModel])


def register_device(kind: str) -> Callable[[Model], Model]:
    """Register a device model under the `kind` (or custom `model`) that chooses it."""
    return cast("Callable[[Model], Model]", _DEVICES.register(kind))


def registered_devices() -> tuple[str, ...]:
    """Return the names of all registered device models, in order of registration."""
    return tuple(_DEVICES)


def device_model(config: Device, weight_bits: int) -> DeviceModel:
    """Return the model that a device section chooses.

    Raises:
        CimsimError: if nothing is registered under that name, or it reads a section of its own.
    """
    kind = str(getattr(config, "kind", "ideal"))
    if isinstance(config, CustomDevice):
        kind = config.model
        if config.module is not None and kind not in _DEVICES:
            import_installed(config.module, "tile.device.module")
    model = _DEVICES.named(kind)
    if not isinstance(config, model.section):
        raise CimsimError(
            "this device model reads a section of its own",
            key="tile.device.model",
            value=kind,
            hint=f"use tile.device.kind {kind}",
        )
    chosen = model(config, weight_bits)
    fault = fault_of_moments(chosen) if isinstance(config, CustomDevice) else None
    if fault is not None:
        message = f"this device model is none: {fault}"
        raise CimsimError(message, key="tile.device.model", value=kind)
    return chosen


def fault_of_moments(model: DeviceModel) -> str | None:
    """Return what is wrong with bias and sigma that a model gives, None if nothing is."""
    if model.whole_weight:
        bias, sigma = model.weight_shift_lsb(2.0 * _GRID - 1.0), model.weight_sigma_lsb(_GRID)
    else:
        found: object = model.programming(_GRID)
        if not isinstance(found, WriteError):
            return f"a write gives {type(found).__name__}, not a WriteError"
        bias, sigma = found.bias, found.sigma
    for name, values in (("bias", bias), ("sigma", sigma)):
        if not isinstance(values, np.ndarray) or values.shape != _GRID.shape:
            return f"{name} is no array with a number for every target"
        if not (np.abs(values) <= MOST_MOMENT).all():
            return f"{name} is not finite, or greater than {MOST_MOMENT:g}"
    return f"sigma {sigma.min():g} is negative" if sigma.min() < 0.0 else None
