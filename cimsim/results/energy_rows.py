"""Rows of the energy tables from the entries of a ledger.

A ledger may charge one component many times; tables show each component of a phase once,
with the mean energy of its actions. Sums use `math.fsum`, so they do not depend on order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import fsum
from typing import Protocol

from cimsim.errors import CimsimInternalError
from cimsim.results.column import Empty, Row, flag, number, text
from cimsim.results.components import COMPONENTS, component_column, reported_component
from cimsim.results.table import Table
from cimsim.units import FJ_PER_NJ

__all__ = [
    "ENERGY",
    "EnergyEntry",
    "component_energies",
    "energy_rows",
    "scale_energy",
    "top_components",
]

NOT_COUNTED = Empty("nothing was counted")
NO_TOKENS = Empty("the phase has no tokens")


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
class _Charge:
    """All that one phase spends on one component.

    Attributes:
        config: name of the chip.
        model: name of the checkpoint.
        phase: prefill, decode_b<batch>, programming or calibration.
        calibrated: whether calibration was applied.
        tokens: tokens of the phase.
        entries: of the ledger, of one component and kind.
    """

    config: str
    model: str
    phase: str
    calibrated: bool
    tokens: int
    entries: tuple[EnergyEntry, ...]

    @cached_property
    def count(self) -> float:
        return fsum(e.count for e in self.entries)

    @cached_property
    def energy_fj(self) -> float:
        return fsum(e.energy_fj for e in self.entries)


ENERGY: Table[_Charge] = Table(
    "energy",
    "One row per chip, model, phase, stage and component; rows sum to the totals.",
    (
        text("config", "Name of the chip.", lambda s: s.config),
        text("model", "Name of the checkpoint.", lambda s: s.model),
        text("phase", "prefill, decode_b<batch>, programming or calibration.", lambda s: s.phase),
        flag("calibrated", "Whether calibration was applied.", lambda s: s.calibrated),
        text("component", "Component that is charged.", lambda s: s.entries[0].component),
        text("kind", "dynamic, leakage or off_chip.", lambda s: s.entries[0].kind),
        number("count", "1", "Actions counted; nanoseconds for leakage and table powers.",
               lambda s: s.count),
        number("energy_per_action_fj", "fJ", "Energy of one action.",
               lambda s: s.energy_fj / s.count if s.count else None, NOT_COUNTED),
        number("energy_nj", "nJ", "Energy of the phase.", lambda s: s.energy_fj / FJ_PER_NJ),
        number("energy_per_token_nj", "nJ", "Energy of the phase over its tokens.",
               lambda s: s.energy_fj / FJ_PER_NJ / s.tokens if s.tokens else None, NO_TOKENS),
        text("source", "Where the energy of an action comes from.",
             lambda s: "; ".join(dict.fromkeys(e.source for e in s.entries))),
    ),
)  # fmt: skip


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
        tokens: tokens of the phase; 0 leaves the energy per token empty.
    """
    groups: dict[tuple[str, str], list[EnergyEntry]] = {}
    for entry in entries:
        groups.setdefault((entry.component, entry.kind), []).append(entry)
    return tuple(
        ENERGY.measure(_Charge(config, model, phase, calibrated, tokens, tuple(group)))
        for group in groups.values()
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
    """Return the energy columns of one row of scale.csv, nJ per token.

    Args:
        entries: the ledger of the phase.
        tokens: tokens of the phase.

    Returns:
        `energy_per_token_nj` and every component column; a component that was never
        charged is empty. What leaks has columns of its own, which `energy_leakage_nj` sums.
    """
    entries = list(entries)
    parts: dict[str, list[float]] = {}
    for name, energy_nj in component_energies(entries).items():
        parts.setdefault(component_column(name), []).append(energy_nj / tokens)
    names = [component_column(c.name) for c in COMPONENTS]
    columns: dict[str, float | None] = {
        name: fsum(parts[name]) if name in parts else None
        for name in (*names, "energy_leakage_nj", "energy_other_nj")
    }
    columns["energy_per_token_nj"] = fsum(v for v in columns.values() if v is not None)
    leaking: dict[str, list[float]] = {}
    for entry in entries:
        if entry.kind == "leakage":
            leaking.setdefault(f"energy_{entry.component}_nj", []).append(entry.energy_fj)
    return columns | {name: fsum(fj) / FJ_PER_NJ / tokens for name, fj in leaking.items()}
