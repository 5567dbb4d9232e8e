"""Chips of one run compared in pairs: the change of the loss against the first chip.

Chip seed n of two designs is the same draw of everything that they share (common random
numbers), so the difference over chip seeds is much surer than the two means apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log

from cimsim.results.column import Column, Empty, Row, reasons_column, text
from cimsim.results.statistics import Interval, paired_difference
from cimsim.results.table import Table

__all__ = ["PAIRS", "loss_change", "pair_rows"]

NO_LOSS = Empty("a perplexity of the pair is not a finite number")


@dataclass(frozen=True)
class _Pair:
    """A chip and the first one of the run with its model and text: rows of both."""

    row: Row
    reference: Row
    seeds: int
    changes: Mapping[str, Interval | None]

    def change(self, stage: str, end: str) -> float | None:
        found = self.changes[stage]
        return None if found is None else float(getattr(found, end))


def _change(stage: str, when: str) -> tuple[Column[_Pair], ...]:
    name = f"loss_change_{stage}"
    return (
        Column(f"{name}_mean", "nat", "number",
               f"Mean loss {when}, less that of the reference on the same chip seeds.",
               lambda s: s.change(stage, "mean"), (NO_LOSS,),
               formula=f"mean of ln(ppl_{stage} / that of the reference)", better="lower"),
        Column(f"{name}_ci_low", "nat", "number", "Lower end of its 95 % interval.",
               lambda s: s.change(stage, "low"), (NO_LOSS,)),
        Column(f"{name}_ci_high", "nat", "number", "Upper end of its 95 % interval.",
               lambda s: s.change(stage, "high"), (NO_LOSS,)),
    )  # fmt: skip


PAIRS: Table[_Pair] = Table(
    "pairs",
    "One row per chip but the first of its model: its loss against that chip, by pairs of seeds.",
    (
        text("config", "Name of the chip.", lambda s: s.row["config"]),
        text("model", "Name of the checkpoint.", lambda s: s.row["model"]),
        text("reference", "The first chip of the run with this model and text.",
             lambda s: s.reference["config"]),
        Column("chip_seeds", "1", "integer", "Chip seeds that both have.",
               lambda s: s.seeds, minimum=1),
        *_change("noisy", "on the chip"),
        *_change("calibrated", "after calibration"),
        reasons_column(),
    ),
)  # fmt: skip


def loss_change(reference: Sequence[Row], chip: Sequence[Row], stage: str) -> Interval | None:
    """Return the change of the mean loss in nats per token and its paired interval.

    Args:
        reference: rows of per_seed.csv of the chip that is compared with.
        chip: those of the chip; seeds that only one of them has are left out.
        stage: noisy or calibrated.

    Returns:
        The interval; None if a perplexity is missing or infinite, or no seed is shared.
    """
    before, after = (_losses(rows, stage) for rows in (reference, chip))
    seeds = [seed for seed in before if seed in after]
    pairs = [(before[seed], after[seed]) for seed in seeds]
    if not pairs or not all(isfinite(x) for pair in pairs for x in pair):
        return None
    return paired_difference([b for b, _ in pairs], [a for _, a in pairs]).difference


def _losses(rows: Sequence[Row], stage: str) -> dict[object, float]:
    """Return the mean negative log-likelihood of every chip seed."""
    values = {row["chip_seed"]: row[f"ppl_{stage}"] for row in rows}
    return {s: log(v) if isinstance(v, int | float) else float("inf") for s, v in values.items()}


def pair_rows(chips: Sequence[tuple[Row, Sequence[Row]]]) -> list[Row]:
    """Return the rows of pairs.csv.

    Args:
        chips: row of results.csv and rows of per_seed.csv of every chip, in order.
    """
    first: dict[object, tuple[Row, Sequence[Row]]] = {}
    rows: list[Row] = []
    for row, seeds in chips:
        scored = (row["model"], row["tokens"], row["context"])
        known = first.setdefault(scored, (row, seeds))
        shared = {s["chip_seed"] for s in seeds} & {s["chip_seed"] for s in known[1]}
        if known[0] is row or not shared:
            continue
        changes = {st: loss_change(known[1], seeds, st) for st in ("noisy", "calibrated")}
        rows.append(PAIRS.measure(_Pair(row, known[0], len(shared), changes)))
    return rows
