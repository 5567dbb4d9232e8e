"""Carrying out a plan: chips in parallel processes, finished ones written at once.

Every chip is one task in a process of its own kind (spawned, one BLAS thread), so results
cannot depend on how many run at once. Finished chips are written as they come; the tables
of the run follow the order of the command.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing.queues import SimpleQueue
from typing import Protocol

from cimsim.pipeline import run_chip
from cimsim.plugins import Plugin, load_plugins
from cimsim.report import write_report
from cimsim.results import ChipResult, Manifest, RunResults
from cimsim.stages.columns.registry import run_tables
from cimsim.stages.heap import release_heap
from cimsim.stages.plan import ChipTask, RunPlan

__all__ = ["Listener", "run_plan"]

Message = tuple[str, str, float]
POLL_S = 0.2
JOIN_S = 2.0


class Listener(Protocol):
    """Hears how a run goes."""

    def stage(self, name: str, stage: str, fraction: float) -> None:
        """Hear that a chip has begun a stage."""

    def finished(self, name: str) -> None:
        """Hear that a chip is done."""

    def note(self, text: str) -> None:
        """Hear something that the user should know."""


@dataclass(frozen=True)
class _Job:
    """What a worker needs to run one task."""

    plan: RunPlan
    task: ChipTask

    def run(self, progress: Callable[[str, float], None]) -> ChipResult:
        """Run the task in this process."""
        return run_chip(
            self.task.config,
            self.task.model,
            self.plan.texts,
            name=self.task.name,
            correction=self.plan.correction,
            force=self.plan.force,
            threads=self.plan.threads,
            progress=progress,
        )


def run_plan(plan: RunPlan, listener: Listener) -> RunResults:
    """Run every task of a plan and write the run's folder.

    Raises:
        CimsimError: if a chip cannot be run; finished chips stay readable.
        KeyboardInterrupt: passed on after finished chips have been written.
    """
    names = [task.name for task in plan.tasks]
    manifest = Manifest(
        run_hash=plan.run_hash,
        command=("cimsim", *sys.argv[1:]),
        started=datetime.now(UTC),
        chips=names,
        jobs=plan.jobs,
        threads=plan.threads,
        plugins={str(plugin.path): plugin.sha256 for plugin in plan.plugins},
    )
    plan.folder.prepare(manifest)
    # What checking the plan read is not wanted while workers run.
    release_heap()
    batches = tuple(sorted({b for t in plan.tasks for b in t.config.run.decode_batch}))
    schema = run_tables(batches)
    started = time.monotonic()
    done: dict[str, ChipResult] = {}
    try:
        for chip in _results(plan, listener):
            done[chip.name] = chip
            plan.folder.write_chip(chip, schema)
            listener.finished(chip.name)
    finally:
        chips = tuple(done[name] for name in names if name in done)
        run = RunResults(
            plan.run_hash,
            chips,
            plan.texts.scored_name,
            schema,
            batches,
            complete=len(chips) == len(names),
        )
        if chips:
            manifest = replace(
                manifest,
                finished=[c.name for c in chips],
                chip_seconds=[c.seconds for c in chips],
                seconds=time.monotonic() - started,
                warnings=[f"{c.name}: {w}" for c in chips for w in c.warnings],
            )
            plan.folder.write_run(run, manifest)
            write_report(plan.folder, run)
    return run


def _results(plan: RunPlan, listener: Listener) -> Iterator[ChipResult]:
    """Yield chips as they finish."""
    if plan.jobs == 1:
        for task in plan.tasks:
            yield _Job(plan, task).run(_named(listener, task.name))
        return
    context = multiprocessing.get_context("spawn")
    queue: SimpleQueue[Message] = context.SimpleQueue()
    pool = ProcessPoolExecutor(
        plan.jobs, mp_context=context, initializer=_start_worker, initargs=(queue, plan.plugins)
    )
    try:
        waiting: set[Future[ChipResult]] = {
            pool.submit(_work, _Job(plan, task)) for task in plan.tasks
        }
        while waiting:
            ready, waiting = wait(waiting, timeout=POLL_S, return_when=FIRST_COMPLETED)
            while not queue.empty():
                listener.stage(*queue.get())
            for future in ready:
                yield future.result()
    except BaseException:
        _stop(pool)
        raise
    pool.shutdown()


def _named(listener: Listener, name: str) -> Callable[[str, float], None]:
    return lambda stage, share: listener.stage(name, stage, share)


class _Mailbox:
    """Where a worker process leaves its progress; set once when the process starts."""

    queue: SimpleQueue[Message] | None = None


def _start_worker(queue: SimpleQueue[Message], plugins: tuple[Plugin, ...]) -> None:
    # An interrupt is the parent's to handle: it stops the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _Mailbox.queue = queue
    load_plugins([plugin.path for plugin in plugins])


def _work(job: _Job) -> ChipResult:
    name, queue = job.task.name, _Mailbox.queue

    def progress(stage: str, share: float) -> None:
        if queue is not None:
            queue.put((name, stage, share))

    chip = job.run(progress)
    release_heap()
    return chip


def _stop(pool: ProcessPoolExecutor) -> None:
    """End workers at once: what they have not finished is not wanted any more."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGTERM)
    for process in processes:
        process.join(timeout=JOIN_S)
