"""Measurements as tasks: one record of the cache each, measured by whichever process is free.

A process keeps one model and up to two kinds of chip open (`romer.study.worker`), and gets the
tasks that suit what it has open. Every record is written whole as soon as it is measured, so that
a study killed at any moment goes on where it was; records do not depend on who measures them, or
when.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from cimsim.sweeps.executor import PlanTask, Workplace
from romer.study.cells import Kind
from romer.study.measure import Record
from romer.study.worker import Setting, Worker

__all__ = ["Measurement", "StudyJob"]


@dataclass(frozen=True)
class StudyJob:
    """One record to measure.

    Attributes:
        name: of the record in the cache.
        kind: the kind of chip that must be open.
        chip: the chip seed, or -1 for what all chips share.
        call: method of `Worker` or `Bench` that measures it.
        arguments: of that method.
        budget: name of the record whose rewritten cells program-verify may spend, or "".
    """

    name: str
    kind: Kind
    chip: int
    call: str
    arguments: tuple[Any, ...]
    budget: str = ""


@dataclass(frozen=True)
class Measurement(PlanTask[Record | None]):
    """A record as a task; its result is None if the time was up before it began.

    Attributes:
        job: the record.
        setting: what all records of a study share.
        cells: cells that program-verify may rewrite.
        until: seconds since the epoch after which it is not begun.
    """

    job: StudyJob
    setting: Setting
    cells: int
    until: float

    @property
    def affinity(self) -> tuple[Hashable, ...]:
        """The model, then the kind of chip, then the chip."""
        return self.job.kind.model, self.job.kind, self.job.chip

    def run(self, place: Workplace) -> Record | None:
        """Measure the record with what this process has open."""
        if time.time() >= self.until:
            return None
        place(self.job.call, 0.0)
        worker: Worker = place.kept.setdefault(self.setting, Worker(self.setting))
        job = self.job
        return worker.measure(job.kind, job.call, job.arguments, self.cells)
