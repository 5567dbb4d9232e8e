"""Closed forms behind the ADC models: survey regression, ZigZag fit, thermal limit."""

from __future__ import annotations

from math import ceil, floor

from cimsim.elementary import exp, log, power
from cimsim.units import FJ_PER_PJ

__all__ = [
    "ENERGY",
    "FOM_ENOB",
    "FOM_SPEED",
    "regression_pj",
    "regression_um2",
    "thermal_limit_fj",
    "zigzag_delay_ns",
    "zigzag_pj",
    "zigzag_um2",
]

# Coefficients of the regression, in the order of its equations below.
FOM_SPEED = (213.78067, 2.87190)
FOM_ENOB = (128.30683, 3.22052)
ENERGY = (26.04962, 1.88004, 2.82913, 1.47020)
AREA = (0.993279, 0.180715, 0.299124, 1.346192)


def thermal_limit_fj(enob: float) -> float:
    """Return the least energy of a sample: 8 kT SNR with SNR = 1.5 x 4^b, at 300 K."""
    return 8 * 1.380649e-23 * 300 * 1.5 * power(4.0, enob) * 1e15


def regression_pj(enob: float, node_nm: float, rate_gsps: float) -> float:
    """Return total energy per conversion of the survey regression, dynamic and static.

    SNDR = 6.0206 b + 1.7609; FOM = min(213.78 - 2.872 ln f, 128.31 + 3.2205 ceil(b));
    E = 0.5 x 10^((SNDR - FOM) / 10) x exp(26.05 + 1.880 ln T - 2.829 ln b - 1.470) pJ.
    The ceil makes it jump where ENOB crosses an integer, so it is evaluated at integers
    and log energy is interpolated between them.

    Args:
        enob: effective bits, at least 4.
        node_nm: technology node.
        rate_gsps: conversions per second.
    """
    low = floor(enob)
    share = enob - low
    at_low = _regression_at(low, node_nm, rate_gsps)
    if share == 0:
        return at_low
    return at_low * power(_regression_at(low + 1, node_nm, rate_gsps) / at_low, share)


def regression_um2(energy_pj: float, node_nm: float, rate_gsps: float) -> float:
    """Return the area of an ADC of the survey regression from its total energy."""
    node, rate, energy, constant = AREA
    return exp(
        node * log(node_nm) + rate * log(rate_gsps * 1e9) + energy * log(energy_pj) + constant
    )


def zigzag_pj(bits: float, vdd_v: float) -> float:
    """Return energy per conversion: (100 b + 0.001 x 4^b) fF x V^2."""
    return float((100.0 * bits + 0.001 * power(4.0, bits)) * vdd_v**2 / FJ_PER_PJ)


def zigzag_delay_ns(bits: float, rows: int) -> float:
    """Return the time of one conversion: b (0.00653 rows + 0.640) ns."""
    return bits * (0.00653 * rows + 0.640)


def zigzag_um2(bits: float) -> float:
    """Return the area of one ADC: 10^(1.206 - 0.0369 b) x 2^b um2."""
    return power(10.0, 1.206 - 0.0369 * bits) * power(2.0, bits)


def _regression_at(bits: int, node_nm: float, rate_gsps: float) -> float:
    fom_speed = FOM_SPEED[0] - FOM_SPEED[1] * log(rate_gsps * 1e9)
    fom = min(fom_speed, FOM_ENOB[0] + FOM_ENOB[1] * ceil(bits))
    sndr = 6.0206 * bits + 1.7609
    constant, node, enob, quantile = ENERGY
    scale = exp(constant + node * log(node_nm) - enob * log(bits) - quantile)
    return 0.5 * power(10.0, (sndr - fom) / 10) * scale
