"""One call that times a phase: plan, engine, results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimsim.config import ChipConfig
from cimsim.engine.build import build_plan
from cimsim.engine.cautions import network_validity
from cimsim.engine.events.compiled import run_compiled
from cimsim.engine.events.first_tables import visit_bound
from cimsim.engine.events.flit_loop import run_flit
from cimsim.engine.events.simpy_loop import run_simpy
from cimsim.engine.network_choice import (
    FLIT_LEVEL,
    PACKET_LEVEL,
    NetworkLevel,
    flit_obstacle,
    refuse_flit,
    too_large,
)
from cimsim.engine.numbers import Numbers
from cimsim.engine.placed_program import PlacedProgram
from cimsim.engine.plan import Plan
from cimsim.engine.raw import RawRun
from cimsim.engine.result import EngineResult, make_result
from cimsim.engine.steps import CorrectionWork
from cimsim.errors import CimsimError
from cimsim.workload.trace import RoutingTrace

__all__ = ["choose_engine", "simulate", "time_plan"]

ENGINES = ("auto", "simpy", "compiled")
RECORDED_VISITS = 2_000_000
"""Runs with more visits keep no log of them: it would not fit into memory."""
SMALL_RUN_VISITS = 20_000
"""Largest run that `auto` gives to SimPy: a few tenths of a second there."""


def simulate(
    chip: PlacedProgram,
    trace: RoutingTrace,
    *,
    phase: str,
    batch: int = 1,
    engine: str | None = None,
    correction: CorrectionWork | None = None,
    arrival_ps: NDArray[np.int64] | None = None,
    expected_load: NDArray[np.int64] | None = None,
) -> EngineResult:
    """Time one phase of a workload on a chip.

    Args:
        chip: the chip with its program.
        trace: routing of every token.
        phase: prefill or decode.
        batch: sequences at once in decode; prefill takes workload.in_flight.
        engine: simpy, compiled or auto; None takes run.engine. The flit level of the
            network (noc.level) runs on the SimPy engine only.
        correction: digital work that a calibration adds in every MoE layer.
        arrival_ps: [streams], rising arrival times; None lets streams enter as soon as there
            is room (closed loop).
        expected_load: [MoE layers, experts], visits that the pinned policy expects; those of
            the trace by default.

    Raises:
        CimsimError: if the parts don't fit together.
        SimulationError: if the run stalls.
    """
    plan = build_plan(
        chip,
        trace,
        phase=phase,
        batch=batch,
        correction=correction or CorrectionWork(),
        arrival_ps=arrival_ps,
        expected_load=expected_load,
    )
    return time_plan(chip, plan, engine=engine)


def time_plan(
    chip: PlacedProgram,
    plan: Plan,
    *,
    engine: str | None = None,
    max_events: int | None = None,
    max_seconds: float | None = None,
    numbers: Callable[[Plan], Numbers] | None = None,
) -> EngineResult:
    """Run a plan on an engine, at the level of the network that serves it.

    Args:
        chip: what the plan was built of.
        plan: what to run.
        engine: simpy, compiled or auto; None takes run.engine.
        max_events: give up after this many events.
        max_seconds: give up after this time.
        numbers: makes the model that computes its numbers as time passes (coupled mode). The
            plan then says which tokens there are; where they go is the model's to say.

    Raises:
        CimsimError: if engine and plan don't go together.
        SimulationError: if the run stalls or exceeds a limit.
    """
    config = chip.config
    record = visit_bound(plan) <= RECORDED_VISITS
    wanted = engine or config.run.engine
    if numbers is not None and wanted == "compiled":
        raise CimsimError(
            "numbers that depend on time are computed by the SimPy engine only",
            key="run.engine",
            value=wanted,
            allowed="auto, simpy",
        )
    served = _first_level(config, plan, wanted)
    name, raw = "simpy", None
    judged = config.noc.level == "auto" and plan.transport.contended
    if not served.flit and (numbers is None or judged):
        # Where numbers depend on time, the routing given is a guess, good enough to judge by.
        name = choose_engine(plan, wanted)
        fast = run_simpy if name == "simpy" else run_compiled
        raw = fast(plan, record=record, max_events=max_events, max_seconds=max_seconds)
        if judged and not network_validity(plan, raw).inside:
            served = _next_level(config, plan, raw)
    if numbers is not None:
        # No token goes anywhere before the model has said where.
        plan = replace(plan, experts=np.full_like(plan.experts, -1))
    if numbers is not None or served.flit:
        name = "simpy"
        raw = (run_flit if served.flit else run_simpy)(
            plan,
            record=record,
            max_events=max_events,
            max_seconds=max_seconds,
            numbers=None if numbers is None else numbers(plan),
        )
    assert raw is not None  # noqa: S101 - one of the two was run
    return make_result(config, chip.program, plan, raw, name, served)


def _first_level(config: ChipConfig, plan: Plan, wanted: str) -> NetworkLevel:
    """Return the level that a run is asked for; packet where it may yet change.

    Raises:
        CimsimError: if the flit level is asked for and cannot be had.
    """
    if config.noc.level == "packet":
        return NetworkLevel(why="noc.level is packet")
    if config.noc.level == "auto" or not plan.transport.contended:
        return PACKET_LEVEL
    refuse_flit(config, wanted, plan.transport.shape)
    return FLIT_LEVEL


def _next_level(config: ChipConfig, plan: Plan, raw: RawRun) -> NetworkLevel:
    """Return what serves a run that left the packet level's range."""
    why = flit_obstacle(config, plan.transport.shape) or too_large(raw)
    return NetworkLevel(why=why) if why else FLIT_LEVEL


def choose_engine(plan: Plan, wanted: str) -> str:
    """Return the engine that runs a plan: auto takes SimPy while it is quick.

    Both give the same results, from the same kernels.

    Raises:
        CimsimError: if there is no such engine.
    """
    if wanted not in ENGINES:
        raise CimsimError(
            "is not an engine", key="run.engine", value=wanted, allowed=", ".join(ENGINES)
        )
    if wanted != "auto":
        return wanted
    return "simpy" if visit_bound(plan) <= SMALL_RUN_VISITS else "compiled"
