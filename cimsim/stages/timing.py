"""Time and energy of routed tokens: the routing of the tiles, replayed on the chip.

Two phases are timed. Prefill: windows in flight at once, flights of tokens through the
layers. Decode: the same teacher-forced routing, one token a sequence and step, at each
batch size. Energy is what the phases counted times what an action costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import Placement, UnitKey
from cimsim.config import ChipConfig
from cimsim.cost import ActionCounts, Density, Ledger
from cimsim.engine import CorrectionWork, EngineResult, simulate
from cimsim.mac import MacStatistics, MatrixCounts
from cimsim.stages.placed_chip import PlacedChip
from cimsim.units import FJ_PER_J, FJ_PER_NJ, PS_PER_S, PS_PER_US
from cimsim.workload.trace import RoutingTrace

__all__ = [
    "Phase",
    "Replay",
    "TimedPhases",
    "charge_phase",
    "densities",
    "density_of",
    "longest_ps",
    "peak_power_w",
    "phase_plan",
    "time_phase",
    "time_routings",
    "utilisation_of",
]

Floats = NDArray[np.float64]

MOST_WINDOWS = 1 << 20  # of 1 us: a second, longer than a phase of any bundled chip takes


@dataclass(frozen=True)
class Phase:
    """One timed phase.

    Attributes:
        name: prefill, or decode_b1, decode_b8, ...
        batch: sequences at once.
        result: what the engine measured.
        ledger: energy of the phase alone.
    """

    name: str
    batch: int
    result: EngineResult
    ledger: Ledger

    @property
    def energy_fj(self) -> float:
        """Energy of the phase, DRAM and I/O included."""
        return self.ledger.total_fj()

    @property
    def energy_per_token_nj(self) -> float:
        """Energy per token, all components."""
        return self.energy_fj / FJ_PER_NJ / self.result.tokens

    @property
    def energy_by_kind_nj(self) -> dict[str, float]:
        """Energy per token of dynamic, leakage and off_chip rows."""
        kinds = self.ledger.by_kind().items()
        return {kind: fj / FJ_PER_NJ / self.result.tokens for kind, fj in kinds}

    @property
    def power_w(self) -> float:
        """Energy over time, DRAM and I/O included."""
        return self.energy_fj / FJ_PER_J / (self.result.makespan_ps / PS_PER_S)

    @property
    def utilisation(self) -> float:
        """Utilisation of the busiest resource."""
        return utilisation_of(self.result)

    @property
    def tokens_per_s(self) -> float:
        """Tokens over the time that they took, from an empty chip to an empty chip.

        Filling and draining count: tokens that complete soon after the first were in flight
        with it, so a rate since the first completion would count work done before.
        """
        return self.result.tokens / self.result.makespan_ps * PS_PER_S


@dataclass(frozen=True)
class TimedPhases:
    """Every phase of one routing on one chip, prefill first."""

    phases: tuple[Phase, ...]

    @property
    def prefill(self) -> Phase:
        """The prefill phase."""
        return self.phases[0]

    def decode(self, batch: int) -> Phase:
        """The decode phase at a batch size."""
        return next(p for p in self.phases[1:] if p.batch == batch)


@dataclass(frozen=True)
class Replay:
    """A routing to replay on the engine.

    Attributes:
        trace: the routing.
        correction: digital work that a calibration adds.
        copies: units whose copies are all read for every token, and averaged. Copies work side by
            side: their energy is charged, their time is that of one.
    """

    trace: RoutingTrace
    correction: CorrectionWork | None = None
    copies: Mapping[UnitKey, int] | None = None


def time_routings(
    chip: PlacedChip,
    replays: Sequence[Replay],
    density: Mapping[UnitKey, Density],
    *,
    expected_load: NDArray[np.int64] | None = None,
    threads: int = 1,
) -> tuple[TimedPhases, ...]:
    """Run prefill and every decode batch on the event engine, and charge what they counted.

    No phase knows of another one, so that they go side by side.

    Args:
        chip: the chip with its program.
        replays: routings.
        density: bit and level densities that the tiles measured.
        expected_load: [MoE layers, experts], visits that the pinned switching policy expects.
        threads: phases at once, at most.
    """
    plan = phase_plan(chip.config)

    def timed(one: tuple[Replay, tuple[str, int]]) -> Phase:
        replay, (name, batch) = one
        return time_phase(
            chip, replay, density, name=name, batch=batch, expected_load=expected_load
        )

    every = [(replay, phase) for replay in replays for phase in plan]
    with ThreadPoolExecutor(max(1, min(threads, len(every)))) as pool:
        found = tuple(pool.map(timed, every))
    return tuple(TimedPhases(found[i : i + len(plan)]) for i in range(0, len(found), len(plan)))


def time_phase(
    chip: PlacedChip,
    replay: Replay,
    density: Mapping[UnitKey, Density] | None,
    *,
    name: str,
    batch: int,
    expected_load: NDArray[np.int64] | None = None,
) -> Phase:
    """Run one phase and charge it; arguments are those of `time_routings`."""
    result = simulate(
        chip,
        replay.trace,
        phase=name.split("_", maxsplit=1)[0],
        batch=batch,
        correction=replay.correction,
        expected_load=expected_load,
    )
    return charge_phase(chip, name, batch, result, density, replay.copies)


def longest_ps(*timings: TimedPhases) -> int:
    """Return the longest makespan of all phases."""
    return max(p.result.makespan_ps for timing in timings for p in timing.phases)


def phase_plan(config: ChipConfig) -> tuple[tuple[str, int], ...]:
    """Return name and batch of every phase of a run, prefill first."""
    batches = sorted(config.run.decode_batch)
    return (("prefill", config.workload.in_flight), *((f"decode_b{b}", b) for b in batches))


def charge_phase(
    chip: PlacedChip,
    name: str,
    batch: int,
    result: EngineResult,
    density: Mapping[UnitKey, Density] | None,
    copies: Mapping[UnitKey, int] | None = None,
) -> Phase:
    """Charge what a phase counted; arguments are those of `time_routings`."""
    ledger = Ledger()
    counts = _read_all_copies(result.counts, copies or {})
    chip.cost.charge(ledger, counts, density, mapped_tiles=len(chip.placement.occupied_tiles))
    return Phase(name, batch, result, ledger)


def _read_all_copies(counts: ActionCounts, copies: Mapping[UnitKey, int]) -> ActionCounts:
    """Return the counts with every copy of an averaged unit fed with every vector."""
    if not copies:
        return counts
    vectors = {key: n * copies.get(key, 1) for key, n in counts.unit_vectors.items()}
    return replace(counts, unit_vectors=vectors)


def densities(chip: PlacedChip, statistics: MacStatistics) -> dict[UnitKey, Density]:
    """Return what the tiles measured, by unit; units that no token reached are left out."""
    found: dict[UnitKey, Density] = {}
    for key, unit in chip.placement.units.items():
        total = MatrixCounts()
        for tiling in unit.tilings:
            counts = statistics.counts.get(tiling.matrix.id)
            if counts is not None:
                total.add(counts)
        if total.vectors and total.code_slots:
            found[key] = density_of(total)
    return found


def density_of(counts: MatrixCounts) -> Density:
    """Return what a tile measured, as the cost of its vectors takes it."""
    return Density(
        counts.input_bit_density,
        counts.mean_level_fraction,
        skipped_share=counts.skipped_share,
        recovered_share=counts.recovered_share,
        recovery_bit_density=counts.recovery_bit_density,
        search_cycles=counts.search_cycles,
    )


def peak_power_w(chip: PlacedChip, phase: Phase, window_ps: int = PS_PER_US) -> float:
    """Return the power of the worst window of 1 us.

    Energy of tiles is spread over the service time of visits, in proportion to vectors x
    crossbars; everything else is spread evenly over the makespan.
    """
    result, log = phase.result, phase.result.visits
    span = result.makespan_ps
    average = phase.energy_fj / span * PS_PER_S / FJ_PER_J
    if span <= window_ps or not len(log.site):
        return average
    by_component = phase.ledger.by_component()
    names = ("adc", "dac", "crossbar", "sample_hold", "shift_add", "input_register")
    seldom = ("output_register", "bit_line", "merge", "tier_switch", "macro_control")
    tile_fj = sum(by_component.get(n, 0.0) for n in (*names, *seldom))
    crossbars = _site_crossbars(log.site_names, chip.placement)
    weight = log.vectors.astype(np.float64) * crossbars[log.site]
    energy = weight * (tile_fj / weight.sum()) if weight.sum() else weight
    # The last window may be shorter than the others: it cannot be the worst whole one.
    windows = _windows(log.start_ps, log.end_ps, window_ps, max(1, span // window_ps))
    worst = _spread(log.start_ps, log.end_ps, energy, windows, window_ps).max()
    rest = (phase.energy_fj - tile_fj) / span
    return float((worst / window_ps + rest) * PS_PER_S / FJ_PER_J)


def utilisation_of(result: EngineResult) -> float:
    """Return the utilisation of the busiest resource of a run."""
    used = result.utilisation
    groups = (used.tile, used.digital, used.link, used.dram)
    return float(min(1.0, max(group.max() for group in groups if group.size)))


def _site_crossbars(names: tuple[str, ...], placement: Placement) -> Floats:
    """Crossbars of every site, from the unit that its name begins with."""
    by_name = {str(key): float(unit.crossbars) for key, unit in placement.units.items()}
    mean = float(np.mean(list(by_name.values()))) if by_name else 1.0
    return np.array([by_name.get(n.split(" ")[0], mean) for n in names])


def _windows(
    start: NDArray[np.int64], end: NDArray[np.int64], window_ps: int, count: int
) -> NDArray[np.int64]:
    """Return the windows to look at: all, or of very many those in which power changes.

    Between two changes all windows are alike: the first that lies whole between them will do.
    """
    if count <= MOST_WINDOWS:
        return np.arange(count)
    changes = np.concatenate([start, np.maximum(end, start + 1)]) // window_ps
    found = np.unique(np.concatenate([changes, changes + 1]))
    return found[found < count]


def _spread(
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    energy: Floats,
    windows: NDArray[np.int64],
    window_ps: int,
) -> Floats:
    """Energy of windows when each visit's is spread evenly over its time."""
    # The running integral of energy is piecewise linear in time: sum its corners.
    length = np.maximum(end - start, 1)
    order_start, order_end = np.argsort(start, kind="stable"), np.argsort(end, kind="stable")
    rate = energy / length

    def until(times: NDArray[np.int64], order: NDArray[np.int64]) -> tuple[Floats, Floats]:
        sorted_times = times[order]
        rates = np.concatenate([[0.0], np.cumsum(rate[order])])
        moments = np.concatenate([[0.0], np.cumsum(rate[order] * sorted_times)])
        index = np.searchsorted(sorted_times, edges, side="right")
        return rates[index], moments[index]

    edges = np.unique(np.concatenate([windows, windows + 1])) * window_ps
    rate_in, moment_in = until(start, order_start)
    rate_out, moment_out = until(start + length, order_end)
    integral = (rate_in * edges - moment_in) - (rate_out * edges - moment_out)
    at = np.searchsorted(edges, windows * window_ps)
    return np.asarray(integral[at + 1] - integral[at])
