"""Carrying out a sweep: points checked, laid out, evaluated rung by rung, judged."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cimsim.config.sweep import SweepPlan
from cimsim.errors import CimsimError
from cimsim.results import Cell, Row
from cimsim.stages.full_size import full_size_row
from cimsim.sweeps.axes import count_settings
from cimsim.sweeps.columns import sweep_columns
from cimsim.sweeps.executor import Executor
from cimsim.sweeps.folder import SweepFolder, plan_identity
from cimsim.sweeps.ladder import survivors
from cimsim.sweeps.points import Point, Points, Resolver
from cimsim.sweeps.standing import Status, SweepResults, judge
from cimsim.sweeps.tasks import Evaluated, LayoutTask, point_task
from cimsim.sweeps.wants import Wants

__all__ = ["Sweep", "SweepListener", "SweepRun", "far_apart", "prepare_sweep"]

MOST_POINTS = 100_000
SHOWN_INVALID = 20
SECONDS_A_DAY = 86_400.0
PARTS = 8  # of a plan, worked on side by side


class SweepListener(Protocol):
    """Hears how a sweep goes."""

    def begin(self, stage: str, points: int) -> None:
        """Hear that so many points begin a stage."""

    def stage(self, name: str, stage: str, fraction: float) -> None:
        """Hear how far a point is."""

    def finished(self, name: str) -> None:
        """Hear that a point is done."""

    def note(self, text: str) -> None:
        """Hear something that the user should know."""


@dataclass(frozen=True)
class Sweep:
    """A checked sweep.

    Attributes:
        plan: what was asked.
        points: those of the plan.
        wants: constraints and objectives.
        folder: where points go.
    """

    plan: SweepPlan
    points: Points
    wants: Wants
    folder: SweepFolder

    @property
    def batches(self) -> tuple[int, ...]:
        """Decode batch sizes of all points."""
        return batches_of(self.points.valid)


def far_apart(points: Sequence[Point]) -> list[Point]:
    """Return points in an order in which those computed at once are no neighbours of a plan.

    Neighbours share most of their stages: what one has computed the next one finds.
    """
    size = -(-len(points) // PARTS) or 1
    return [p for first in range(size) for p in points[first::size]]


def batches_of(points: Sequence[Point]) -> tuple[int, ...]:
    """Return the decode batch sizes of points, rising."""
    return tuple(sorted({b for p in points for b in p.config.run.decode_batch}))


def prepare_sweep(plan: SweepPlan, out: Path | None, *, skip_invalid: bool = False) -> Sweep:
    """Check a plan whole: its size, every chip, columns, the folder.

    Args:
        plan: the plan.
        out: folder of the sweep; None takes reports/NAME.
        skip_invalid: leave out points that are no chips.

    Raises:
        CimsimError: on what is wrong, before anything is computed or written.
    """
    points, wants = check_plan(plan, skip_invalid=skip_invalid)
    folder = SweepFolder(out or Path("reports") / plan.name, plan_identity(plan))
    return Sweep(plan, points, wants, folder)


def check_plan(plan: SweepPlan, *, skip_invalid: bool = False) -> tuple[Points, Wants]:
    """Return the points of a plan and what it wants; arguments and errors: `prepare_sweep`."""
    resolver = Resolver(plan)
    many = count_settings(plan) * resolver.per_setting
    if many > MOST_POINTS:
        raise _too_many(plan, resolver, many)
    points = resolver.all_points()
    if points.invalid and not skip_invalid:
        more = len(points.invalid) - SHOWN_INVALID
        listed = "; ".join(points.invalid[:SHOWN_INVALID]) + (f"; {more} more" * (more > 0))
        raise CimsimError(f"points are no valid chips: {listed}", hint="--skip-invalid goes on")
    if not points.valid:
        raise CimsimError("the plan is empty: no point is a valid chip", key="axes")
    columns = sweep_columns(scored=plan.accuracy == "on", batches=batches_of(points.valid))
    return points, Wants.of(plan, columns)


def _too_many(plan: SweepPlan, resolver: Resolver, many: int) -> CimsimError:
    """Say how long the points would take, at the pace of the chip itself."""
    config = resolver.chips[0].resolve()
    full_size_row(config, plan.routing_skew)  # kernels are compiled once
    started = time.monotonic()
    full_size_row(config, plan.routing_skew)
    pace = time.monotonic() - started
    least = "" if plan.accuracy == "off" else "at least "
    return CimsimError(
        f"{many:,} points: that is {least}{many * pace / SECONDS_A_DAY:,.0f} days at the "
        f"measured pace of {pace:.2g} s a point",
        key="axes",
        allowed=f"up to {MOST_POINTS:,} points",
        hint="name a sample, e.g. sample: {method: sobol, points: 1000}",
    )


class SweepRun:
    """One sweep on its way; `run` carries it out.

    Args:
        sweep: what to do.
        executor: what runs tasks.
        listener: hears how it goes.
        cache: folder of the stage cache, None to compute everything.
    """

    def __init__(
        self,
        sweep: Sweep,
        executor: Executor,
        listener: SweepListener,
        cache: Path | None = None,
    ) -> None:
        self._cache = cache
        self._sweep, self._executor, self._listener = sweep, executor, listener
        self._rows: dict[str, tuple[int, Row]] = {}
        self._out: dict[str, tuple[Status, str]] = {}

    def run(self) -> SweepResults:
        """Evaluate what is not on disk yet, and judge all points.

        Raises:
            CimsimError: if no point meets the constraints on the layout, or the folder cannot
                be written.
        """
        sweep = self._sweep
        left = self._laid_out(list(sweep.points.valid))
        sweep.folder.begin()
        rungs = sweep.plan.fidelity or (None,)
        for number, rung in enumerate(rungs):
            evaluated = self._evaluated(left, number)
            last = number == len(rungs) - 1
            if last or rung is None:
                break
            kept, why = survivors(evaluated, sweep.wants, rung.keep)
            for name, reason in why.items():
                self._out[name] = "dropped", f"at {rung.tokens:,} tokens: {reason}"
            left = [p for p in left if p.name in kept]
        for path in sweep.folder.corrupt:
            self._listener.note(f"{path} was damaged: the point was computed again")
        columns = sweep_columns(scored=sweep.plan.accuracy == "on", batches=sweep.batches)
        standings = judge(sweep.points.valid, self._rows, self._out, sweep.wants)
        return SweepResults(sweep.plan, sweep.wants, columns, standings, sweep.points.invalid)

    def _laid_out(self, points: list[Point]) -> list[Point]:
        """Return the points that meet the constraints on their layout, tested before all else."""
        early = [c for c in self._sweep.wants.constraints if c.early]
        if not early:
            return points
        self._listener.begin("layout", len(points))
        found: dict[str, Mapping[str, Cell]] = {}
        tasks = [LayoutTask(p.name, p.config) for p in points]
        for finished in self._executor.submit(tasks, self._listener.stage):
            found[finished.name] = finished.value()
            self._listener.finished(finished.name)
        for constraint in early:
            values = [row[constraint.column] for row in found.values()]
            nearest = min(values, key=constraint.excess)
            if constraint.excess(nearest) > 0:
                raise CimsimError(
                    f"no point meets {constraint}: the nearest has {nearest:.6g}",
                    key="constraints",
                )
        for name, row in found.items():
            why = [f"{c} is missed ({row[c.column]:.4g})" for c in early
                   if c.excess(row[c.column]) > 0]  # fmt: skip
            if why:
                self._out[name] = "misses", "; ".join(why)
                self._rows[name] = -1, dict(row)
        return [p for p in points if p.name not in self._out]

    def _evaluated(self, points: list[Point], number: int) -> dict[str, Row]:
        """Evaluate points on a rung, as far as they are not on disk; failed ones are left out."""
        plan, folder = self._sweep.plan, self._sweep.folder
        rung = plan.fidelity[number] if plan.fidelity else None
        found = {p.name: f for p in points if (f := folder.find(p, number)) is not None}
        missing = {p.name: p for p in points if p.name not in found}
        label = "points" if rung is None else f"{rung.tokens:,} tokens"
        self._listener.begin(label, len(missing))
        ordered = far_apart(list(missing.values()))
        tasks = [point_task(plan, p, rung, self._cache) for p in ordered]
        for finished in self._executor.submit(tasks, self._listener.stage):
            if isinstance(finished.error, CimsimError):
                self._out[finished.name] = "failed", finished.error.sentence()
                self._listener.note(f"{finished.name} failed: {finished.error.sentence()}")
                continue
            evaluated: Evaluated = finished.value()
            folder.keep(missing[finished.name], number, evaluated)
            found[finished.name] = evaluated
            self._listener.finished(finished.name)
        rows = {p.name: found[p.name].row for p in points if p.name in found}
        self._rows |= {name: (number, row) for name, row in rows.items()}
        return rows
