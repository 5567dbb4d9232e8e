"""What one process of a study has open, and how it measures a batch of jobs."""

from __future__ import annotations

import gc
import time
from pathlib import Path

from romer.study.cache import Cache
from romer.study.cells import Cell, Kind
from romer.study.jobs import Batch, StudyJob
from romer.study.measure import Bench, Record, configure
from romer.study.subject import CleanModel

__all__ = ["Worker"]


class Worker:
    """Measures jobs, keeping one model and up to two kinds of chip open.

    Args:
        folder: the cache's folder.
        chip: the chip file.
        test_tokens: TEST text that is scored.
        folders: where each model is.
    """

    def __init__(self, folder: Path, chip: str, test_tokens: int, folders: dict[str, str]) -> None:
        self._cache = Cache(folder)
        self._chip, self._test_tokens, self._folders = chip, test_tokens, folders
        self._subject: tuple[str, CleanModel] | None = None
        self._benches: dict[Kind, Bench] = {}

    def __call__(self, batch: Batch, until: float) -> int:
        """Measure jobs of a batch until a monotonic time; return how many are done.

        Raises:
            Exception: the first that a job raised, after the others were tried.
        """
        done = 0
        failed: list[Exception] = []
        for job in batch.jobs:
            if time.monotonic() >= until:
                break
            try:
                if self._cache.get(job.name) is None:
                    self._cache.put(job.name, self._measure(job))
                done += 1
            except Exception as error:  # one cell must not cost the others their time
                failed.append(error)
        if failed:
            raise failed[0]
        return done

    def _measure(self, job: StudyJob) -> Record:
        bench = self._bench(job.kind)
        if job.call == "treated":
            return self._treated(bench, *job.arguments)
        record: Record = getattr(bench, job.call)(*job.arguments)
        return record

    def _treated(self, bench: Bench, cell: Cell, index: int, budget: str) -> Record:
        """Measure one chip of a cell.

        Args:
            bench: the kind of chip that is treated.
            cell: the treatment.
            index: which of the cell's chips.
            budget: name of the record whose rewritten cells program-verify may spend, or "".
        """
        chip = cell.chips[index]
        fitted_chip = cell.fitted_on[index] if cell.fitted_on else chip
        spent = self._cache.get(budget) if budget else None
        cells = int(spent["cells_rewritten"]) if spent else 0
        fitted = bench if cell.fitted_kind == cell.kind else self._bench(cell.fitted_kind)
        return bench.treated(cell, chip, fitted, fitted_chip, cells)

    def _bench(self, kind: Kind) -> Bench:
        if kind not in self._benches:
            subject = self._open(kind)
            while len(self._benches) > 1:
                del self._benches[next(iter(self._benches))]
            gc.collect()  # a programmed chip is part of reference cycles
            self._benches[kind] = Bench(self._chip, subject, kind)
        return self._benches[kind]

    def _open(self, kind: Kind) -> CleanModel:
        if self._subject is None or self._subject[0] != kind.model:
            self._subject = None
            self._benches.clear()
            gc.collect()
            context = configure(self._chip, kind).workload.context
            folder = self._folders[kind.model]
            self._subject = (kind.model, CleanModel(folder, context, self._test_tokens))
        return self._subject[1]
