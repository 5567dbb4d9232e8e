"""Stored values: one JSON file a subject, one line a row, and what differs from them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.golden.rows import Value, Values
from tests.golden.tolerance import Closeness, arithmetic, rerouted, within

__all__ = [
    "FOLDER",
    "Difference",
    "compare",
    "load",
    "same_arithmetic",
    "save",
    "save_arithmetic",
    "table",
]

FOLDER = Path(__file__).parent / "values"
ARITHMETIC = FOLDER / "arithmetic.txt"
MOST_LINES = 40
"""Lines of a subject that a table of differences shows."""


class _Missing:
    """Stands for a value that is not there."""

    def __repr__(self) -> str:
        return "(none)"


MISSING = _Missing()


@dataclass(frozen=True)
class Difference:
    """A value that is not the stored one.

    Attributes:
        subject, row, column: which.
        stored, found: then and now; `MISSING` where there is none.
    """

    subject: str
    row: str
    column: str
    stored: Value | _Missing
    found: Value | _Missing

    @property
    def relative(self) -> str:
        """The change over the stored value, as text; empty where there is none."""
        old, new = self.stored, self.found
        if isinstance(old, bool) or not isinstance(old, int | float) or not old:
            return ""
        return f"{(new - old) / abs(old):+.3g}" if isinstance(new, int | float) else ""

    def __str__(self) -> str:
        where = f"{self.subject} | {self.row} | {self.column}"
        return f"{where}: {self.stored!r} -> {self.found!r} {self.relative}".rstrip()


def load(subject: str, folder: Path = FOLDER) -> Values:
    """Read the stored values of a subject; none if there is no file."""
    path = folder / f"{subject}.json"
    found: Values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def same_arithmetic() -> bool:
    """Return whether this processor sums as the one did that stored the values."""
    return ARITHMETIC.is_file() and ARITHMETIC.read_text(encoding="utf-8").strip() == arithmetic()


def save_arithmetic() -> None:
    """Note how this processor sums."""
    ARITHMETIC.write_text(arithmetic() + "\n", encoding="utf-8")


def save(subject: str, values: Values, folder: Path = FOLDER) -> None:
    """Write the values of a subject, a line a row, in order of names."""
    lines = [
        f"{json.dumps(name)}: {json.dumps(dict(sorted(values[name].items())), allow_nan=False)}"
        for name in sorted(values)
    ]
    folder.mkdir(exist_ok=True)
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (folder / f"{subject}.json").write_text(text, encoding="utf-8")


def compare(subject: str, stored: Values, found: Values, *, exact: bool = True) -> list[Difference]:
    """Return the values that are not within their tolerance of the stored ones, or not there.

    Args:
        subject: their name.
        stored: values then.
        found: values now.
        exact: whether both come from the same arithmetic.
    """
    asked: Closeness = "equal"
    if not exact:
        asked = "other routing" if rerouted(stored, found) else "same routing"
    differences = []
    for row in sorted({*stored, *found}):
        old, new = stored.get(row, {}), found.get(row, {})
        for column in sorted({*old, *new}):
            both = column in old and column in new
            if both and within(column, old[column], new[column], asked):
                continue
            differences.append(
                Difference(subject, row, column, old.get(column, MISSING), new.get(column, MISSING))
            )
    return differences


def table(differences: Iterable[Difference], most: int = MOST_LINES) -> str:
    """Return differences as text, grouped by subject with counts."""
    groups: dict[str, list[Difference]] = {}
    for difference in differences:
        groups.setdefault(difference.subject, []).append(difference)
    lines = []
    for subject, found in sorted(groups.items()):
        lines.append(f"{subject}: {len(found)} values differ")
        shown = [(f"{d.row} | {d.column}", f"{d.stored!r}", f"{d.found!r}", d.relative)
                 for d in found[:most]]  # fmt: skip
        widths = [max(len(line[i]) for line in shown) for i in range(4)]
        lines += [
            "  " + "  ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)).rstrip()
            for line in shown
        ]
        if len(found) > most:
            lines.append(f"  ... and {len(found) - most} more")
    return "\n".join(lines)
