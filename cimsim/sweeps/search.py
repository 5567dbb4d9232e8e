"""Carrying out a search: points that a sampler asks for, evaluated, told and judged.

With several workers points are asked for and told in rounds of as many, so that what a sampler
knows does not depend on who finishes first: the sequence follows from plan, seed and workers.
A point that was asked for before is told what it gave and counts as no trial.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cimsim.config.sweep import SweepPlan
from cimsim.errors import CimsimError
from cimsim.results import Row
from cimsim.stages.full_size import full_size_geometry
from cimsim.sweeps.axes import Dimension, dimensions
from cimsim.sweeps.columns import sweep_columns
from cimsim.sweeps.executor import Executor
from cimsim.sweeps.folder import SweepFolder, plan_identity
from cimsim.sweeps.hypervolume import hypervolume
from cimsim.sweeps.ladder import objective_values
from cimsim.sweeps.points import Point, Resolver
from cimsim.sweeps.run import SweepListener, batches_of
from cimsim.sweeps.standing import Status, SweepResults, judge
from cimsim.sweeps.study import Asked, SearchSpace, SearchStudy, refuse_foreign
from cimsim.sweeps.tasks import point_task
from cimsim.sweeps.wants import Wants

__all__ = ["Search", "SearchRun", "prepare_search"]

REPEATS = 25  # points asked for again in a row, after which the space counts as searched


@dataclass(frozen=True)
class Search:
    """A checked search.

    Attributes:
        plan: what was asked.
        resolver: makes points of settings.
        axes: what is varied.
        wants: constraints and objectives.
        folder: where points go.
        storage: Optuna's storage URL.
        digest: hash of what decides the numbers.
    """

    plan: SweepPlan
    resolver: Resolver
    axes: tuple[Dimension, ...]
    wants: Wants
    folder: SweepFolder
    storage: str
    digest: str


def prepare_search(plan: SweepPlan, out: Path | None, storage: str | None = None) -> Search:
    """Check a plan whole for a search.

    Args:
        plan: the plan; its sample and the counts of its ranges do not matter.
        out: folder of the search; None takes reports/NAME-search.
        storage: Optuna's storage URL; None takes a file in the folder.

    Raises:
        CimsimError: on what is wrong, before anything is computed or written.
    """
    axes = dimensions(plan)
    resolver = Resolver(plan)
    if len(plan.models) > 1 and plan.accuracy == "on":
        raise CimsimError("a search scores one model", key="models", value=", ".join(plan.models))
    batches = batches_of([p for c in resolver.chips for p in resolver.points_of(c, ())])
    columns = sweep_columns(scored=plan.accuracy == "on", batches=batches)
    wants = Wants.of(plan, columns)
    lacking = {o.column for o in wants.objectives} ^ set(plan.search.reference)
    if plan.search.reference and lacking:
        raise CimsimError(
            "must give a value for every objective and nothing else",
            key="search.reference",
            value=", ".join(sorted(lacking)),
        )
    identity = plan_identity(plan, search=True)
    folder = SweepFolder(out or Path("reports") / f"{plan.name}-search", identity)
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    file = folder.path / "study.db"
    where = storage or f"sqlite:///{file}"
    if storage is not None or file.is_file():
        refuse_foreign(where, digest)
    return Search(plan, resolver, axes, wants, folder, where, digest)


class SearchRun:
    """One search on its way; `run` carries it out.

    Args:
        search: what to do.
        executor: what runs tasks.
        listener: hears how it goes.
        workers: points evaluated at once.
        cache: folder of the stage cache, None to compute everything.
    """

    def __init__(
        self,
        search: Search,
        executor: Executor,
        listener: SweepListener,
        workers: int = 1,
        cache: Path | None = None,
    ) -> None:
        self._cache = cache
        self._search, self._executor, self._listener = search, executor, listener
        self._workers = workers
        self._points: dict[str, Point] = {}
        self._rows: dict[str, tuple[int, Row]] = {}
        self._out: dict[str, tuple[Status, str]] = {}
        self._invalid: dict[str, int] = {}

    def run(self, trials: int, seconds: float | None = None) -> SweepResults:
        """Search until so many points are evaluated, or the time is over.

        Args:
            trials: points.
            seconds: after which no further points are begun; None for no limit.

        Raises:
            CimsimError: if the storage is another study's, or the folder cannot be written.
        """
        search = self._search
        search.folder.begin()
        study = SearchStudy(
            SearchSpace(tuple(c.path.stem for c in search.resolver.chips), search.axes),
            search.wants.objectives,
            search.plan.search,
            storage=search.storage,
            name=search.plan.name,
            plan=search.digest,
            workers=self._workers,
        )
        self._listener.begin("trials", trials)
        started, repeats = time.monotonic(), 0
        while len(self._points) < trials and repeats < REPEATS:
            if seconds is not None and time.monotonic() - started >= seconds:
                break
            before = len(self._points)
            self._round(study, min(self._workers, trials - before))
            repeats = 0 if len(self._points) > before else repeats + 1
        notes = [f"{len(self._points)} trials with {search.plan.search.sampler}"]
        notes += ["the sampler asked for no further points"] * (repeats >= REPEATS)
        return self._results(tuple(f"{n[0].upper()}{n[1:]}." for n in notes))

    def _round(self, study: SearchStudy, size: int) -> None:
        """Ask for some points, evaluate those that are new, tell what they gave."""
        asked: list[tuple[Asked, Point]] = []
        for _ in range(size):
            one = study.ask()
            try:
                found = self._search.resolver.points_of(
                    self._search.resolver.chips[one.chip], one.setting
                )
            except CimsimError as error:
                self._invalid[error.sentence()] = self._invalid.get(error.sentence(), 0) + 1
                study.fail(one, error.sentence())
                continue
            asked.append((one, found[0]))
        new = {p.name: p for _, p in asked if p.name not in self._points}
        self._points |= new
        self._evaluate([p for p in new.values() if self._laid_out(p)])
        for one, point in asked:
            self._tell(study, one, point)

    def _laid_out(self, point: Point) -> bool:
        """Whether a point meets the constraints on its layout; if not, that is its row."""
        early = [c for c in self._search.wants.constraints if c.early]
        if not early:
            return True
        row = full_size_geometry(point.config)
        why = [f"{c} is missed ({row[c.column]:.4g})" for c in early if c.excess(row[c.column]) > 0]
        if why:
            self._rows[point.name] = -1, dict(row)
            self._out[point.name] = "misses", "; ".join(why)
            self._listener.finished(point.name)
        return not why

    def _evaluate(self, points: list[Point]) -> None:
        plan, folder = self._search.plan, self._search.folder
        number = max(0, len(plan.fidelity) - 1)
        missing: dict[str, Point] = {}
        for point in points:
            known = folder.find(point, number)
            if known is None:
                missing[point.name] = point
            else:
                self._rows[point.name] = number, known.row
                self._listener.finished(point.name)
        tasks = [point_task(plan, p, None, self._cache) for p in missing.values()]
        for finished in self._executor.submit(tasks, self._listener.stage):
            if isinstance(finished.error, CimsimError):
                self._out[finished.name] = "failed", finished.error.sentence()
                self._listener.note(f"{finished.name} failed: {finished.error.sentence()}")
                continue
            evaluated = finished.value()
            folder.keep(missing[finished.name], number, evaluated)
            self._rows[finished.name] = number, evaluated.row
            self._listener.finished(finished.name)

    def _tell(self, study: SearchStudy, asked: Asked, point: Point) -> None:
        """Tell what a point gave; one that was only laid out has the worst values so far."""
        if point.name not in self._rows:
            study.fail(asked, self._out[point.name][1])
            return
        wants = self._search.wants
        _, row = self._rows[point.name]
        costs = objective_values([r for _, r in self._rows.values()], wants.objectives)
        own = objective_values([row], wants.objectives)[0]
        finite = np.where(np.isfinite(costs), costs, -np.inf).max(axis=0)
        worst = np.where(np.isfinite(finite), finite, 0.0)
        values = [
            float(v) * (1.0 if o.better == "lower" else -1.0)
            for v, o in zip(np.where(np.isfinite(own), own, worst), wants.objectives, strict=True)
        ]
        known = [c for c in wants.constraints if c.column in row]
        study.tell(asked, point.name, values, {str(c): c.excess(row[c.column]) for c in known})

    def _results(self, notes: tuple[str, ...]) -> SweepResults:
        search = self._search
        points = tuple(self._points.values())
        columns = sweep_columns(scored=search.plan.accuracy == "on", batches=batches_of(points))
        standings = judge(points, self._rows, self._out, search.wants)
        if search.plan.search.reference:
            good = [s.row for s in standings if s.status in {"front", "meets"}]
            volume = self._volume(good)
            notes = (*notes, f"Hypervolume of the front below the reference point: {volume:.6g}.")
        for path in search.folder.corrupt:
            self._listener.note(f"{path} was damaged: the point was computed again")
        invalid = tuple(f"{why} ({n} trials)" for why, n in self._invalid.items())
        return SweepResults(search.plan, search.wants, columns, standings, invalid, notes)

    def _volume(self, rows: list[Row]) -> float:
        objectives, reference = self._search.wants.objectives, self._search.plan.search.reference
        corner = np.array([
            reference[o.column] * (1.0 if o.better == "lower" else -1.0) for o in objectives
        ])  # fmt: skip
        return hypervolume(objective_values(rows, objectives), corner)
