"""Rows of tables grouped by the precision of a product."""

from __future__ import annotations

from collections.abc import Callable

from cimsim.report.grid import GridGroup
from cimsim.report.view import Design, View

__all__ = ["by_precision"]


def by_precision(view: View, cells: Callable[[Design], tuple[str, ...]]) -> tuple[GridGroup, ...]:
    """Return one row a chip, in a group for each precision if there are several.

    Args:
        view: the run.
        cells: the row of a chip.
    """
    several = len(view.classes) > 1
    return tuple(
        GridGroup(label if several else "", tuple(cells(d) for d in designs))
        for label, designs in view.classes
    )
