"""Text of others made fit for a terminal, a table, a page: what cannot be printed is written out.

Names of files, keys and values come from people, also from people whom the user does not know. An
escape code in one of them would move a terminal's cursor or hide what stands beside it, and a line
feed would make a line of its own.
"""

from __future__ import annotations

__all__ = ["printable", "shortened"]

CUT = "..."


def printable(text: str) -> str:
    r"""Return text on one line; controls, surrogates and marks of direction become ``\x1b``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, most: int) -> str:
    """Return text of at most `most` characters, with what was cut out of its middle marked."""
    if len(text) <= most:
        return text
    end = max(0, (most - len(CUT)) // 3)
    return text[: max(0, most - len(CUT) - end)] + CUT + text[len(text) - end :]
