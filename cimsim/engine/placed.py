"""Seats and slots become sites: who is where, how fast, and what switching costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import Placement, Unit, UnitKey, crossbar_numbers
from cimsim.config import ChipConfig
from cimsim.cost import ActionCounts, Density, Ledger
from cimsim.engine.memory import MemoryTimes
from cimsim.engine.plan import Slots
from cimsim.engine.policies import LRU, POLICIES
from cimsim.engine.power import site_power_nw
from cimsim.engine.sites import SiteSpec
from cimsim.engine.tiers import most_tiers
from cimsim.errors import CimsimError, CimsimInternalError
from cimsim.units import ps_from_ns
from cimsim.workload.program import Program

__all__ = ["Costs", "PlacedSites", "finish_slots", "place_units", "power_limit_nw"]

NONE = -1


class SiteTiming(Protocol):
    """Closed form of a visit: the last of n vectors is done fill + interval x n later."""

    @property
    def fill_ps(self) -> int:
        """Latency beyond the initiation intervals."""

    @property
    def interval_ps(self) -> int:
        """Time between two vectors."""

    @property
    def adc_fill_ps(self) -> int:
        """What conversions add to the fill."""

    @property
    def adc_interval_ps(self) -> int:
        """What conversions add to the interval."""


class Costs(Protocol):
    """Closed-form times and sizes that the engine takes from the cost model."""

    def visit_timing(self, unit: Unit, in_pe: int | None = None) -> SiteTiming:
        """Return fill and interval of a visit whose PEs hold at most so many of its crossbars."""

    def programming_ps(self, unit: Unit) -> int:
        """Return the time to write a unit."""

    def programming_bytes(self, unit: Unit) -> int:
        """Return the stored weight bytes of a unit."""

    def digital_ps(self, macs: int, elements: int) -> int:
        """Return the time of a job on one digital unit."""

    def charge(
        self, ledger: Ledger, counts: ActionCounts, density: Mapping[UnitKey, Density] | None
    ) -> None:
        """Append the energy of one phase."""


class SiteMaker(Protocol):
    """Registers a site and returns its index."""

    def __call__(self, unit: Unit, crossbars: Sequence[int], name: str) -> int:
        """Register a site."""


@dataclass(frozen=True)
class PlacedSites:
    """Sites of groups and experts before they are flattened."""

    specs: list[SiteSpec]
    timing_ps: list[tuple[int, int, int, int]]
    power_nw: list[int]
    group_of: dict[tuple[UnitKey, str], int]
    group_sites: list[list[int]]
    group_units: list[UnitKey]
    expert_sites: list[list[int]]
    expert_units: list[UnitKey]
    slots: Slots


class _Sites:
    """Sites in the order in which they are added, with their closed-form times and power."""

    def __init__(self, config: ChipConfig, placement: Placement, cost: Costs) -> None:
        self._placement, self._cost = placement, cost
        self._pe, self._limit = config.tile.pe.crossbars, power_limit_nw(config)
        self._tile = config.tile
        self._shares_adc = config.tile.adc.per_pe < self._pe
        self._cache: dict[object, tuple[tuple[int, int, int, int], int]] = {}
        self.specs: list[SiteSpec] = []
        self.timing: list[tuple[int, int, int, int]] = []
        self.power: list[int] = []

    def add(self, unit: Unit, crossbars: Sequence[int], name: str) -> int:
        """Add a site and return its number."""
        most = self._most_in_pe(crossbars) if self._shares_adc else None
        turns = most_tiers(crossbars, self._tile)
        blocks = tuple((t.row_blocks, t.column_blocks) for t in unit.tilings)
        shape = (unit.key.part, most, turns, blocks, unit.vectors)
        if shape not in self._cache:
            self._cache[shape] = self._figures(unit, most, turns)
        timing, power = self._cache[shape]
        self.specs.append(SiteSpec(unit, crossbars, unit.summed, name))
        self.timing.append(timing)
        self.power.append(power)
        return len(self.specs) - 1

    def _most_in_pe(self, crossbars: Sequence[int]) -> int:
        """Return the most crossbars of a site that share a PE."""
        pes = crossbar_numbers(crossbars) // self._pe
        return int(np.bincount(pes - pes.min()).max())

    def _figures(
        self, unit: Unit, in_pe: int | None, turns: int
    ) -> tuple[tuple[int, int, int, int], int]:
        """Return fill, interval and what conversions add to both in ps, and power in nW.

        Tiers of one tile take all vectors of a visit one after another, and the first is the
        active one again in the end.
        """
        found, power = self._cost.visit_timing(unit, in_pe), 0
        if self._limit:
            whole = self._placement.units[unit.key]
            power = site_power_nw(self._cost, unit, whole, int(found.interval_ps), self._limit)
        times = (found.fill_ps, found.interval_ps, found.adc_fill_ps, found.adc_interval_ps)
        fill, interval, adc_fill, adc_interval = map(int, times)
        n = unit.vectors * turns  # of a token, one after the other
        fill += turns * ps_from_ns(self._tile.tier_switch_ns) if turns > 1 else 0
        return (fill, n * interval, adc_fill, n * adc_interval), power


def place_units(
    config: ChipConfig, placement: Placement, program: Program, cost: Costs
) -> PlacedSites:
    """Turn seats and slots into site specifications."""
    sites = _Sites(config, placement, cost)
    group_of: dict[tuple[UnitKey, str], int] = {}
    group_sites: list[list[int]] = []
    for key, unit in placement.units.items():
        if key.part == "experts":
            continue
        seats = placement.seats_of.get(key, ())
        if not seats:
            raise CimsimError(
                f"{key} has no place on the chip", hint="only experts may be switched"
            )
        for stage, part, low, high in _stages(unit):
            group_of[key, stage] = len(group_sites)
            group_sites.append(
                [
                    sites.add(part, s.crossbars[low:high], f"{key} {stage} {s.replica}")
                    for s in seats
                ]
            )
    expert_units, expert_sites = _expert_sites(config, placement, program, sites)
    slots = _slots(placement, expert_units, expert_sites, sites.add, cost)
    keys = [k for k, _ in group_of]
    return PlacedSites(
        sites.specs, sites.timing, sites.power, group_of, group_sites, keys, expert_sites,
        expert_units, slots,
    )  # fmt: skip


def _expert_sites(
    config: ChipConfig, placement: Placement, program: Program, sites: _Sites
) -> tuple[list[UnitKey], list[list[int]]]:
    """Return every routed expert and the sites of its copies that are not in slots."""
    units: list[UnitKey] = []
    found: list[list[int]] = []
    if "experts" not in config.chip.analog_parts:
        return units, found
    in_slot = {c for slot in placement.slots for c in slot}
    for layer in program.moe_layers:
        for expert in range(program.n_experts):
            key = UnitKey(layer, "experts", expert)
            seats = placement.seats_of.get(key, ())
            fixed = [s for s in seats if s.crossbars[0] not in in_slot]
            unit = placement.units[key]
            units.append(key)
            found.append([sites.add(unit, s.crossbars, f"{key} {s.replica}") for s in fixed])
    return units, found


def _stages(unit: Unit) -> list[tuple[str, Unit, int, int]]:
    """Return the product stages of a unit: name, its matrices, range of its crossbars."""
    stages, start = [], 0
    for name, part in unit.stages():
        stages.append((name, part, start, start + part.crossbars))
        start += part.crossbars
    return stages


def _slots(
    placement: Placement,
    expert_units: list[UnitKey],
    expert_sites: list[list[int]],
    site: SiteMaker,
    cost: Costs,
) -> Slots:
    """Make a site of every slot and find what it holds at the start."""
    moving = [e for e, sites in enumerate(expert_sites) if not sites]
    n = len(expert_units)
    write, size, cells = (np.zeros(n, dtype=np.int64) for _ in range(3))
    none, cold = np.zeros(0, dtype=np.int64), np.zeros(n, dtype=np.bool_)
    if not moving:
        zero = write.copy()
        return Slots(none, none, zero, none, write, zero, size, zero, cells, LRU, cold)
    if not placement.slots:
        raise CimsimError(
            f"{len(moving)} experts have no place on the chip and there is no slot to put them in",
            key="chip.switching",
            hint="leave crossbars free for slots, or add tiles",
        )
    units = [placement.units[expert_units[e]] for e in moving]
    shapes = {tuple((t.row_blocks, t.column_blocks) for t in u.tilings) for u in units}
    if len(shapes) > 1:
        raise CimsimError("experts of different shapes cannot share slots", key="chip.switching")
    need = units[0].crossbars
    short = [len(s) for s in placement.slots if len(s) < need]
    if short:
        raise CimsimError(
            "a slot is smaller than an expert",
            value=f"{short[0]} crossbars",
            allowed=f"at least {need} crossbars",
        )
    for e, unit in zip(moving, units, strict=True):
        write[e] = cost.programming_ps(unit)
        size[e] = cost.programming_bytes(unit)
        cells[e] = unit.cells
    sites = [site(units[0], s[:need], f"slot {i}") for i, s in enumerate(placement.slots)]
    slot_of = {c: i for i, slot in enumerate(placement.slots) for c in slot}
    initial = np.full(len(sites), NONE, dtype=np.int64)
    for e in moving:
        for seat in placement.seats_of.get(expert_units[e], ()):
            initial[slot_of[seat.crossbars[0]]] = e
    zero = np.zeros(n, dtype=np.int64)
    chip = np.array(placement.slot_chips or [0] * len(sites), dtype=np.int64)
    home = np.array([placement.homes.get(key, 0) for key in expert_units], dtype=np.int64)
    stranded = [str(expert_units[e]) for e in moving if home[e] not in chip]
    if stranded:
        message = f"no slot on the chips of {', '.join(stranded[:3])}"
        raise CimsimInternalError(message)
    return Slots(
        np.array(sites), chip, home, initial, write, zero, size, zero.copy(), cells, LRU, cold
    )


def finish_slots(
    slots: Slots,
    placement: Placement,
    config: ChipConfig,
    memory: MemoryTimes,
    load: NDArray[np.int64],
) -> Slots:
    """Add the policy and the times that fetching weights takes on channels and links."""
    if not len(slots.site):
        return slots
    if config.memory.kind == "none":
        raise CimsimError(
            "experts that are not resident come from off-chip memory, and the chip has none",
            key="memory.kind",
            value="none",
        )
    per_tile = placement.crossbars_per_tile
    need = max(placement.units[k].crossbars for k in placement.units if k.part == "experts")
    tiles = max(len({c // per_tile for c in s[:need]}) for s in placement.slots)
    flit_bits = config.noc.flit_bits * config.memory.channels * tiles
    return replace(
        slots,
        fetch_ps=memory.transfer_all(slots.fetch_bytes),
        fetch_flits=-(-slots.fetch_bytes * 8 // flit_bits),
        policy=POLICIES[config.chip.switching],
        hot=_hot_experts(slots, load),
    )


def _hot_experts(slots: Slots, expected: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return what the pinned policy keeps: on every chip the most used, in 3/4 of its slots."""
    hot = np.zeros(len(slots.home), dtype=np.bool_)
    for chip, count in zip(*np.unique(slots.chip, return_counts=True), strict=True):
        own = (slots.write_ps > 0) & (slots.home == chip)
        load = np.where(own, expected.ravel(), 0)
        kept = int(count) - max(1, int(count) // 4)
        hottest = np.argsort(-load, kind="stable")[:kept]
        hot[hottest] |= load[hottest] > 0
    return hot


def power_limit_nw(config: ChipConfig) -> int:
    """Return the limit on the power of active sites in nW, 0 for none."""
    watts = config.chip.power_limit_w
    return 0 if watts is None else max(1, round(watts * 1e9))
