"""Scaling of digital logic between technology nodes (Stillmaker and Baas 2017).

Energy of a gate is a quadratic of the supply, e(V) = a V^2 + b V + c, with a, b, c by
node; a published energy moves from node s at supply V_s to node t at V_t by the factor
e_t(V_t) / e_s(V_s). Area moves by a table relative to 32 nm. Between tabulated nodes
both are interpolated on log axes. Only digital logic scales this way: memory cells have
a device floor and ADCs a term of their own.

Source: A. Stillmaker and B. Baas, Integration 58 (2017), doi:10.1016/j.vlsi.2017.02.002,
as encoded in hwcomponents.
"""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.cost.constant import Confidence, Constant
from cimsim.elementary import exp, log

__all__ = ["CONSTANTS", "Scaling", "area_factor", "energy_factor", "nominal_vdd_v", "scale_logic"]

SOURCE = "Stillmaker and Baas 2017, as encoded in hwcomponents"

# node: (area relative to 32 nm, a, b, c, nominal supply)
_NODES: dict[float, tuple[float, float, float, float, float]] = {
    130.0: (14.0, 7.171, -6.709, 2.904, 1.2),
    90.0: (6.1, 4.762, -4.781, 2.092, 1.1),
    65.0: (3.3, 3.755, -4.398, 1.975, 1.1),
    45.0: (2.2, 1.103, -0.362, 0.2767, 1.0),
    32.0: (1.0, 0.9559, -0.7823, 0.471, 0.9),
    20.0: (0.46, 0.373, -0.1582, 0.04104, 0.9),
    16.0: (0.41, 0.2958, -0.1241, 0.03024, 0.8),
    14.0: (0.38, 0.2363, -0.09675, 0.02239, 0.8),
    10.0: (0.22, 0.2068, -0.09311, 0.02375, 0.75),
    7.0: (0.13, 0.1776, -0.09097, 0.02447, 0.7),
}
_ORDER = tuple(sorted(_NODES))
# Supplies between which the quadratics were fitted.
VDD_RANGE_V = (0.5, 1.4)

_COLUMNS: tuple[tuple[str, str, Confidence], ...] = (
    ("area_vs_32nm", "1", "A"),
    ("energy_a", "1/V2", "A"),
    ("energy_b", "1/V", "A"),
    ("energy_c", "1", "A"),
    ("nominal_vdd", "V", "C"),
)
CONSTANTS = tuple(
    Constant(f"technology.{name}_{node:g}nm", row[i], unit, SOURCE, node, confidence)
    for node, row in _NODES.items()
    for i, (name, unit, confidence) in enumerate(_COLUMNS)
)


@dataclass(frozen=True)
class Scaling:
    """Factors from a source node to a target, and whether they leave the table."""

    energy: float
    area: float
    notes: tuple[str, ...]


def nominal_vdd_v(node_nm: float) -> float:
    """Return the supply at which a published number of a node is taken."""
    low, high, share = _bracket(node_nm)
    share = min(max(share, 0.0), 1.0)
    return _NODES[low][4] + share * (_NODES[high][4] - _NODES[low][4])


def energy_factor(
    source_nm: float, target_nm: float, *, source_vdd_v: float | None, target_vdd_v: float
) -> float:
    """Return the factor on the energy of logic from one node and supply to another.

    Args:
        source_nm: node of the published number.
        target_nm: node of the chip.
        source_vdd_v: supply of the published number; None means nominal.
        target_vdd_v: supply of the chip.
    """
    source_vdd = nominal_vdd_v(source_nm) if source_vdd_v is None else source_vdd_v
    return _energy(target_nm, target_vdd_v) / _energy(source_nm, source_vdd)


def area_factor(source_nm: float, target_nm: float) -> float:
    """Return the factor on the area of logic from one node to another."""
    return _area(target_nm) / _area(source_nm)


def scale_logic(source_nm: float, target_nm: float, target_vdd_v: float) -> Scaling:
    """Return both factors for logic, flagged where they leave the table."""
    notes = []
    if not _ORDER[0] <= target_nm <= _ORDER[-1]:
        notes.append(
            f"extrapolated: node {target_nm:g} nm outside {_ORDER[0]:g} to {_ORDER[-1]:g} nm "
            f"of {SOURCE}"
        )
    if not VDD_RANGE_V[0] <= target_vdd_v <= VDD_RANGE_V[1]:
        notes.append(
            f"extrapolated: supply {target_vdd_v:g} V outside {VDD_RANGE_V[0]:g} to "
            f"{VDD_RANGE_V[1]:g} V of {SOURCE}"
        )
    energy = energy_factor(source_nm, target_nm, source_vdd_v=None, target_vdd_v=target_vdd_v)
    return Scaling(energy, area_factor(source_nm, target_nm), tuple(notes))


def _energy(node_nm: float, vdd_v: float) -> float:
    # The quadratics have no real root: energy is positive at every supply.
    low, high, share = _bracket(node_nm)
    ends = []
    for node in (low, high):
        _, a, b, c, _ = _NODES[node]
        value = a * vdd_v * vdd_v + b * vdd_v + c
        ends.append(log(value))
    return exp(ends[0] + share * (ends[1] - ends[0]))


def _area(node_nm: float) -> float:
    low, high, share = _bracket(node_nm)
    ends = [log(_NODES[node][0]) for node in (low, high)]
    return exp(ends[0] + share * (ends[1] - ends[0]))


def _bracket(node_nm: float) -> tuple[float, float, float]:
    """Return the neighbouring tabulated nodes and the share of the way, on a log axis."""
    high = next((n for n in _ORDER[1:] if node_nm <= n), _ORDER[-1])
    low = _ORDER[_ORDER.index(high) - 1]
    return low, high, (log(node_nm) - log(low)) / (log(high) - log(low))
