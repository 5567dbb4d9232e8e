"""Transfer curves of converters: which share of its codes a share of its range becomes.

A converter whose transfer is not a straight line, as that of a ramp that bends or of a stage
that saturates, moves every code by the same deviation, whatever its own frozen errors. The
digital side takes codes to be proportional all the same. A curve is one function with one
registration, in this file or in any other that is imported::

    @register_curve("my_ramp")
    def my_ramp(place):
        return place + 0.02 * place * (1.0 - place)

and `tile.adc.curve: my_ramp` chooses it. It takes and returns shares of the range in [0, 1], must
keep both ends and must not fall. Sums beyond the range move as the nearest end, that is not at
all. The tile interpolates it linearly between `POINTS` places.

A measured converter (`tile.adc: {kind: measured}`) brings a curve of its own, linear between the
inputs of its table, whose ends may lie off the ends of the codes: that is the offset and the gain
error that it was measured with. Beyond the range, where nothing was measured, codes go on by one a
step from there to the last code.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Adc
from cimsim.config.converter import STRAIGHT, MeasuredAdc
from cimsim.errors import CimsimError
from cimsim.registry import Registry

__all__ = ["POINTS", "Curve", "curve_of", "is_straight", "register_curve", "registered_curves"]

POINTS = 1025
Shares = NDArray[np.float64]
Curve = Callable[[Shares], Shares]

_CURVES: Registry[Curve] = Registry("transfer curve", "tile.adc.curve")


def register_curve(name: str) -> Callable[[Curve], Curve]:
    """Register a transfer curve under the name by which `tile.adc.curve` chooses it."""
    return _CURVES.register(name)


def registered_curves() -> tuple[str, ...]:
    """Return the names of all registered curves, in order of registration."""
    return tuple(_CURVES)


@register_curve(STRAIGHT)
def straight(place: Shares) -> Shares:
    """Return the places themselves: codes are proportional to the input."""
    return place


def is_straight(adc: Adc) -> bool:
    """Whether a converter's codes are proportional to its input, but for its frozen errors."""
    return not curve_of(adc).size


def curve_of(adc: Adc) -> NDArray[np.float32]:
    """Return the deviation of a converter's transfer from a straight line.

    Returns:
        float32 [POINTS], in codes, at places evenly spaced over the range; [0] of a straight one.

    Raises:
        CimsimError: if no curve of this name is registered, or it is no transfer curve.
    """
    place = np.arange(POINTS) / (POINTS - 1)
    top = (1 << adc.bits) - 1
    if isinstance(adc, MeasuredAdc):
        rows = np.array(adc.rows)
        found = np.interp(place, rows[:, 0], rows[:, 1])
        return _unless_straight(found - place * top)
    if adc.curve == STRAIGHT:
        return np.zeros(0, dtype=np.float32)
    found = np.asarray(_CURVES.named(adc.curve)(place), dtype=np.float64)
    fits = found.shape == place.shape and bool(np.isfinite(found).all())
    if not (fits and found[0] == 0.0 and found[-1] == 1.0 and (np.diff(found) >= 0.0).all()):
        raise CimsimError(
            "a transfer curve takes shares of the range to shares of the codes",
            key="tile.adc.curve",
            value=adc.curve,
            allowed="finite shares that never fall, from 0 at 0 to 1 at 1",
        )
    return _unless_straight((found - place) * top)


def _unless_straight(deviation: Shares) -> NDArray[np.float32]:
    single: NDArray[np.float32] = deviation.astype(np.float32)
    return single if single.any() else single[:0]
