"""Chips of one run compared in pairs: the change of the loss against the first chip.

Chip seed n of two designs is the same draw of everything that they share (common random
numbers), so the difference over chip seeds is much surer than the two means apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, log

from cimsim.results.column import EMPTY_BECAUSE, Column, Row, Table
from cimsim.results.statistics import Interval, paired_difference

__all__ = ["PAIRS", "loss_change", "pair_rows"]

_NO_LOSS = "a perplexity of the pair is not a finite number"


def _change(stage: str, when: str) -> tuple[Column, ...]:
    name, formula = f"loss_change_{stage}", f"mean of ln(ppl_{stage} / that of the reference)"
    what = f"Mean loss {when}, less that of the reference on the same chip seeds."
    ends = ((f"{name}_ci_low", "Lower"), (f"{name}_ci_high", "Upper"))
    return (
        Column(f"{name}_mean", "nat", "number", what, formula, empty_when=_NO_LOSS, better="lower"),
        *(
            Column(end, "nat", "number", f"{side} end of its 95 % interval.", empty_when=_NO_LOSS)
            for end, side in ends
        ),
    )


PAIRS = Table(
    "pairs",
    "One row a chip but the first of its model: its loss against that chip, by pairs of seeds.",
    (
        Column("config", "", "text", "Name of the chip."),
        Column("model", "", "text", "Name of the checkpoint."),
        Column("reference", "", "text", "The first chip of the run with this model and text."),
        Column("chip_seeds", "1", "integer", "Chip seeds that both have.", minimum=1),
        *_change("noisy", "on the chip"),
        *_change("calibrated", "after calibration"),
        Column(EMPTY_BECAUSE, "", "text", "For every empty cell its column and the reason."),
    ),
)


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
        cells: dict[str, object] = {
            "config": row["config"],
            "model": row["model"],
            "reference": known[0]["config"],
            "chip_seeds": len(shared),
        }
        for stage in ("noisy", "calibrated"):
            found, name = loss_change(known[1], seeds, stage), f"loss_change_{stage}"
            cells[f"{name}_mean"] = None if found is None else found.mean
            cells[f"{name}_ci_low"] = None if found is None else found.low
            cells[f"{name}_ci_high"] = None if found is None else found.high
        reasons = {name: _NO_LOSS for name, value in cells.items() if value is None}
        rows.append(PAIRS.row(cells, reasons))
    return rows
