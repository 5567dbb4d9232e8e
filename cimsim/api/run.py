"""``cimsim.run``: chips and models in, the tables of a run out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cimsim.api.bars import RunBar
from cimsim.api.call_result import CallResult
from cimsim.api.chip import Chips, chips_of
from cimsim.api.overrides import Overrides, set_texts
from cimsim.api.run_options import RunOptions
from cimsim.errors import CimsimError, nearest
from cimsim.results import Cell, Row, RunResults
from cimsim.session import run_plan
from cimsim.stages.plan import Request, make_plan

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["FinishedRun", "folder_for", "request_for", "run"]

PLAIN = RunOptions()
ACCURACY = ("ppl_float", "ppl_noisy_mean", "ppl_calibrated_mean", "destroyed_calibrated")
FULL_SIZE = ("batch", "energy_per_token_nj", "latency_us", "tokens_per_s", "power_w", "area_mm2")


@dataclass(frozen=True)
class FinishedRun(CallResult):
    """What a run gave: the tables that the command line writes as CSV.

    Attributes:
        results: everything behind the tables.
        folder: where the report and all files are, or None if none were kept.
    """

    results: RunResults
    folder: Path | None

    @property
    def title(self) -> str:
        """Chips, text and number of chip seeds."""
        chips = ", ".join(dict.fromkeys(str(c.row["config"]) for c in self.results.chips))
        return f"{chips} on {self.results.text_name}"

    @property
    def notes(self) -> Sequence[str]:
        """Warnings, each with the chips that it is about."""
        about: dict[str, list[str]] = {}
        for chip in self.results.chips:
            for warning in chip.warnings:
                about.setdefault(warning, []).append(chip.name)
        return [f"{', '.join(names)}: {warning}" for warning, names in about.items()]

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that `to_frame` knows."""
        return tuple(table.name for table in self.results.schema)

    def to_frame(self, table: str = "results") -> DataFrame:
        """Return a table; `results` has one row per chip and model.

        Args:
            table: one of `tables`: results, scale, peak, pairs, per_seed, per_layer, energy and
                so on, with the columns of the CSV file of that name.

        Raises:
            CimsimError: if there is no such table.
        """
        for found in self.results.schema:
            if found.name == table:
                return found.frame(self.results.tables()[table])
        raise CimsimError(
            "is no table of a run",
            key="table",
            value=table,
            allowed=", ".join(self.tables),
            hint=nearest(table, self.tables),
        )

    def shown(self) -> DataFrame:
        """Return perplexity, and decode at full size at the largest batch, a row per chip."""
        from pandas import DataFrame  # noqa: PLC0415 - half a second that only tables need

        return DataFrame([_answer(c.row, c.scale) for c in self.results.chips])


def _answer(row: Row, scale: Sequence[Row]) -> dict[str, Cell]:
    found = {name: row[name] for name in ("config", "model", *ACCURACY)}
    decoded = [r for r in scale if r["phase"] == "decode"]
    return {**found, **({n: decoded[-1][n] for n in FULL_SIZE} if decoded else {})}


def run(
    chips: Chips,
    *,
    models: str | Path | Iterable[str | Path] = "olmoe-tiny",
    text: str | Path | None = None,
    tokens: int | None = None,
    overrides: Overrides | None = None,
    out: str | Path | None = None,
    options: RunOptions = PLAIN,
    progress: bool | None = None,
) -> FinishedRun:
    """Simulate models on chips: accuracy, latency, energy; what ``cimsim run`` does.

    Args:
        chips: names, files or loaded chips, one or several.
        models: bundled models or checkpoint folders, one or several.
        text: text to score, or the `Path` of a file; None takes the bundled text.
        tokens: scored tokens; None as each chip says.
        overrides: knobs of every chip, ``{"tile.adc.bits": 7}``.
        out: folder for the report and all files; None keeps none.
        options: processes, cache, corrections and the like.
        progress: whether a bar is drawn; None draws in notebooks and on terminals.

    Raises:
        CimsimError: if chips, models and text do not go together; nothing was computed then.
        SimulationError: if the simulation cannot finish.
    """
    request = request_for(chips, models, text, tokens, overrides, options)
    with folder_for(out) as folder:
        plan = make_plan(replace(request, out=folder))
        with RunBar(plan, shown=progress) as bar:
            results = run_plan(plan, bar, report=out is not None)
    return FinishedRun(results, None if out is None else Path(out))


def request_for(
    chips: Chips,
    models: str | Path | Iterable[str | Path],
    text: str | Path | None,
    tokens: int | None,
    overrides: Overrides | None,
    options: RunOptions,
) -> Request:
    """Return what a call asks for, as the command line would; arguments are those of `run`."""
    knobs = set_texts(overrides)
    named = (models,) if isinstance(models, str | Path) else tuple(models)
    return Request(
        chips=chips_of(chips),
        overrides=knobs if tokens is None else (*knobs, f"workload.tokens={tokens}"),
        models=tuple(str(m) for m in named),
        text=text,
        bos=options.bos,
        correction=options.correction,
        force=options.force,
        overwrite=options.overwrite,
        resume=options.resume,
        jobs=options.jobs,
        threads=options.threads,
        plugins=options.plugins,
        cluster=options.cluster,
        cache=options.cache,
    )


@contextmanager
def folder_for(out: str | Path | None) -> Iterator[Path]:
    """Yield the folder asked for, or one that is gone afterwards."""
    if out is not None:
        yield Path(out)
        return
    with TemporaryDirectory() as temporary:
        yield Path(temporary) / "run"
