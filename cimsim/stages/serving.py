"""Latency against load: requests arrive at given rates at a chip that runs a model.

A request is one sequence: decoded token by token (phase decode) or read as one window
(prefill). Its latency runs from its arrival to the completion of its last token and is the
sum of its parts. Before any rate is tried a closed loop, in which requests never run out,
measures the *capacity*: requests completed after the first ones, over the time since then.
A rate at or above it has no steady state; its rows say so, and describe how far the queue
had grown when the last request arrived. Runs are finite, so they end at any rate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cimsim.config import ChipConfig
from cimsim.engine import EngineResult, build_plan, check_trace, time_plan
from cimsim.errors import CimsimError
from cimsim.stages.placed_chip import PlacedChip, place_chip
from cimsim.stages.scale import fit_shape
from cimsim.stages.timing import utilisation_of
from cimsim.units import PS_PER_S, PS_PER_US
from cimsim.workload.arrivals import poisson_arrivals_ps
from cimsim.workload.program import Program
from cimsim.workload.trace import RoutingTrace

__all__ = ["Limits", "ServedPoint", "Server", "prepare"]

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Limits:
    """When a run is given up; None means never.

    Attributes:
        events: events of one run.
        seconds: time of one run.
    """

    events: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class ServedPoint:
    """One rate.

    Attributes:
        arrivals: poisson, trace, or closed (as soon as there is room).
        rate_per_s: requests that arrive per second; None in a closed loop.
        load: that over the capacity.
        completed_per_s: requests completed after the first batch of them (those entered an
            empty chip), over the time since; with no more than a batch, all over the makespan.
        requests, tokens: completed.
        latency_mean_us, latency_p50_us, latency_p99_us: of a request; p99 is None with fewer
            than 100 requests.
        parts_us: mean by part of a request's latency; they sum to the mean.
        in_system_mean: requests that have arrived and are not complete, over time.
        in_system_max: most of them.
        backlog: of them, those there when the last request arrived.
        critical_resource, utilisation: the busiest resource and its busy time over the run.
        saturated: whether the rate is at or above the capacity.
        cautions: what a reader must know, a sentence each.
    """

    arrivals: str
    rate_per_s: float | None
    load: float | None
    completed_per_s: float
    requests: int
    tokens: int
    latency_mean_us: float
    latency_p50_us: float
    latency_p99_us: float | None
    parts_us: dict[str, float]
    in_system_mean: float
    in_system_max: int
    backlog: int
    critical_resource: str
    utilisation: float
    saturated: bool
    cautions: tuple[str, ...]


@dataclass(frozen=True)
class Server:
    """A chip with a model on it and the requests that it will get; use `prepare`.

    Attributes:
        chip: the chip with its program.
        trace: routing of all requests; a sequence is a request.
        phase: decode or prefill.
        batch: requests in flight at once.
        engine: simpy, compiled or auto.
        limits: of every run.
    """

    chip: PlacedChip
    trace: RoutingTrace
    phase: str
    batch: int
    engine: str
    limits: Limits

    @property
    def requests(self) -> int:
        """How many requests arrive."""
        return len(np.unique(self.trace.sequence))

    def closed_loop(self) -> ServedPoint:
        """Serve requests that enter as soon as there is room: the capacity."""
        return _point("closed", self._run(None), self.batch, None)

    def at_rate(self, rate_per_s: float, capacity_per_s: float, seed: int) -> ServedPoint:
        """Serve requests of a Poisson process.

        Args:
            rate_per_s: arrivals per second.
            capacity_per_s: what the closed loop completed.
            seed: of the gaps between arrivals.
        """
        arrivals = poisson_arrivals_ps(self.requests, rate_per_s, seed)
        return _point("poisson", self._run(arrivals), self.batch, capacity_per_s, rate_per_s)

    def at_times(self, arrival_ps: Int64, capacity_per_s: float) -> ServedPoint:
        """Serve requests that arrive at recorded times.

        Raises:
            CimsimError: if there are fewer times than requests.
        """
        if len(arrival_ps) < self.requests:
            raise CimsimError(
                "there are fewer arrival times than requests",
                value=f"{len(arrival_ps)} times",
                allowed=f"at least {self.requests}",
            )
        served = self._run(arrival_ps[: self.requests])
        return _point("trace", served, self.batch, capacity_per_s)

    def _run(self, arrival_ps: Int64 | None) -> EngineResult:
        plan = build_plan(
            self.chip, self.trace, phase=self.phase, batch=self.batch, arrival_ps=arrival_ps
        )
        return time_plan(
            self.chip,
            plan,
            engine=self.engine,
            max_events=self.limits.events,
            max_seconds=self.limits.seconds,
        )


def prepare(
    config: ChipConfig,
    program: Program,
    trace: RoutingTrace,
    *,
    shape: bool,
    phase: str,
    batch: int,
    engine: str,
    limits: Limits,
) -> Server:
    """Put a model on a chip.

    Args:
        config: the chip.
        program: the model.
        trace: routing of all requests.
        shape: whether the model is a full-size shape: the chip is then fitted to it, units in
            program order; else it is placed as `cimsim run` does.
        phase: decode or prefill.
        batch: requests in flight at once, at most all of them.
        engine: simpy, compiled or auto.
        limits: of every run.

    Raises:
        CimsimError: if the model doesn't fit, or the trace is of another one.
    """
    check_trace(program, trace)
    batch = min(batch, len(np.unique(trace.sequence)))
    workload = config.workload.model_copy(update={"in_flight": batch})
    config = config.model_copy(update={"workload": workload})
    if shape:
        full = fit_shape(config, program)
        chip = replace(full, config=full.config.model_copy(update={"workload": workload}))
    else:
        chip = place_chip(config, program, trace)
    return Server(chip, trace, phase, batch, engine, limits)


def _point(
    arrivals: str,
    result: EngineResult,
    batch: int,
    capacity_per_s: float | None,
    rate_per_s: float | None = None,
) -> ServedPoint:
    latency, arrive = result.request_ps, result.arrive_ps
    done = arrive + latency
    n = len(latency)
    if arrivals == "trace" and n > 1 and arrive[-1] > arrive[0]:
        rate_per_s = (n - 1) / float(arrive[-1] - arrive[0]) * PS_PER_S
    warm = int(np.sort(done)[min(batch, n) - 1])
    later = int((done > warm).sum())
    span = float(done.max() - warm) if later else float(result.makespan_ps)
    load = None if not capacity_per_s or rate_per_s is None else rate_per_s / capacity_per_s
    inside = _in_system(arrive, done)
    saturated = load is not None and load >= 1
    cautions = list(result.cautions)
    if saturated:
        cautions.insert(
            0,
            f"{rate_per_s:.4g} requests/s arrive and the chip completes {capacity_per_s:.4g}: "
            f"there is no steady state; {inside[2]} of {n} requests waited or were in flight "
            "when the last one arrived, and latencies grow with the number of requests",
        )
    return ServedPoint(
        arrivals=arrivals,
        rate_per_s=rate_per_s,
        load=load,
        completed_per_s=(later or n) / span * PS_PER_S,
        requests=n,
        tokens=result.tokens,
        latency_mean_us=float(latency.mean()) / PS_PER_US,
        latency_p50_us=float(np.percentile(latency, 50)) / PS_PER_US,
        latency_p99_us=float(np.percentile(latency, 99)) / PS_PER_US if n >= 100 else None,
        parts_us={
            part: float(mean) / PS_PER_US
            for part, mean in zip(result.parts, result.request_parts_ps.mean(axis=0), strict=True)
        },
        in_system_mean=inside[0],
        in_system_max=inside[1],
        backlog=inside[2],
        critical_resource=result.critical_resource,
        utilisation=utilisation_of(result),
        saturated=saturated,
        cautions=tuple(cautions),
    )


def _in_system(arrive: Int64, done: Int64) -> tuple[float, int, int]:
    """Return requests in the system: mean over the run, most, and when the last arrives."""
    times = np.concatenate([arrive, done])
    change = np.concatenate([np.ones_like(arrive), -np.ones_like(done)])
    order = np.lexsort((change, times))  # those that leave at a moment go first
    inside = np.cumsum(change[order])
    span = int(done.max() - arrive.min())
    mean = float((done - arrive).sum()) / span if span else 0.0
    return mean, int(inside.max()), int((done > arrive.max()).sum())
