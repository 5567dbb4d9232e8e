"""The study from plan to page: measure every chip of every cell, then sum up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cimsim.errors import CimsimError
from cimsim.mac import Mode
from cimsim.stages.models import open_model
from romer.study.cache import Cache
from romer.study.level import find_level
from romer.study.measure import Bench, Record
from romer.study.page import write_page
from romer.study.plan import Cell, Plan, cells_of
from romer.study.summary import Measured, summarise, write_summary

__all__ = ["run_study"]


def run_study(plan: Plan, out: Path, *, say: Callable[[str], None]) -> None:
    """Carry out a plan in a folder; what the folder already holds is not measured again.

    Args:
        plan: what to do.
        out: folder for summary.csv, tables, figures, the page and the cache.
        say: told what is under way.

    Raises:
        CimsimError: if the folder cannot be used, or a cell cannot be measured.
    """
    if out.exists() and not out.is_dir():
        raise CimsimError("is not a folder", file=out, key="--out")
    hashes = {name: open_model(name).hash for name in plan["models"]}
    context = {
        "models": hashes,
        "chip": plan["chip"],
        "test_tokens": plan["test_tokens"],
        "version": version("cimsim"),
    }
    cache = Cache(out / "cache", context)
    levels = {model: find_level(plan, model, cache, say) for model in plan["models"]}
    cells = cells_of(plan, {model: level for model, (level, _) in levels.items()})
    measured = _measure_all(plan, cells, cache, say)
    rows = summarise(measured)
    write_summary(rows, out / "summary.csv")
    write_page(plan, rows, measured, levels, out)


def _measure_all(
    plan: Plan, cells: list[Cell], cache: Cache, say: Callable[[str], None]
) -> list[Measured]:
    """Measure cells kind of chip by kind of chip, so that each is opened once."""
    found: dict[Cell, Measured] = {}
    order = sorted(range(len(cells)), key=lambda i: (str(_kind(cells[i])), i))
    runner = _Runner(plan, cache)
    start, done = time.monotonic(), 0
    for number, index in enumerate(order, start=1):
        cell = cells[index]
        found[cell] = runner.cell(cell)
        done += runner.fresh
        spent = time.monotonic() - start
        left = spent / number * (len(order) - number)
        say(
            f"{number} of {len(order)}: {cell.model} {cell.scope} sigma {cell.sigma:g} "
            f"{cell.calibrator}{'' if cell.guarded else ' unguarded'}; about {left:.0f} s left"
        )
    return [found[cell] for cell in cells]


def _kind(cell: Cell) -> dict[str, Any]:
    """Return what decides the chips of a cell."""
    return {
        "model": cell.model,
        "analog": cell.analog,
        "sigma": cell.sigma,
        "overrides": cell.overrides,
    }


class _Runner:
    """Measures cells, keeping the last two kinds of chip open."""

    def __init__(self, plan: Plan, cache: Cache) -> None:
        self._plan, self._cache = plan, cache
        self._open: dict[str, Bench] = {}
        self.fresh = 0

    def cell(self, cell: Cell) -> Measured:
        """Return the measurements of every chip of a cell."""
        self.fresh = 0
        kind = _kind(cell)
        shared = self._row({**kind, "what": "shared"}, lambda: self._bench(cell, 0).shared())
        noisy, treated = [], []
        for index, chip in enumerate(cell.chips):
            mode: Mode = "detailed" if cell.tile_mode == "detailed" else "folded"
            noisy.append(
                self._row(
                    {**kind, "what": "noisy", "chip": chip, "mode": mode},
                    partial(self._noisy, cell, chip, mode),
                )
            )
            treatment = asdict(replace(cell, chips=(), role=""))
            treatment["fitted_on"] = cell.fitted_on[index] if cell.fitted_on else chip
            treated.append(
                self._row(
                    {**treatment, "what": "treated", "chip": chip},
                    partial(self._treated, cell, chip, index),
                )
            )
        return Measured(cell, shared, tuple(noisy), tuple(treated))

    def _noisy(self, cell: Cell, chip: int, mode: Mode) -> Record:
        return self._bench(cell, 0).noisy(chip, mode)

    def _treated(self, cell: Cell, chip: int, index: int) -> Record:
        fitted_chip = cell.fitted_on[index] if cell.fitted_on else chip
        scored = self._bench(cell, 0)
        fitted = scored if not cell.mismatch else self._bench(cell, cell.mismatch)
        return scored.treated(cell, chip, fitted, fitted_chip)

    def _row(self, key: dict[str, Any], measure: Callable[[], Record]) -> Record:
        row = self._cache.get(key)
        if row is None:
            row = measure()
            self._cache.put(key, row)
            self.fresh += 1
        return row

    def _bench(self, cell: Cell, mismatch: float) -> Bench:
        sigma = cell.sigma * (1.0 + mismatch)
        name = str({**_kind(cell), "sigma": sigma})
        if name not in self._open:
            while len(self._open) > 1:
                del self._open[next(iter(self._open))]
            self._open[name] = Bench(self._plan, cell, sigma)
        return self._open[name]
