"""What supply and temperature do to leakage, and the constants of the alpha-power law.

Leakages are those of 25 C and of the supply at which they hold (`cost.leakage_at_vdd_v`). At
another temperature T (in K) or supply V they are P = V I with

    I(V, T) = A T^2 exp((a V + b) / T) + B exp(c V + d)

the first term through the channel, the second through the gate, over the same at the supply and
temperature where they hold (W. Liao, L. He and K. Lepak, IEEE TCAD 24 (2005) 1042,
doi:10.1109/TCAD.2005.850860: 65 nm, fitted from 0.95 to 1.05 V and from 60 to 100 C).

How times and energies move with the supply is in `cimsim.config.supply`.
"""

from __future__ import annotations

from cimsim.config import ChipConfig
from cimsim.config.supply import LAW
from cimsim.cost.constant import Constant
from cimsim.elementary import exp

__all__ = ["CONSTANTS", "leakage_factor", "leakage_notes"]

_LIAO = "Liao, He and Lepak, IEEE TCAD 2005, doi:10.1109/TCAD.2005.850860"


def _fitted(name: str, value: float, unit: str) -> Constant:
    note = "as encoded in simulators that use the paper's fit"
    return Constant(f"leakage.{name}", value, unit, _LIAO, 65.0, "B", note)


_CHANNEL = _fitted("channel", 1.1432e-12, "1/K2")
_CHANNEL_SUPPLY = _fitted("channel_supply", 466.4029, "K/V")
_CHANNEL_OFFSET = _fitted("channel_offset", -1224.74083, "K")
_GATE = _fitted("gate", 1.0126e-14, "1")
_GATE_SUPPLY = _fitted("gate_supply", 6.28153, "1/V")
_GATE_OFFSET = _fitted("gate_offset", 6.9094, "1")
_STILLMAKER = "fit to the delay polynomials of Stillmaker and Baas 2017, as encoded in nodeScale"

CONSTANTS = (
    _CHANNEL,
    _CHANNEL_SUPPLY,
    _CHANNEL_OFFSET,
    _GATE,
    _GATE_SUPPLY,
    _GATE_OFFSET,
    *(
        Constant(f"supply.{name}_{node:g}nm", value, unit, _STILLMAKER, node, "D")
        for node, law in LAW.items()
        for (name, value), unit in zip(law._asdict().items(), ("1", "V", "V", "V"), strict=True)
    ),
)
_HOLDS_C = 25.0
_KELVIN = 273.15


def leakage_factor(config: ChipConfig) -> float:
    """Return the factor on every leakage at the chip's supply and temperature."""
    volt, held_v = config.technology.vdd_v, config.cost.leakage_at_vdd_v
    celsius = config.technology.temperature_c
    if held_v in {None, volt} and celsius == _HOLDS_C:
        return 1.0
    return _power(volt, celsius) / _power(volt if held_v is None else held_v, _HOLDS_C)


def leakage_notes(config: ChipConfig) -> tuple[str, ...]:
    """Return what to say of leakages that were moved to another supply or temperature."""
    factor = leakage_factor(config)
    if factor == 1.0:
        return ()
    return (
        f"extrapolated: leakages x {factor:.3g} by a law of 65 nm, 0.95 to 1.05 V and 60 to 100 C",
    )


def _power(volt: float, celsius: float) -> float:
    """Return V I(V, T), of which only ratios count."""
    kelvin = celsius + _KELVIN
    channel = exp((_CHANNEL_SUPPLY.value * volt + _CHANNEL_OFFSET.value) / kelvin)
    gate = exp(_GATE_SUPPLY.value * volt + _GATE_OFFSET.value)
    return volt * (_CHANNEL.value * kelvin**2 * channel + _GATE.value * gate)
