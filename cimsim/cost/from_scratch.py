"""Chips described from their published inputs alone: by what factor their figures are missed.

Of a figure the factor is model / publication; how far it lies from 1 either way, max(f, 1 / f), is
what an architect should expect of a chip that nobody fitted. Every chip was described and stored
before it was run once; `data/from_scratch_outcome.yaml` and the outcome of the second set hold what
that run gave, with a word on each miss. Later models give other numbers, which are shown beside and
called so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import ceil
from statistics import median
from typing import Any

from cimsim.config.yaml_tree import parse_yaml
from cimsim.cost.peak_report import wrapped
from cimsim.cost.validation import (
    FROM_SCRATCH,
    FROM_SCRATCH_SECOND,
    Check,
    CheckResult,
    load_checks,
    run_checks,
)

__all__ = [
    "Factors",
    "RecordedFigure",
    "as_dict",
    "as_lines",
    "checks_from_scratch",
    "factors_of",
    "load_outcomes",
    "outcomes",
]

_MOST = 0.8
_EFFICIENCY = "TOPS/W"
_SETS = {"first": FROM_SCRATCH, "second": FROM_SCRATCH_SECOND}
# Kinds of figures by their unit.
_KINDS = {
    "TOPS/W and power": (_EFFICIENCY, "W"),
    "throughput": ("TOPS", "GOPS", "ns"),
    "area and density": ("TOPS/mm2", "mm2"),
}


@dataclass(frozen=True)
class RecordedFigure:
    """What the one run of a figure gave.

    Attributes:
        simulated: the model's value then.
        why: what the miss comes from, where it is one.
    """

    simulated: float
    why: str


@dataclass(frozen=True)
class Factors:
    """How far figures lie from what was published, max(f, 1 / f).

    Attributes:
        count: figures.
        median: of the factors.
        within_2: how many are within a factor of two.
        most: factor within which 80 % of the figures fall.
        worst: the greatest.
    """

    count: int
    median: float
    within_2: int
    most: float
    worst: float


def checks_from_scratch() -> tuple[tuple[str, Check], ...]:
    """Return every figure with the name of its set, in the order in which the sets came."""
    return tuple((name, check) for name, file in _SETS.items() for check in load_checks(file))


@cache
def load_outcomes() -> dict[str, RecordedFigure]:
    """Return the recorded outcome of every figure, by its name."""
    found = {}
    for checks in _SETS.values():
        name = checks.replace(".yaml", "_outcome.yaml")
        text = (files("cimsim.cost") / "data" / name).read_text(encoding="utf-8")
        tree: Any = parse_yaml(text, name).value
        for figure, row in tree["outcomes"].items():
            found[figure] = RecordedFigure(float(row["simulated"]), row.get("why", ""))
    return found


@cache
def outcomes() -> tuple[CheckResult, ...]:
    """Return every figure with what the model says today."""
    return run_checks(tuple(check for _, check in checks_from_scratch()))


def factors_of(pairs: tuple[tuple[float, float], ...]) -> Factors:
    """Return the factors of (simulated, published) pairs.

    Args:
        pairs: of figures above 0, at least one.
    """
    far = sorted(max(s / p, p / s) for s, p in pairs)
    return Factors(
        count=len(far),
        median=median(far),
        within_2=sum(factor <= 2.0 for factor in far),
        most=far[ceil(_MOST * len(far)) - 1],
        worst=far[-1],
    )


def as_dict() -> dict[str, Any]:
    """Return the factors as recorded and as they are today, and one row a figure."""
    recorded, rows = load_outcomes(), []
    for (name, check), result in zip(checks_from_scratch(), outcomes(), strict=True):
        once = recorded[check.name]
        rows.append(
            {
                "set": name,
                "item": check.item,
                "figure": check.name,
                "published": check.published,
                "recorded": once.simulated,
                "simulated": result.simulated,
                "unit": check.unit,
                "preset": check.preset,
                "source": check.source,
                "confidence": check.confidence,
                "note": check.note,
                "why": once.why,
            }
        )
    efficiency = [row for row in rows if row["unit"] == _EFFICIENCY]
    return {
        "recorded": vars(_factors("recorded", rows)),
        "recorded_tops_per_w": vars(_factors("recorded", efficiency)),
        "recorded_by_set": {
            name: vars(_factors("recorded", [row for row in rows if row["set"] == name]))
            for name in _SETS
        },
        "recorded_by_kind": {
            kind: vars(_factors("recorded", [row for row in rows if row["unit"] in units]))
            for kind, units in _KINDS.items()
        },
        "today": vars(_factors("simulated", rows)),
        "rows": rows,
    }


def _factors(column: str, rows: list[dict[str, Any]]) -> Factors:
    return factors_of(tuple((row[column], row["published"]) for row in rows))


def as_lines() -> list[str]:
    """Return a line a figure, why it is missed, and the factors, 80 columns wide."""
    found = as_dict()
    lines = ["from scratch: described before they were run once; factor = model / paper"]
    head = (("paper", 10), ("that run", 10), ("factor", 8), ("today", 10))
    lines.append(f"{'':<38}" + "".join(h.rjust(w) for h, w in head))
    for row in found["rows"]:
        name = f"  {row['figure']}, {row['unit']}"
        factor = row["recorded"] / row["published"]
        lines.append(
            f"{name:<38}{row['published']:>10.4g}{row['recorded']:>10.4g}{factor:>8.2f}"
            f"{row['simulated']:>10.4g}"
        )
        if row["why"]:
            lines += wrapped(row["why"], "    ", "    ")
    return [
        *lines,
        "",
        *_summary("that run", found["recorded"]),
        *(
            line
            for name, one in found["recorded_by_set"].items()
            for line in _summary(f"of it the {name} set", one)
        ),
        *(
            line
            for kind, one in found["recorded_by_kind"].items()
            for line in _summary(f"of it {kind} alone", one)
        ),
        *_summary("today", found["today"]),
    ]


def _summary(when: str, factors: dict[str, Any]) -> list[str]:
    return wrapped(
        f"pred: predicted from scratch, {when}: {factors['count']} figures, median factor "
        f"{factors['median']:.2f}, {factors['within_2']} within 2, 80 % within "
        f"{factors['most']:.2g}, worst {factors['worst']:.2g}",
        "",
        "  ",
    )
