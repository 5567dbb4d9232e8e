"""What every call returns: figures as a data frame, and as a table in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["CallResult"]

DIGITS = 4


class CallResult(ABC):
    """CallResult with a title and what to mind when reading them.

    Notebooks show the table of `shown`; `to_frame` returns every column.
    """

    @property
    @abstractmethod
    def title(self) -> str:
        """What the figures are of, in one line."""

    @property
    def notes(self) -> Sequence[str]:
        """What a reader must know, one sentence each."""
        return ()

    @abstractmethod
    def to_frame(self) -> DataFrame:
        """Return every figure as a data frame; units are in the names of the columns."""

    def shown(self) -> DataFrame:
        """Return the columns that a notebook shows."""
        return self.to_frame()

    def _repr_html_(self) -> str:
        table = self.shown().to_html(
            index=False, border=0, na_rep="", float_format=lambda x: f"{x:.{DIGITS}g}"
        )
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        listed = f"<ul>{notes}</ul>" if notes else ""
        return f"<p><b>{escape(self.title)}</b></p>{table}{listed}"
