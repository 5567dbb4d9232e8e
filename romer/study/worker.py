"""What one process of a study has open, and how it measures a record."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

from cimsim.stages.compute import open_compute
from romer.study.cells import Cell, Kind
from romer.study.measure import Bench, Record, configure
from romer.study.subject import CleanModel

__all__ = ["Setting", "Worker"]


@dataclass(frozen=True)
class Setting:
    """What all records of a study share.

    Attributes:
        chip: the chip file.
        test_tokens: TEST text that is scored.
        folders: where each model is, by its name.
        fresh: whether fresh text is scored in the place of TEST.
    """

    chip: str
    test_tokens: int
    folders: tuple[tuple[str, str], ...]
    fresh: bool = False


class Worker:
    """Measures records, keeping one model and up to two kinds of chip open.

    Args:
        setting: what all records share.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting, self._folders = setting, dict(setting.folders)
        self._subject: tuple[str, CleanModel] | None = None
        self._benches: dict[Kind, Bench] = {}

    def measure(self, kind: Kind, call: str, arguments: tuple[Any, ...], cells: int) -> Record:
        """Measure one record.

        Args:
            kind: the kind of chip.
            call: method of `Bench`, or "treated".
            arguments: of that method.
            cells: that program-verify may rewrite.
        """
        bench = self._bench(kind)
        if call == "treated":
            cell, index = arguments
            return self._treated(bench, cell, index, cells)
        record: Record = getattr(bench, call)(*arguments)
        return record

    def _treated(self, bench: Bench, cell: Cell, index: int, cells: int) -> Record:
        """Measure one chip of a cell; `index` says which of its chips."""
        chip = cell.chips[index]
        fitted_chip = cell.fitted_on[index] if cell.fitted_on else chip
        fitted = bench if cell.fitted_kind == cell.kind else self._bench(cell.fitted_kind)
        return bench.treated(cell, chip, fitted, fitted_chip, cells)

    def _bench(self, kind: Kind) -> Bench:
        if kind not in self._benches:
            subject = self._open(kind)
            while len(self._benches) > 1:
                del self._benches[next(iter(self._benches))]
            gc.collect()  # a programmed chip is part of reference cycles
            self._benches[kind] = Bench(self._setting.chip, subject, kind)
        return self._benches[kind]

    def _open(self, kind: Kind) -> CleanModel:
        if self._subject is None or self._subject[0] != kind.model:
            self._subject = None
            self._benches.clear()
            gc.collect()
            setting, config = self._setting, configure(self._setting.chip, kind)
            subject = CleanModel(
                self._folders[kind.model],
                config.workload.context,
                open_compute(config.run),
                setting.test_tokens,
                fresh=setting.fresh,
            )
            self._subject = (kind.model, subject)
        return self._subject[1]
