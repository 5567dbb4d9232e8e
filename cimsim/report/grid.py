"""Tables of a report as text: built once, shown on the page and in markdown."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Grid", "GridGroup"]


@dataclass(frozen=True)
class GridGroup:
    """Rows that belong together.

    Attributes:
        label: heading of the group, "" for none.
        rows: cells as text, one tuple a row.
    """

    label: str
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        title: what it shows.
        header: heading of every column, with its unit.
        groups: rows in groups.
        words: number of leading columns that hold words; the others are right-aligned.
        last_words: whether the last column holds words too.
        note: what a reader must know, "" for nothing.
    """

    title: str
    header: tuple[str, ...]
    groups: tuple[GridGroup, ...]
    words: int = 2
    note: str = ""
    last_words: bool = False

    def holds_words(self, column: int) -> bool:
        """Whether a column is left-aligned."""
        return column < self.words or (self.last_words and column == len(self.header) - 1)
