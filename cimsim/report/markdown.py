"""A report as markdown that reads well in a terminal of 80 columns."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from cimsim.report.blocks import (
    Beside,
    Block,
    Bullets,
    Chart,
    ChartData,
    Definitions,
    Field,
    Folded,
    Grid,
    Illustration,
    ReportSection,
    Text,
)

__all__ = ["markdown_report"]

_Plain = Text | Bullets | Definitions | Illustration | Chart | Grid
WIDTH = 80
NAME_WIDTH = 24


def markdown_report(
    title: str, about: str, sections: Sequence[ReportSection], *, fit: bool = True
) -> str:
    """Return the report without what is marked for the page alone.

    Args:
        title: title of the report.
        about: one line below it.
        sections: what it says and shows.
        fit: cut long words in tables, so that tables fit the terminal too.
    """
    lines = [f"# {_plain(title)}", "", *_wrap(about), ""]
    for section in sections:
        shown = [block for block in section.blocks if not block.page_only]
        if not shown and section.blocks:
            continue
        lines += [f"{'#' * section.level} {_plain(section.title)}", ""]
        for block in shown:
            for part in _parts(block):
                lines += _block(part, fit=fit)
    return "\n".join(lines).rstrip() + "\n"


def _parts(block: Block) -> tuple[_Plain, ...]:
    """Return a block of the page as blocks of a text."""
    if isinstance(block, ChartData):  # of the page alone
        return ()
    if isinstance(block, Beside):
        return block.grid, block.figure
    if isinstance(block, Folded):
        return (Bullets(tuple(line for line, _ in block.items), block.title),)
    return (block,)


def _block(block: _Plain, *, fit: bool) -> list[str]:
    """Return a block and the empty line after it."""
    if isinstance(block, Text):
        return [*_wrap(block.text), ""]
    if isinstance(block, Grid):
        return _grid(block, fit=fit)
    if isinstance(block, Illustration | Chart):
        picture = block.picture
        lines = [f"![{_plain(picture.title)}](figures/{picture.name}.svg)", ""]
        brief = isinstance(block, Illustration) and block.brief
        return lines if brief else [*lines, *_wrap(picture.caption), ""]
    if isinstance(block, Definitions):
        marks = ("`", "`:") if block.code else ("**", ".**")
        items = [f"{marks[0]}{s if block.code else _plain(s)}{marks[1]} {_plain(statement)}"
                 for s, statement in block.items]  # fmt: skip
        return _bullets(items)
    heading = [f"**{_plain(block.title)}:**", ""] if block.title else []
    return [*heading, *_bullets(_plain(s) for s in block.sentences)] if block.sentences else []


def _grid(grid: Grid, *, fit: bool) -> list[str]:
    """Return a table per group, with the fields that have a narrow heading."""
    kept = [i for i, field in enumerate(grid.fields) if field.narrow]
    fields = [grid.fields[i] for i in kept]
    lines = [f"**{_plain(grid.title)}**", ""]
    for group in grid.groups:
        if group.label:
            lines += [*_wrap(f"{group.label}:"), ""]
        lines += [*_table(fields, [[row[i] for i in kept] for row in group.rows], fit=fit), ""]
    return [*lines, *_wrap(grid.note), ""] if grid.note else lines


def _table(
    fields: Sequence[Field[object]], rows: Sequence[Sequence[str]], *, fit: bool
) -> list[str]:
    """Return a table with aligned columns."""
    words = [field.words for field in fields]

    def cell(text: str, *, word: bool) -> str:
        cut = fit and word and len(text) > NAME_WIDTH
        return _plain(f"{text[: NAME_WIDTH - 1]}…" if cut else text).replace("|", "\\|")

    table = [
        [cell(text, word=word) for text, word in zip(row, words, strict=True)]
        for row in ([field.narrow for field in fields], *rows)
    ]
    # The rule below a column of numbers is a dash and a colon at least.
    widths = [max(2, *(len(row[i]) for row in table)) for i in range(len(fields))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            text.ljust(width) if word else text.rjust(width)
            for text, width, word in zip(cells, widths, words, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * width if word else "-" * (width - 1) + ":"
        for width, word in zip(widths, words, strict=True)
    ]
    return [line(table[0]), line(rule), *map(line, table[1:])]


def _plain(value: str) -> str:
    """Return text on one line whose marks mean nothing to markdown or HTML."""
    flat = re.sub(r"[ \t\r\n\f\v]+", " ", value)
    return re.sub(r"([`*<>\[\]\\])", r"\\\1", flat)


def _wrap(value: str) -> list[str]:
    return _lines(_plain(value))


def _bullets(sentences: Iterable[str]) -> list[str]:
    return [*(line for s in sentences for line in _lines(f"- {s}", indent="  ")), ""]


def _lines(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
