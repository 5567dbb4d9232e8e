"""Carrying out a plan: chips as tasks of an executor, finished ones written at once.

Results cannot depend on what executes them, or on how many run at once. Finished chips are
written as they come; the tables of the run follow the order of the command.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Container
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from cimsim.report import write_report
from cimsim.results import ChipResult, Manifest, RunResults
from cimsim.results.packed import DamagedError
from cimsim.stages.columns.registry import run_tables
from cimsim.stages.heap import release_heap
from cimsim.stages.plan import RunPlan
from cimsim.sweeps.chip_job import ChipJob
from cimsim.sweeps.open_executor import open_executor

__all__ = ["Listener", "run_plan"]


class Listener(Protocol):
    """Hears how a run goes."""

    def stage(self, name: str, stage: str, fraction: float) -> None:
        """Hear that a chip has begun a stage."""

    def finished(self, name: str) -> None:
        """Hear that a chip is done."""

    def note(self, text: str) -> None:
        """Hear something that the user should know."""


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
    plan.folder.prepare(manifest, plan.described)
    # What checking the plan read is not wanted while workers run.
    release_heap()
    batches = tuple(sorted({b for t in plan.tasks for b in t.config.run.decode_batch}))
    schema = run_tables(batches)
    started = time.monotonic()
    done = _finished_before(plan, listener)
    for chip in done.values():
        plan.folder.write_chip(chip, schema)  # a killed run may have left a part of it
        listener.finished(chip.name)
    try:
        plugins = [plugin.path for plugin in plan.plugins]
        with open_executor(plan.jobs, cluster=plan.cluster, plugins=plugins) as executor:
            for finished in executor.submit(_jobs(plan, done), listener.stage):
                chip = finished.value()
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


def _finished_before(plan: RunPlan, listener: Listener) -> dict[str, ChipResult]:
    """Return the chips that a run which is resumed has finished, by name."""
    found: dict[str, ChipResult] = {}
    for task in plan.tasks:
        try:
            chip = plan.folder.finished_chip(task.name)
        except DamagedError as error:
            listener.note(f"{task.name}: its result is damaged ({error}) and is computed again")
            continue
        if chip is not None:
            found[task.name] = chip
    return found


def _jobs(plan: RunPlan, done: Container[str]) -> list[ChipJob]:
    return [
        ChipJob(
            task.name,
            task.config,
            task.model,
            plan.texts,
            correction=plan.correction,
            force=plan.force,
            threads=plan.threads,
            cache=plan.cache,
        )
        for task in plan.tasks
        if task.name not in done
    ]
