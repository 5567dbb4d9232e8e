"""Stored results: the SHA-256 of every subject's canonical values, and the values themselves.

The hash judges. The values, one JSON file per subject with a line per row, are there to name what
differs when it does, and to show a reader of a commit what moved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.golden.rows import Value, Values

__all__ = [
    "FOLDER",
    "Difference",
    "canonical_hash",
    "compare",
    "load",
    "load_hashes",
    "save",
    "save_hashes",
    "table",
]

FOLDER = Path(__file__).parent / "values"
HASHES = Path(__file__).parent / "hashes.txt"
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


def load_hashes() -> dict[str, str]:
    """Read the stored hash of every subject by its name."""
    lines = HASHES.read_text(encoding="utf-8").splitlines() if HASHES.is_file() else []
    return {name: found for found, name in (line.split() for line in lines)}


def save_hashes(hashes: Mapping[str, str]) -> None:
    """Write hashes as ``sha256sum`` does, a line per subject in order of names."""
    lines = [f"{hashes[name]}  {name}\n" for name in sorted(hashes)]
    HASHES.write_text("".join(lines), encoding="utf-8")


def canonical_hash(values: Values) -> str:
    """Return the SHA-256 of values by golden names: a line ``row, column, value`` each, sorted."""
    lines = sorted(
        f"{row}\t{column}\t{canonical(value)}\n"
        for row, columns in values.items()
        for column, value in columns.items()
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def canonical(value: Value) -> str:
    """Return a value as text: floats with the ten digits that tables print, kinds told apart."""
    return f"{value:.10g}" if isinstance(value, float) else json.dumps(value)


def save(subject: str, values: Values, folder: Path = FOLDER) -> None:
    """Write the values of a subject, a line per row, in order of names."""
    lines = [
        f"{json.dumps(name)}: {json.dumps(dict(sorted(values[name].items())), allow_nan=False)}"
        for name in sorted(values)
    ]
    folder.mkdir(exist_ok=True)
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (folder / f"{subject}.json").write_text(text, encoding="utf-8")


def compare(subject: str, stored: Values, found: Values) -> list[Difference]:
    """Return the values of a subject that are not the stored ones, or not there."""
    differences = []
    for row in sorted({*stored, *found}):
        old, new = stored.get(row, {}), found.get(row, {})
        for column in sorted({*old, *new}):
            before, after = old.get(column, MISSING), new.get(column, MISSING)
            if _text(before) != _text(after):
                differences.append(Difference(subject, row, column, before, after))
    return differences


def _text(value: Value | _Missing) -> str:
    return repr(value) if isinstance(value, _Missing) else canonical(value)


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
