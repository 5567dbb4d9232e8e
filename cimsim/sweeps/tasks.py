"""Tasks of a sweep: lay out a point, or evaluate it."""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from cimsim.config import ChipConfig
from cimsim.config.sweep import Fidelity, SweepPlan
from cimsim.results import Cell, Row
from cimsim.stages.full_size import full_size_geometry, full_size_row
from cimsim.stages.models import read_text
from cimsim.sweeps.chip_job import ChipJob
from cimsim.sweeps.columns import point_row
from cimsim.sweeps.executor import PlanTask, Workplace
from cimsim.sweeps.points import Point

__all__ = ["Evaluated", "LayoutTask", "PointTask", "point_task"]


@dataclass(frozen=True)
class Evaluated:
    """What evaluating a point gave.

    Attributes:
        row: its columns.
        seconds: wall time.
    """

    row: Row
    seconds: float


@dataclass(frozen=True)
class LayoutTask(PlanTask[dict[str, Cell]]):
    """Lays a chip out at full size: what constraints on area and dies are tested on."""

    config: ChipConfig

    def run(self, place: Workplace) -> dict[str, Cell]:
        """Return the columns of `GEOMETRY`."""
        place("layout", 0.0)
        return full_size_geometry(self.config)


@dataclass(frozen=True)
class PointTask(PlanTask[Evaluated]):
    """Evaluates a point: a run of the pipeline, or time, energy and area alone.

    Attributes:
        config: the chip.
        model: bundled name or checkpoint folder; "" for time, energy and area alone.
        skew: exponent of the routing where nothing is scored.
        cache: folder of the stage cache, None to compute everything.
    """

    config: ChipConfig
    model: str
    skew: float
    cache: Path | None = None

    @property
    def affinity(self) -> tuple[Hashable, ...]:
        """The model."""
        return (self.model,)

    def run(self, place: Workplace) -> Evaluated:
        """Return the columns of the point."""
        started = time.monotonic()
        if not self.model:
            place("time and energy", 0.0)
            row = point_row(full_size_row(self.config, self.skew), None)
        else:
            found = ChipJob(
                self.config.name, self.config, self.model, read_text(None), cache=self.cache
            ).run(place)
            full = [r for r in found.scale if r["phase"] == "decode"]
            row = point_row(full[-1] if full else {}, found.row)
        return Evaluated(row, time.monotonic() - started)


def point_task(
    plan: SweepPlan, point: Point, rung: Fidelity | None, cache: Path | None
) -> PointTask:
    """Return the task that evaluates a point at a rung of the ladder; None is the chip's own."""
    config = point.config
    if rung is not None:
        workload = config.workload.model_copy(update={"tokens": rung.tokens})
        run = config.run.model_copy(update={"chip_seeds": rung.chip_seeds})
        config = config.model_copy(update={"workload": workload, "run": run})
    return PointTask(point.name, config, point.model, plan.routing_skew, cache)
