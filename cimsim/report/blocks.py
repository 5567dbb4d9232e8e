"""What a report is made of: sections of text, tables and figures, written once, rendered twice.

The page (`cimsim.report.page`) shows all of it; markdown (`cimsim.report.markdown`) fits a
terminal, so it shows the fields of a table that have a narrow heading, and leaves out what is
marked for the page alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, TypeVar

from cimsim.report.canvas import Picture
from cimsim.report.cells import EMPTY

__all__ = [
    "Beside",
    "Block",
    "Bullets",
    "Chart",
    "ChartData",
    "Definitions",
    "Field",
    "Folded",
    "Grid",
    "GridGroup",
    "Illustration",
    "ReportSection",
    "Text",
]

R = TypeVar("R")


@dataclass(frozen=True)
class Field(Generic[R]):
    """One column of a table: its heading beside the text of its cells.

    Attributes:
        title: heading, with its unit.
        show: the text of a record's cell.
        narrow: heading in markdown; "" leaves the field to the page.
        words: whether cells are words: aligned left and sorted as text.
        code: whether cells are names of a file or program.
    """

    title: str
    show: Callable[[R], str]
    narrow: str = ""
    words: bool = False
    code: bool = False


@dataclass(frozen=True)
class GridGroup:
    """Rows that may be ranked together.

    Attributes:
        label: heading of the group, "" for none.
        rows: cells as text, one tuple per row.
        links: addresses of the rows' first cells, "" for none; or empty.
    """

    label: str
    rows: tuple[tuple[str, ...], ...]
    links: tuple[str, ...] = ()


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str
    page_only: bool = False


@dataclass(frozen=True)
class Bullets:
    """Sentences in a list.

    Attributes:
        sentences: one a bullet.
        title: heading, "" for none.
        warning: whether a reader must not overlook them.
    """

    kind: ClassVar[str] = "bullets"
    sentences: tuple[str, ...]
    title: str = ""
    warning: bool = False
    page_only: bool = False


@dataclass(frozen=True)
class Folded:
    """Sentences of one kind on one line each, the others of the kind behind it.

    Attributes:
        items: (the line, every sentence of its kind; none where the line is all).
        title: heading.
    """

    kind: ClassVar[str] = "folded"
    items: tuple[tuple[str, tuple[str, ...]], ...]
    title: str
    page_only: bool = False


@dataclass(frozen=True)
class Definitions:
    """Subjects and what there is to say about each.

    Attributes:
        items: (subject, statement).
        code: whether subjects are names of files.
    """

    kind: ClassVar[str] = "definitions"
    items: tuple[tuple[str, str], ...]
    code: bool = False
    page_only: bool = False


@dataclass(frozen=True)
class Illustration:
    """A figure.

    Attributes:
        picture: the drawing with its words.
        brief: whether markdown leaves the caption out.
    """

    kind: ClassVar[str] = "figure"
    picture: Picture
    brief: bool = False
    page_only: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure whose marks a reader can point at; without script it is as good as any other.

    Attributes:
        picture: the drawing; its group of marks has an id, one child per mark in order.
    """

    kind: ClassVar[str] = "chart"
    picture: Picture
    page_only: bool = False


@dataclass(frozen=True)
class ChartData:
    """What the marks of charts stand for.

    Attributes:
        json: see ``templates/sweep.js``.
    """

    kind: ClassVar[str] = "data"
    json: str
    page_only: bool = True


@dataclass(frozen=True)
class Grid:
    """A table of text; use `of` to make one.

    Attributes:
        title: what it shows.
        fields: its columns.
        groups: rows in groups.
        note: what a reader must know, "" for nothing.
        page_only: whether it is left out of markdown.
    """

    kind: ClassVar[str] = "grid"
    title: str
    fields: tuple[Field[object], ...]
    groups: tuple[GridGroup, ...]
    note: str = ""
    page_only: bool = False

    @classmethod
    def of(
        cls,
        title: str,
        fields: Sequence[Field[R]],
        groups: Iterable[tuple[str, Iterable[R]]],
        note: str = "",
        *,
        page_only: bool = False,
        link: Callable[[R], str] | None = None,
    ) -> Grid:
        """Show every record of every group (label, records); `link` gives its address.

        Fields that are empty for every record are left out.
        """
        shown = []
        for label, records in groups:
            kept = list(records)
            rows = tuple(tuple(f.show(r) for f in fields) for r in kept)
            links = () if link is None else tuple(map(link, kept))
            shown.append(GridGroup(label, rows, links))
        return cls(title, tuple(fields), tuple(shown), note, page_only)._full()  # type: ignore[arg-type]

    def _full(self) -> Grid:
        """Leave out fields that no record has: they say nothing."""
        rows = [row for group in self.groups for row in group.rows]
        full = [
            i
            for i, field in enumerate(self.fields)
            if field.words or not rows or any(row[i] != EMPTY for row in rows)
        ]
        shown = tuple(
            replace(group, rows=tuple(tuple(row[i] for i in full) for row in group.rows))
            for group in self.groups
        )
        return replace(self, fields=tuple(self.fields[i] for i in full), groups=shown)


@dataclass(frozen=True)
class Beside:
    """A figure and a table that belong together: side by side where there is room.

    Attributes:
        figure: on the left.
        grid: on the right.
    """

    kind: ClassVar[str] = "beside"
    figure: Illustration
    grid: Grid
    page_only: bool = False


Block = Beside | Folded | Text | Bullets | Definitions | Illustration | Chart | ChartData | Grid


@dataclass(frozen=True)
class ReportSection:
    """A part of a report under one heading.

    Attributes:
        anchor: its address on the page.
        title: its heading.
        blocks: what it holds, in order.
        level: 2, or 3 for a part of the section before.
    """

    anchor: str
    title: str
    blocks: tuple[Block, ...]
    level: int = 2
