"""Rows of the energy tables from the entries of a ledger.

A ledger may charge one component many times; tables show each component of a phase once,
with the mean energy of its actions. Sums use `math.fsum`, so they do not depend on order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import fsum
from typing import Protocol

from cimsim.errors import CimsimInternalError
from cimsim.results.column import Row
from cimsim.results.components import COMPONENTS, component_column, reported_component
from cimsim.results.detail_columns import ENERGY
from cimsim.units import FJ_PER_NJ

__all__ = ["EnergyEntry", "component_energies", "energy_rows", "scale_energy", "top_components"]


class EnergyEntry(Protocol):
    """One entry of an energy ledger."""

    @property
    def component(self) -> str:
        """What spent the energy."""

    @property
    def count(self) -> float:
        """Actions counted."""

    @property
    def energy_fj(self) -> float:
        """Energy of the entry."""

    @property
    def kind(self) -> str:
        """Dynamic, leakage or off_chip."""

    @property
    def source(self) -> str:
        """Where the unit energy comes from."""


@dataclass(frozen=True)
class _Group:
    count: float
    energy_fj: float
    source: str


def _grouped(entries: Iterable[EnergyEntry]) -> dict[tuple[str, str], _Group]:
    found: dict[tuple[str, str], list[EnergyEntry]] = {}
    for entry in entries:
        found.setdefault((entry.component, entry.kind), []).append(entry)
    return {
        key: _Group(
            fsum(e.count for e in group),
            fsum(e.energy_fj for e in group),
            "; ".join(dict.fromkeys(e.source for e in group)),
        )
        for key, group in found.items()
    }


def energy_rows(
    entries: Iterable[EnergyEntry],
    *,
    config: str,
    model: str,
    phase: str,
    calibrated: bool,
    tokens: int,
) -> tuple[Row, ...]:
    """Return the rows of energy.csv of one phase, a component and kind each.

    Args:
        entries: the ledger of the phase.
        config: name of the chip.
        model: name of the checkpoint.
        phase: prefill, decode_b<batch>, programming or calibration.
        calibrated: whether calibration was applied.
        tokens: tokens of the phase; 0 leaves the energy a token empty.
    """
    return tuple(
        ENERGY.row(
            {
                "config": config,
                "model": model,
                "phase": phase,
                "calibrated": calibrated,
                "component": component,
                "kind": kind,
                "count": group.count,
                "energy_per_action_fj": group.energy_fj / group.count if group.count else None,
                "energy_nj": group.energy_fj / FJ_PER_NJ,
                "energy_per_token_nj": group.energy_fj / FJ_PER_NJ / tokens if tokens else None,
                "source": group.source,
            }
        )
        for (component, kind), group in _grouped(entries).items()
    )


def component_energies(entries: Iterable[EnergyEntry]) -> dict[str, float]:
    """Return energy in nJ by the component that it is reported as."""
    found: dict[str, list[float]] = {}
    for entry in entries:
        name = reported_component(entry.component, entry.kind)
        found.setdefault(name, []).append(entry.energy_fj)
    return {name: fsum(parts) / FJ_PER_NJ for name, parts in found.items()}


def top_components(energies_nj: dict[str, float], ranks: int = 3) -> list[tuple[str, float]]:
    """Return the largest components and their shares of the sum, largest first.

    Args:
        energies_nj: energy by component.
        ranks: how many at most; ties are broken by name.
    """
    total = fsum(energies_nj.values())
    if total <= 0:
        message = "shares of an energy that is zero"
        raise CimsimInternalError(message)
    order = sorted(energies_nj, key=lambda name: (-energies_nj[name], name))
    return [(name, energies_nj[name] / total) for name in order[:ranks] if energies_nj[name] > 0]


def scale_energy(entries: Iterable[EnergyEntry], tokens: int) -> dict[str, float | None]:
    """Return the energy columns of one row of scale.csv, nJ a token.

    Args:
        entries: the ledger of the phase.
        tokens: tokens of the phase.

    Returns:
        `energy_per_token_nj` and every component column; a component that was never
        charged is empty.
    """
    parts: dict[str, list[float]] = {}
    for name, energy_nj in component_energies(entries).items():
        parts.setdefault(component_column(name), []).append(energy_nj / tokens)
    names = [component_column(c.name) for c in COMPONENTS]
    columns: dict[str, float | None] = {
        name: fsum(parts[name]) if name in parts else None
        for name in (*names, "energy_leakage_nj", "energy_other_nj")
    }
    columns["energy_per_token_nj"] = fsum(v for v in columns.values() if v is not None)
    return columns
