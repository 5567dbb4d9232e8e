"""What takes part in a comparison: accuracy and full-size figures of one chip."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cimsim.errors import CimsimError, CimsimInternalError, nearest
from cimsim.results import Row, Table, number_of, rows_from_csv
from cimsim.results.scale_rows import DECODE
from cimsim.stages.columns.details import PER_SEED
from cimsim.stages.columns.registry import extended, results_table
from cimsim.stages.columns.scale import SCALE
from cimsim.units import FJ_PER_J, FJ_PER_NJ

__all__ = ["Contender", "Iso", "contenders", "read_contenders"]

Iso = Literal["area", "throughput", "power"]


@dataclass(frozen=True)
class Contender:
    """One chip that holds the shape once.

    Attributes:
        row: of results.csv: accuracy.
        scale: of scale.csv: decode at the full-size shape.
        seeds: of per_seed.csv: one per chip seed.
    """

    row: Row
    scale: Row
    seeds: tuple[Row, ...] = ()

    @property
    def name(self) -> str:
        """Name of the chip."""
        return str(self.scale["config"])

    @property
    def energy_per_token_nj(self) -> float:
        """Energy per token: chip, leakage and off-chip memory."""
        return number_of(self.scale, "energy_per_token_nj")

    @property
    def power_w(self) -> float:
        """Energy over time, off-chip memory included."""
        return number_of(self.scale, "power_w")

    @property
    def tokens_per_s(self) -> float:
        """All tokens over the whole time: power over energy per token."""
        return self.power_w / self.energy_per_token_nj * (FJ_PER_J / FJ_PER_NJ)

    @property
    def area_mm2(self) -> float:
        """On-chip area."""
        return number_of(self.scale, "area_mm2")

    @property
    def tiles(self) -> int:
        """Tiles of one copy."""
        return int(number_of(self.scale, "tiles"))

    @property
    def destroyed(self) -> bool:
        """Whether the calibrated model has lost all context."""
        return bool(self.row["destroyed_calibrated"])

    @property
    def precision(self) -> tuple[float, int, int]:
        """Node in nm, weight bits, input bits: chips are ranked only where all agree."""
        node, *bits = (number_of(self.scale, c) for c in ("node_nm", "weight_bits", "input_bits"))
        return node, int(bits[0]), int(bits[1])

    def figure(self, iso: Iso) -> float:
        """Return what is made equal, of one copy."""
        figures = {
            "area": self.area_mm2,
            "throughput": self.tokens_per_s,
            "power": self.power_w,
        }
        return figures[iso]


def contenders(
    results: Sequence[Row],
    scale: Sequence[Row],
    per_seed: Sequence[Row],
    names: Sequence[str],
    shape: str,
    batch: int,
    phase: str = DECODE,
) -> list[Contender]:
    """Join accuracy and full-size figures of the chips named.

    Args:
        results: rows of results.csv.
        scale: rows of scale.csv.
        per_seed: rows of per_seed.csv.
        names: chips in order.
        shape: full-size model.
        batch: sequences at once.
        phase: decode, or decode with an off-chip memory that transfers in no time.

    Raises:
        CimsimError: if a chip, the shape or the batch is not there, or several models ran.
    """
    if len(names) < 2:
        raise CimsimError("a comparison needs at least two chips", value=", ".join(names))
    for name in names:
        if names.count(name) > 1:
            raise CimsimError("is named twice in one comparison", key="chip", value=name)
    found = []
    for name in names:
        rows = [r for r in results if r["config"] == name]
        if not rows:
            known = [str(r["config"]) for r in results]
            raise CimsimError(
                "no results of this chip",
                key="chip",
                value=name,
                allowed=", ".join(known) or "none",
                hint=nearest(name, known),
            )
        if len(rows) > 1:
            raise CimsimError("the results hold several models of this chip", value=name)
        seeds = tuple(r for r in per_seed if r["config"] == name)
        full = _full_size([r for r in scale if r["phase"] == phase], name, shape, batch)
        found.append(Contender(rows[0], full, seeds))
    return found


def _full_size(scale: Sequence[Row], name: str, shape: str, batch: int) -> Row:
    mine = [r for r in scale if r["config"] == name]
    shapes = [str(r["shape"]) for r in mine]
    for key, wanted, have in (
        ("--shape", shape, list(dict.fromkeys(shapes))),
        ("--batch", str(batch), [str(r["batch"]) for r in mine if r["shape"] == shape]),
    ):
        if wanted not in have:
            raise CimsimError(
                f"scale.csv of {name} has no such row",
                key=key,
                value=wanted,
                allowed=", ".join(have) or "none",
            )
    return next(r for r in mine if r["shape"] == shape and r["batch"] == batch)


def read_contenders(
    folder: Path, names: Sequence[str], shape: str, batch: int, phase: str = DECODE
) -> list[Contender]:
    """Read chips from the folder of an earlier run; arguments are those of `contenders`.

    Raises:
        CimsimError: if the folder holds no run of this version or not these chips.
    """
    batches = _batches(folder)
    results, scale, per_seed = (
        _read(folder, table)
        for table in (results_table(batches), extended(SCALE), extended(PER_SEED))
    )
    return contenders(results, scale, per_seed, names, shape, batch, phase)


def _batches(folder: Path) -> list[int]:
    """Return the decode batch sizes of a run, from the header of its results.csv."""
    path = folder / "results.csv"
    if not path.is_file():
        raise CimsimError("no results.csv in this folder", file=folder)
    header = path.read_bytes().split(b"\n", 1)[0].decode("utf-8", "replace")
    return [int(found) for found in re.findall(r"\btpot_p50_us_b(\d+)\b", header)]


def _read(folder: Path, table: Table[Any]) -> list[Row]:
    path = folder / f"{table.name}.csv"
    try:
        return rows_from_csv(table, path.read_bytes())
    except (OSError, UnicodeDecodeError, CimsimInternalError) as error:
        raise CimsimError(f"cannot be read: {error}", file=path) from error
