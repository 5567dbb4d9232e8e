"""Measurements as jobs: what must be measured, in which order, by how many processes.

A job is one record of the cache, named by its key. Jobs that need the same model, kind of
chip and chip form a batch, which one process works through; a process that is free takes a
batch of the kind of chip it has open, else the kind with most work left. Every record is
written whole as soon as it is measured, so that a study killed at any moment goes on where
it was; records do not depend on who measures them, or when.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from cimsim.errors import SimulationError
from romer.study.cells import Kind

__all__ = ["Batch", "StudyJob", "Work", "batches_of", "run_batches"]

# Records between two looks at what others have open.
BATCH_JOBS = 6
THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS",
)  # fmt: skip


@dataclass(frozen=True)
class StudyJob:
    """One record to measure.

    Attributes:
        name: of the record's file in the cache.
        kind: the kind of chip that must be open.
        chip: the chip seed, or -1 for what all chips share.
        call: method of `Bench` that measures it.
        arguments: of that method.
    """

    name: str
    kind: Kind
    chip: int
    call: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Batch:
    """Jobs of one chip of one kind."""

    kind: Kind
    jobs: tuple[StudyJob, ...]


# Does a batch until a monotonic time, which all processes of a machine share; returns how
# many jobs it did.
Work = Callable[[Batch, float], int]


def batches_of(jobs: Sequence[StudyJob]) -> list[Batch]:
    """Group jobs by kind of chip and chip, a few jobs per batch, in order of first use."""
    groups: dict[tuple[Kind, int], list[StudyJob]] = {}
    for job in jobs:
        groups.setdefault((job.kind, job.chip), []).append(job)
    return [
        Batch(kind, tuple(found[i : i + BATCH_JOBS]))
        for (kind, _), found in groups.items()
        for i in range(0, len(found), BATCH_JOBS)
    ]


def run_batches(
    batches: Sequence[Batch],
    work: Work,
    *,
    processes: int,
    until: float,
    say: Callable[[int], None],
) -> None:
    """Work through batches until all are done or the time is up.

    Args:
        batches: what to do.
        work: does one batch until a time and returns how many jobs it did; picklable.
        processes: how many at once.
        until: monotonic time after which no job is begun.
        say: told how many jobs of a batch were done.

    Raises:
        Exception: the first that a batch raised, after all others were done.
    """
    left = list(batches)
    if not left:
        return
    team = _Team(work, min(processes, len(left)))
    try:
        team.run(left, until, say)
    finally:
        team.stop()


def _serve(connection: Connection, work: Work) -> None:
    """Do batches as they come, until the other end is closed."""
    try:
        while True:
            batch, until = connection.recv()
            try:
                connection.send(work(batch, until))
            except Exception as error:  # it is raised again where the study runs
                connection.send(error)
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        return


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let processes that are started meanwhile compute with one thread each."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))  # children read them at start
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Team:
    """Processes that are handed batches one at a time.

    Each has one thread of BLAS and of compiled loops, so that a record has the same bytes
    however many processes there are. Pipes and not `concurrent.futures`: a process whose pipe
    is closed ends, where those of a pool outlive a study that is killed.
    """

    def __init__(self, work: Work, size: int) -> None:
        context = get_context("spawn")
        self._processes: list[BaseProcess] = []
        self._ends: list[Connection] = []
        self._open: dict[Connection, Kind | None] = {}
        with _one_thread():
            for _ in range(size):
                here, there = context.Pipe()
                process = context.Process(target=_serve, args=(there, work), daemon=True)
                process.start()
                there.close()
                self._processes.append(process)
                self._ends.append(here)
                self._open[here] = None

    def run(self, left: list[Batch], until: float, say: Callable[[int], None]) -> None:
        """Hand out batches until none is left or the time is up; then raise what failed."""
        busy: dict[Connection, Kind] = {}
        failed: list[Exception] = []
        for end in self._ends:
            self._hand(end, left, busy, until)
        while busy:
            for end in [e for e in wait(list(busy)) if isinstance(e, Connection)]:
                del busy[end]
                try:
                    done = end.recv()
                except EOFError:
                    message = (
                        "a process of the study was ended from outside, perhaps for want of "
                        "memory; run the same command again, with fewer --jobs"
                    )
                    failed.append(SimulationError(message))
                    continue
                if isinstance(done, Exception):
                    failed.append(done)
                else:
                    say(done)
                if time.monotonic() < until:
                    self._hand(end, left, busy, until)
        if failed:
            raise failed[0]

    def _hand(
        self, end: Connection, left: list[Batch], busy: dict[Connection, Kind], until: float
    ) -> None:
        if not left:
            return
        batch = left.pop(_choose(left, self._open[end], list(busy.values())))
        self._open[end] = busy[end] = batch.kind
        end.send((batch, until))

    def stop(self) -> None:
        """End every process, also one that is busy."""
        for end in self._ends:
            end.close()
        for process in self._processes:
            process.terminate()
            process.join()


def _choose(left: Sequence[Batch], mine: Kind | None, others: Sequence[Kind]) -> int:
    """Return the batch to take: my kind's, else my model's kind with most work per process."""
    work: dict[Kind, int] = {}
    for batch in left:
        work[batch.kind] = work.get(batch.kind, 0) + len(batch.jobs)
    if mine in work:
        best = mine
    else:

        def worth(kind: Kind) -> tuple[bool, float]:
            same = mine is not None and kind.model == mine.model
            return same, work[kind] / (1 + others.count(kind))

        best = max(work, key=worth)
    return next(i for i, batch in enumerate(left) if batch.kind == best)
