"""The two exception families.

`CimsimError` is the user's to fix and says where and how; `CimsimInternalError` is our
bug. Command lines turn the first into one sentence and exit code 2 (or 1 when a running
simulation failed), the second into a request for a report and exit code 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from cimsim.printable import printable, shortened

__all__ = ["CimsimError", "CimsimInternalError", "SimulationError", "nearest"]


MOST = {"sentence": 500, "file": 200, "key": 100, "message": 300, "value": 100, "hint": 200}
"""Characters of a sentence and of its parts: what a user gave may be of any length."""


class CimsimError(Exception):
    """Something the user can fix.

    Args:
        message: one clear sentence without a full stop at the end.
        file: the file at fault.
        line: 1-based line in that file.
        column: 1-based column in that line.
        key: dotted path of the knob, e.g. ``tile.adc.bits``.
        value: the value found.
        allowed: what would be accepted.
        hint: what to do, e.g. the nearest spelling.
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        line: int | None = None,
        column: int | None = None,
        key: str | None = None,
        value: object = None,
        allowed: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.message = message
        self.file = None if file is None else str(file)
        self.line = line
        self.column = column
        self.key = key
        self.value = value
        self.allowed = allowed
        self.hint = hint
        super().__init__(self.sentence())

    def sentence(self) -> str:
        """Return the whole error on one line: place, key, problem, allowed, hint."""
        file = None if self.file is None else shortened(printable(self.file), MOST["file"])
        place = ":".join(str(p) for p in (file, self.line, self.column) if p is not None)
        key = None if self.key is None else shortened(printable(self.key), MOST["key"])
        text = ": ".join(
            [*(p for p in (place, key) if p), shortened(printable(self.message), MOST["message"])]
        )
        if self.value is not None:
            text += f" (found {_shown(self.value)})"
        hint = "" if self.hint is None else f"; {shortened(printable(self.hint), MOST['hint'])}"
        if self.allowed is not None:
            room = MOST["sentence"] - len(text) - len(hint) - len("; allowed: ")
            text += f"; allowed: {shortened(printable(self.allowed), max(room, 40))}"
        return shortened(text + hint, MOST["sentence"])


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes no integers of thousands of digits
        text = "a number of thousands of digits"
    return shortened(printable(text), MOST["value"])


class SimulationError(CimsimError):
    """A valid input whose simulation cannot finish, such as a deadlock (exit code 1)."""

    exit_code = 1


class CimsimInternalError(Exception):
    """A broken promise inside cimsim: our bug (exit code 3)."""

    exit_code = 3


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return a hint that names the closest of `choices`, or None if none is close."""
    close = get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else None
