"""Latency and accepted rate of a flit-level network at an offered rate.

The procedure is the usual one for open-loop measurement (Dally and Towles, 2004, chapter
23), with BookSim2's numbers: warm up for three periods; sample packets created from then on,
period by period, until mean latency and accepted rate have each changed by less than 5 % in
three periods running; then keep the traffic on until every sampled packet has arrived. A mean
latency above 1,000 cycles, or no convergence in fifteen periods, means that the network does
not keep up with the offered rate. Added to that: sampling goes on until enough packets have
arrived for a mean that means something at low rates, and a bound on the cycles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

import cimsim.engine.noc.flit_state as f
from cimsim.engine.noc.flit import STUCK, run_cycles
from cimsim.engine.noc.flit_build import flit_state
from cimsim.engine.noc.flit_state import FlitSettings, FlitState, FlitTraffic, flit_traffic
from cimsim.engine.noc.traffic import RUN, Traffic, draw
from cimsim.errors import CimsimError, SimulationError
from cimsim.results.statistics import t_quantile

__all__ = ["CurvePoint", "Sampling", "measure_point"]


@dataclass(frozen=True)
class Sampling:
    """When to measure and when to stop.

    Args:
        runs: most independent runs per point, each with draws of its own.
        few_runs: runs after which a point is done if its mean is precise enough.
        precision: half 95 % confidence interval, relative to the mean, that is enough.
        period_cycles: length of a sampling period.
        warmup_periods: periods before the first sample.
        max_periods: sampling periods after which a rate that has not converged is unstable.
        converged_periods: periods without change that end the sampling.
        change: relative change of latency or accepted rate that counts as one.
        latency_limit_cycles: mean latency above which a rate is unstable.
        min_packets: sampled packets of all runs below which sampling goes on.
        max_cycles: cycles after which a run is given up.

    Raises:
        CimsimError: if the limit leaves no time to sample.
    """

    runs: int = 16
    few_runs: int = 4
    precision: float = 0.01
    period_cycles: int = 1000
    warmup_periods: int = 3
    max_periods: int = 15
    converged_periods: int = 3
    change: float = 0.05
    latency_limit_cycles: float = 1000.0
    min_packets: int = 5000
    max_cycles: int = 1_000_000

    def __post_init__(self) -> None:
        if not 1 <= self.runs <= 1000:
            raise CimsimError(
                "the number of runs is out of range",
                key="runs",
                value=self.runs,
                allowed="1 to 1000",
            )
        if self.period_cycles < 1:
            raise CimsimError(
                "a sampling period is too short",
                key="period",
                value=self.period_cycles,
                allowed="1 or more cycles",
            )
        least = (self.warmup_periods + 1) * self.period_cycles
        if not least <= self.max_cycles <= 1 << 24:
            raise CimsimError(
                "the limit of cycles leaves no time to sample",
                key="cycles",
                value=self.max_cycles,
                allowed=f"{least} (warm-up and one period of {self.period_cycles}) to {1 << 24}",
            )


@dataclass(frozen=True)
class CurvePoint:
    """One point of a latency-load curve.

    Attributes:
        offered: offered rate in flits per node and cycle.
        accepted: rate at which nodes received flits while sampling, in the same unit.
        latency_mean: mean packet latency in cycles, creation to arrival of the tail, source
            queue included; None if no sampled packet arrived.
        latency_ci95: half the 95 % confidence interval of the mean, from the means of the
            runs (Student's t); None for a single run.
        latency_p99: 99th percentile of the packet latency in cycles.
        hops: mean number of routers on a packet's way.
        packets: sampled packets that arrived.
        runs: independent runs.
        cycles: simulated cycles of all runs.
        stable: whether the network kept up. If not, latencies are of the packets that
            arrived until the run was given up: a lower bound.
        note: why the run was given up, or empty.
    """

    offered: float
    accepted: float
    latency_mean: float | None
    latency_ci95: float | None
    latency_p99: int | None
    hops: float | None
    packets: int
    runs: int
    cycles: int
    stable: bool
    note: str


def measure_point(settings: FlitSettings, traffic: Traffic, sampling: Sampling) -> CurvePoint:
    """Measure one offered rate.

    Runs are added until the mean is precise enough, and end at the first that does not keep
    up with the offered rate.

    Args:
        settings: network.
        traffic: pattern, rate, packet length and seed.
        sampling: when to measure and when to stop.

    Raises:
        SimulationError: if the network deadlocks.
    """
    runs: list[_Run] = []
    while len(runs) < sampling.runs and not _enough(runs, sampling):
        seed = int(draw(traffic.seed, RUN, len(runs), 0)) >> 1
        runs.append(_run(settings, replace(traffic, seed=seed), sampling))
    latencies = np.zeros(max(run.latencies.size for run in runs), dtype=np.int64)
    for run in runs:
        latencies[: run.latencies.size] += run.latencies
    packets = int(latencies.sum())
    note = runs[-1].note
    return CurvePoint(
        offered=traffic.rate,
        accepted=sum(run.flits for run in runs)
        / sum(run.sampled_cycles for run in runs)
        / settings.shape.nodes,
        latency_mean=_mean(latencies) if packets else None,
        latency_ci95=_half_interval(runs),
        latency_p99=_percentile(latencies, 0.99) if packets else None,
        hops=sum(run.hops for run in runs) / packets if packets else None,
        packets=packets,
        runs=len(runs),
        cycles=sum(run.cycles for run in runs),
        stable=not note,
        note=note,
    )


@dataclass(frozen=True)
class _Run:
    """One run: histogram of latencies, routers visited, flits and cycles while sampling."""

    latencies: npt.NDArray[np.int64]
    hops: int
    flits: int
    sampled_cycles: int
    cycles: int
    note: str


def _run(settings: FlitSettings, traffic: Traffic, sampling: Sampling) -> _Run:
    state = flit_state(settings, sampling.max_cycles)
    totals = state.totals
    load = flit_traffic(settings.shape, traffic)
    _advance(state, load, sampling.warmup_periods * sampling.period_cycles, 0)
    start, ejected = int(totals[f.TIME]), int(totals[f.EJECTED_FLITS])
    totals[f.MEASURE_FROM], totals[f.MEASURE_TO] = start, 1 << 62
    note = _sample(state, load, sampling)
    end, flits = int(totals[f.TIME]), int(totals[f.EJECTED_FLITS]) - ejected
    totals[f.MEASURE_TO] = end
    if not note:
        _advance(state, load, sampling.max_cycles, 1)
        if totals[f.TIME] >= sampling.max_cycles:
            note = f"packets still on their way after {sampling.max_cycles} cycles"
    return _Run(
        latencies=np.trim_zeros(state.latencies, "b"),
        hops=int(totals[f.HOPS_SUM]),
        flits=flits,
        sampled_cycles=end - start,
        cycles=int(totals[f.TIME]),
        note=note,
    )


def _sample(state: FlitState, load: FlitTraffic, sampling: Sampling) -> str:
    """Sample until the means stand still; return why not, or an empty string."""
    totals = state.totals
    start, ejected = int(totals[f.TIME]), int(totals[f.EJECTED_FLITS])
    periods = calm = 0
    before = (0.0, 0.0)
    while True:
        until = int(totals[f.TIME]) + sampling.period_cycles
        if until > sampling.max_cycles:
            return f"not converged within {sampling.max_cycles} cycles"
        _advance(state, load, until, 0)
        periods += 1
        done = int(totals[f.DONE_PACKETS])
        latency = int(totals[f.LATENCY_SUM]) / max(done, 1)
        accepted = (int(totals[f.EJECTED_FLITS]) - ejected) / (until - start)
        if latency > sampling.latency_limit_cycles:
            return f"mean latency above {sampling.latency_limit_cycles:g} cycles"
        now = (latency, accepted)
        same = all(
            abs(new - old) < sampling.change * new for new, old in zip(now, before, strict=True)
        )
        calm = calm + 1 if same else 0
        before = now
        if done * sampling.runs >= sampling.min_packets:
            if calm >= sampling.converged_periods:
                return ""
            if periods >= sampling.max_periods:
                return f"not converged in {periods} periods"


def _advance(state: FlitState, load: FlitTraffic, until: int, drain: int) -> None:
    if run_cycles(state, load, until, drain) == STUCK:
        raise SimulationError(
            "the network is deadlocked: no flit moved although packets are on their way",
            value=f"cycle {int(state.totals[f.TIME])}",
        )


def _percentile(latencies: npt.NDArray[np.int64], share: float) -> int:
    """Return the least latency that at least this share of the packets did not exceed."""
    counts = np.cumsum(latencies)
    return int(np.searchsorted(counts, np.ceil(share * counts[-1])))


def _mean(latencies: npt.NDArray[np.int64]) -> float:
    return int(latencies @ np.arange(latencies.size)) / int(latencies.sum())


def _half_interval(runs: list[_Run]) -> float | None:
    """Return half the 95 % confidence interval of the mean latency of independent runs."""
    means = [_mean(run.latencies) for run in runs if run.latencies.size]
    if len(means) < 2:
        return None
    spread = float(np.std(means, ddof=1)) / float(np.sqrt(len(means)))
    return t_quantile(0.975, len(means) - 1) * spread


def _enough(runs: list[_Run], sampling: Sampling) -> bool:
    """Return whether no further run is needed."""
    if runs and runs[-1].note:
        return True
    half = _half_interval(runs)
    if half is None or len(runs) < sampling.few_runs:
        return False
    return half <= sampling.precision * _mean(runs[0].latencies)
