"""Carrying out a plan: chips as tasks of an executor, finished ones written at once.

Results cannot depend on what executes them, or on how many run at once. Finished chips are
written as they come; the tables of the run follow the order of the command.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from cimsim.config.load import parse_chip
from cimsim.errors import CimsimError
from cimsim.report import NO_BASELINES, BesideChips, write_report
from cimsim.results import ChipResult, Manifest, RunFolder, RunResults
from cimsim.results.packed import DamagedError
from cimsim.stages.baselines import baseline_notes, single_baselines
from cimsim.stages.columns.registry import run_tables
from cimsim.stages.heap import release_heap
from cimsim.stages.models import open_model
from cimsim.stages.plan import RunPlan
from cimsim.stages.shapes import open_shape
from cimsim.sweeps.chip_job import ChipJob
from cimsim.sweeps.compile_task import compile_kernels
from cimsim.sweeps.open_executor import open_executor

__all__ = ["Listener", "report_again", "run_plan"]


class Listener(Protocol):
    """Hears how a run goes."""

    def stage(self, name: str, stage: str, fraction: float) -> None:
        """Hear that a chip has begun a stage."""

    def finished(self, name: str) -> None:
        """Hear that a chip is done."""

    def note(self, text: str) -> None:
        """Hear something that the user should know."""


def run_plan(plan: RunPlan, listener: Listener, *, report: bool = True) -> RunResults:
    """Run every task of a plan and write the run's folder.

    Args:
        plan: the run.
        listener: hears how it goes.
        report: whether the folder gets a report; one that nobody will open needs none.

    Raises:
        CimsimError: if a chip cannot be run; finished chips stay readable.
        KeyboardInterrupt: passed on after finished chips have been written.
    """
    names = [task.name for task in plan.tasks]
    done = _finished_before(plan, listener)
    manifest = Manifest(
        run_hash=plan.run_hash,
        command=("cimsim", *sys.argv[1:]),
        started=datetime.now(UTC),
        chips=names,
        finished=[name for name in names if name in done],
        jobs=plan.jobs,
        threads=plan.threads,
        plugins={str(plugin.path): plugin.sha256 for plugin in plan.plugins},
    )
    plan.folder.prepare(manifest, plan.described)
    try:
        return _carried_out(plan, listener, manifest, done, report=report)
    finally:
        plan.folder.release()


def _carried_out(
    plan: RunPlan,
    listener: Listener,
    manifest: Manifest,
    done: dict[str, ChipResult],
    *,
    report: bool,
) -> RunResults:
    # What checking the plan read is not wanted while workers run.
    release_heap()
    batches = tuple(sorted({b for t in plan.tasks for b in t.config.run.decode_batch}))
    schema = run_tables(batches)
    started = time.monotonic()

    def so_far() -> Manifest:
        return replace(_told_of(manifest, done), seconds=time.monotonic() - started)

    for chip in done.values():
        plan.folder.write_chip(chip, schema)  # a killed run may have left a part of it
        listener.finished(chip.name)
    try:
        plugins = [plugin.path for plugin in plan.plugins]
        jobs = _jobs(plan, done)
        if jobs:
            _compile(plan, jobs[0].name, listener)
        with open_executor(plan.jobs, cluster=plan.cluster, plugins=plugins) as executor:
            for finished in executor.submit(jobs, listener.stage):
                chip = finished.value()
                plan.folder.write_chip(chip, schema)
                done[chip.name] = chip
                plan.folder.write_manifest(so_far())
                listener.finished(chip.name)
    finally:
        if done:
            run = _results(manifest, done, plan.texts.scored_name, batches)
            _write_all(plan.folder, run, so_far(), report=report)
    return run


def report_again(path: Path, baselines: Sequence[str] = ()) -> RunResults:
    """Write tables and report of a run anew, from the chips that it has finished.

    Args:
        path: folder of the run, whole or stopped at any moment.
        baselines: digital devices that the report shows beside the chips, by name or file.

    Raises:
        CimsimError: if it is no run, no chip is finished, or a baseline does not exist.
    """
    folder = RunFolder(path, resume=True)
    manifest, text_name = folder.reopen()
    try:
        done = dict(_kept_chips(folder, manifest))
        if not done:
            raise CimsimError("no chip of the run is finished", file=path)
        batches = tuple(sorted({b for c in done.values() for b in _batches(c)}))
        run = _results(manifest, done, text_name, batches)
        for chip in run.chips:
            folder.write_chip(chip, run.schema)
        told = _told_of(manifest, done)
        _write_all(folder, run, told, report=True, beside=_beside(run, baselines))
    finally:
        folder.release()
    return run


def _beside(run: RunResults, baselines: Sequence[str]) -> BesideChips:
    """Return baselines at the shape of a run's first chip."""
    if not baselines:
        return NO_BASELINES
    chip = parse_chip(run.chips[0].config_yaml, run.chips[0].name)
    program = open_shape(chip.workload.shape)
    systems = single_baselines(baselines, program)
    rows = tuple(s.as_dict() for s in systems)
    return BesideChips(program.name, rows, baseline_notes(systems))


def _kept_chips(folder: RunFolder, manifest: Manifest) -> Iterator[tuple[str, ChipResult]]:
    """Yield the chips of a run that are whole on disk."""
    seconds = dict(zip(manifest.finished, manifest.chip_seconds, strict=True))
    for name in manifest.chips:
        with suppress(DamagedError):
            chip = folder.finished_chip(name)
            if chip is not None:
                yield name, replace(chip, seconds=seconds.get(name, 0.0))


def _batches(chip: ChipResult) -> tuple[int, ...]:
    return parse_chip(chip.config_yaml, chip.name).run.decode_batch


def _in_order(manifest: Manifest, done: Mapping[str, ChipResult]) -> tuple[ChipResult, ...]:
    return tuple(done[name] for name in manifest.chips if name in done)


def _told_of(manifest: Manifest, done: Mapping[str, ChipResult]) -> Manifest:
    """Return the manifest with what it says of finished chips."""
    chips = _in_order(manifest, done)
    return replace(
        manifest,
        finished=[c.name for c in chips],
        chip_seconds=[c.seconds for c in chips],
        warnings=[f"{c.name}: {w}" for c in chips for w in c.warnings],
    )


def _results(
    manifest: Manifest,
    done: Mapping[str, ChipResult],
    text_name: str,
    batches: tuple[int, ...],
) -> RunResults:
    chips, schema = _in_order(manifest, done), run_tables(batches)
    complete = len(chips) == len(manifest.chips)
    return RunResults(manifest.run_hash, chips, text_name, schema, batches, complete=complete)


def _write_all(
    folder: RunFolder,
    run: RunResults,
    manifest: Manifest,
    *,
    report: bool,
    beside: BesideChips = NO_BASELINES,
) -> None:
    """Write tables, then the report, then that it is written."""
    folder.write_manifest(manifest)
    folder.write_run(run)
    if not report:
        return
    write_report(folder, run, beside)
    folder.write_manifest(replace(manifest, reported=True))


def _compile(plan: RunPlan, first: str, listener: Listener) -> None:
    """Compile kernels once for all chips, where two processes may run on this machine."""
    if plan.cluster is None and plan.jobs * plan.threads > 1:
        compile_kernels(lambda _half, stage, share: listener.stage(first, stage, share))


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
    left = [task for task in plan.tasks if task.name not in done]
    digests = {model: open_model(model).known_digests for model in {t.model for t in left}}
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
            digests=digests[task.model],
        )
        for task in left
    ]
