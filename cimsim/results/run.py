"""What a run produced, typed: the pipeline fills it, files and reports are made of it.

Everything here is plain data of one shape, so that the report needs nothing else. Arrays
are read, never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cimsim.results.activity import Activity, Counter, LinkUse, Track
from cimsim.results.column import EMPTY_BECAUSE, Empty, Row
from cimsim.results.loads import ExpertLoad, LatencySamples, TileLoad
from cimsim.results.pairs import pair_rows
from cimsim.results.table import Table

__all__ = ["CHIP_RECORDS", "DEFAULT_BATCHES", "NOT_RUN", "ChipResult", "RunResults"]

DEFAULT_BATCHES = (1, 8)
NOT_RUN = Empty("this chip does not run that batch size")
"""Why a chip has no value in the column of a batch size that another chip of the run has."""


@dataclass(frozen=True)
class ChipResult:
    """One chip with one model.

    Attributes:
        name: unique in the run; its folder under ``chips/``.
        row: of results.csv, made by its table's `row`.
        config_yaml: the resolved chip file.
        per_layer: rows of per_layer.csv.
        per_seed: rows of per_seed.csv.
        energy: rows of energy.csv.
        scale: rows of scale.csv.
        peak: rows of peak.csv.
        tile_load: busy time of tiles.
        expert_load: visits of experts.
        latency: samples, prefill first.
        resources: rows of resources.csv.
        activity: what its resources did, for the trace, or None.
        warnings: one sentence each, shown in the report.
        notes: assumptions and extrapolations behind its numbers, a phrase each.
        not_modelled: what the models of this chip leave out, one phrase each, such as
            "leakage of the DAC"; shown in the report.
        seconds: wall time, for the manifest only.
    """

    name: str
    row: Row
    config_yaml: str
    per_layer: tuple[Row, ...]
    per_seed: tuple[Row, ...]
    energy: tuple[Row, ...]
    scale: tuple[Row, ...]
    peak: tuple[Row, ...]
    tile_load: TileLoad
    expert_load: ExpertLoad
    latency: tuple[LatencySamples, ...]
    resources: tuple[Row, ...] = ()
    activity: Activity | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    not_modelled: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    def tables(self, results: Table[Any]) -> dict[str, list[Row]]:
        """Return the rows of every table of the chip by its name.

        Args:
            results: the table of results.csv, with the batch sizes of all chips of the run.
        """
        names = str(self.row["config"]), str(self.row["model"])
        return {
            "results": [_widen(self.row, results)],
            "per_layer": list(self.per_layer),
            "per_seed": list(self.per_seed),
            "energy": list(self.energy),
            "scale": list(self.scale),
            "peak": list(self.peak),
            "tile_load": self.tile_load.rows(*names),
            "expert_load": self.expert_load.rows(*names),
            "latency": [row for samples in self.latency for row in samples.rows(*names)],
            "resources": list(self.resources),
        }


CHIP_RECORDS = (
    ChipResult, TileLoad, ExpertLoad, LatencySamples, Activity, Track, Counter, LinkUse,
)  # fmt: skip
"""Classes that a `ChipResult` is made of."""


@dataclass(frozen=True)
class RunResults:
    """All chips of one command.

    Attributes:
        run_hash: sha256 of everything that decides the numbers.
        chips: finished chips, in the order of the command.
        text_name: name of the scored text.
        schema: every table in reading order, results.csv first.
        batches: decode batch sizes of all chips, rising.
        complete: whether every chip of the command is there.
    """

    run_hash: str
    chips: tuple[ChipResult, ...]
    text_name: str
    schema: tuple[Table[Any], ...]
    batches: tuple[int, ...] = DEFAULT_BATCHES
    complete: bool = True

    def tables(self) -> Mapping[str, Sequence[Row]]:
        """Return the rows of every table of the run by its name, chips in order."""
        return self._tables  # of large chips making them takes seconds

    @cached_property
    def _tables(self) -> dict[str, list[Row]]:
        merged: dict[str, list[Row]] = {t.name: [] for t in self.schema}
        for chip in self.chips:
            for name, rows in chip.tables(self.schema[0]).items():
                merged[name] += rows
        merged["pairs"] = pair_rows([(chip.row, chip.per_seed) for chip in self.chips])
        return merged


def _widen(row: Row, table: Table[Any]) -> Row:
    """Give a row the batch columns of other chips in the run, empty with a reason."""
    missing = [c.name for c in table.columns if c.name not in row]
    if not missing:
        return {c.name: row[c.name] for c in table.columns}
    extra = "; ".join(f"{name}: {NOT_RUN}" for name in missing)
    known = row[EMPTY_BECAUSE]
    reasons = f"{known}; {extra}" if known else extra
    wide: Row = {c.name: row.get(c.name) for c in table.columns}
    return {**wide, EMPTY_BECAUSE: reasons}
