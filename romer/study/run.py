"""The study from plan to page: choose, measure every chip of every cell, then sum up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.stages.models import open_model
from cimsim.sweeps.executor import Executor, InThisProcess
from cimsim.sweeps.open_executor import open_executor
from romer.study.cells import Cell, Kind, cells_of, check_plan
from romer.study.choices import (
    choose_level,
    choose_quantiser,
    level_kinds,
    quantiser_kinds,
)
from romer.study.folders import model_folders
from romer.study.jobs import StudyJob
from romer.study.measured import CellMeasurement
from romer.study.measuring import Measuring
from romer.study.page import write_page
from romer.study.plan import StudyPlan
from romer.study.records import Records
from romer.study.summary import summarise, write_table
from romer.study.worker import Setting

__all__ = ["Study"]


class Study:
    """A plan carried out in a folder; what the folder already holds is not measured again.

    Args:
        plan: what to do.
        out: folder for summary.csv, tables, figures, the page and the cache.
        models_dir: folder that holds the plan's extra models, or None.
        jobs: processes at once.
        cluster: Dask cluster to measure on, or None for this machine.
        seconds: no measurement is begun after so many seconds; None measures all.
        say: told what is under way.

    Raises:
        CimsimError: if the folder cannot be used, or a cell cannot be measured.
    """

    def __init__(
        self,
        plan: StudyPlan,
        out: Path,
        *,
        models_dir: Path | None = None,
        jobs: int = 1,
        cluster: str | None = None,
        seconds: float | None = None,
        say: Callable[[str], None],
    ) -> None:
        if out.exists() and not out.is_dir():
            raise CimsimError("is not a folder", file=out, key="--out")
        check_plan(plan)
        self._plan, self._out, self._say = plan, out, say
        self._jobs, self._cluster = jobs, cluster
        self._until = float("inf") if seconds is None else time.time() + seconds
        names = [*plan["models"], *(plan["extra_models"] or {})]
        self._folders, self.missing = model_folders(names, models_dir)
        models = {name: open_model(folder) for name, folder in self._folders.items()}
        hashes = {name: model.hash for name, model in models.items()}
        for warning in (w for model in models.values() for w in model.warnings):
            say(f"warning: {warning}")
        scored = {"test_tokens": plan["test_tokens"]}
        self.records = Records(out / "cache", plan["chip"], hashes, scored)
        folders = tuple(self._folders.items())
        self._setting = Setting(plan["chip"], plan["test_tokens"], folders)
        self._executor: Executor = InThisProcess()

    def run(self) -> int:
        """Measure what time allows; write the results once nothing is missing.

        Returns:
            How many measurements are still missing; 0 once the results are written.
        """
        with open_executor(self._jobs, cluster=self._cluster) as self._executor:
            return self._carry_out()

    def _carry_out(self) -> int:
        plan = self._plan
        models = plan["models"]
        kinds = [k for m in models for k in level_kinds(plan, m)]
        if left := self._measure([j for k in kinds for j in self._development(k)], "level L"):
            return left
        levels = {m: choose_level(plan, m, self._losses) for m in models}
        sigmas = {
            (m, s): levels[m][0] if s == "L" else float(s)
            for m in models
            for s in plan["primary"]["sigmas"]
        }
        kinds = [k for (m, _), s in sigmas.items() for k in quantiser_kinds(plan, m, s)]
        if left := self._measure([j for k in kinds for j in self._development(k)], "quantisers"):
            return left
        best = {
            (m, s): choose_quantiser(plan, m, sigma, self._losses)
            for (m, s), sigma in sigmas.items()
        }
        # Extra models have no level of their own: their cells do not ask for it.
        number = {m: level for m, (level, _) in levels.items()}
        number |= dict.fromkeys(plan["extra_models"] or {}, float("nan"))
        cells = [c for c in cells_of(plan, number, best) if c.model in self._folders]
        timed = {c.kind for c in cells if c.role == "primary"}
        records = {cell: _CellRecords(self.records, cell, timed) for cell in cells}
        first = [j for r in records.values() for j in r.jobs if not r.budget]
        if left := self._measure(first, "cells"):
            return left
        second = [j for r in records.values() for j in r.jobs if r.budget]
        if left := self._measure(second, "program-verify"):
            return left
        self._write([r.measured() for r in records.values()], levels, best)
        return 0

    def _development(self, kind: Kind) -> list[StudyJob]:
        tokens = self._plan["calibration_tokens"]
        return [
            StudyJob(
                self.records.name("development", kind, chip=chip, tokens=tokens),
                kind, chip, "development", (chip, tokens),
            )
            for chip in self._plan["development_chips"]
        ]  # fmt: skip

    def _losses(self, kind: Kind) -> tuple[float, float]:
        rows = [self.records.record(job.name) for job in self._development(kind)]
        noisy = sum(r["nll_noisy"] for r in rows) / len(rows)
        return rows[0]["nll_clean"], noisy

    def _measure(self, jobs: Sequence[StudyJob], what: str) -> int:
        """Measure what the cache lacks; return how much is still missing."""
        where = Measuring(self._executor, self.records.cache, self._setting, self._until, self._say)
        return where.measure(jobs, what)

    def _write(
        self,
        measured: list[CellMeasurement],
        levels: dict[str, tuple[float, bool]],
        best: dict[tuple[str, float | str], str],
    ) -> None:
        summary = summarise(measured)
        write_table(summary.rows, self._out / "summary.csv")
        write_table(summary.details, self._out / "details.csv")
        write_table(summary.chips, self._out / "chips.csv")
        write_page(self._plan, summary, levels, best, self.missing, self._out)


class _CellRecords:
    """The records that a cell is made of."""

    def __init__(self, records: Records, cell: Cell, timed: set[Kind]) -> None:
        self._names, self._cell = records, cell
        self.budget = cell.calibrator == "verify_worst"
        self._shared = StudyJob(
            records.name("shared", cell.noisy_kind), cell.noisy_kind, -1, "shared", ()
        )
        self._noisy = [self._noisy_job(chip, timed) for chip in cell.chips]
        self._treated = [self._treated_job(index) for index in range(len(cell.chips))]
        self._masks = []
        if cell.words:
            name = records.name("elsewhere", cell.kind, words=cell.words)
            self._masks = [StudyJob(name, cell.kind, -1, "elsewhere", (cell.words,))]
        self.jobs = (self._shared, *self._masks, *self._noisy, *self._treated)

    def _noisy_job(self, chip: int, timed: set[Kind]) -> StudyJob:
        kind, mode = self._cell.noisy_kind, self._cell.tile_mode
        replayed = kind in timed and mode == "folded" and chip == self._cell.chips[0]
        name = self._names.name("noisy", kind, chip=chip, mode=mode, timed=replayed)
        return StudyJob(name, kind, chip, "noisy_timed" if replayed else "noisy", (chip, mode))

    def _treated_job(self, index: int) -> StudyJob:
        cell = self._cell
        chip = cell.chips[index]
        bare = replace(cell, chips=(), fitted_on=(), role="", compared="", level_l=False)
        fitted = cell.fitted_on[index] if cell.fitted_on else chip
        timed = cell.role == "primary" and index == 0
        name = self._names.name(
            "treated", cell.kind, cell=asdict(bare), chip=chip, fitted=fitted, timed=timed
        )
        # Program-verify may write as many cells as the main calibrator of the same chip.
        budget = ""
        if self.budget:
            main = replace(cell, calibrator="romer_plus", role="primary")
            budget = _CellRecords(self._names, main, set())._treated[index].name
        return StudyJob(name, cell.kind, chip, "treated", (cell, index), budget)

    def measured(self) -> CellMeasurement:
        """Return the cell with all its records."""
        record = self._names.record
        return CellMeasurement(
            self._cell,
            record(self._shared.name),
            tuple(record(j.name) for j in self._noisy),
            tuple(record(j.name) for j in self._treated),
            tuple(record(self._masks[0].name)["windows"]) if self._masks else None,
        )
