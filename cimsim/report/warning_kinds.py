"""Warnings of one kind on one line: the first of them, how many there are, and on which chips."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["by_kind"]

# What differs between warnings of one kind: numbers, places, directions, phases.
_VARIES = (
    (r"\([-\d, ]+\)", "PLACE"),
    (r"[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?", "N"),
    (r"[-+][xyz]\b", "DIRECTION"),
    (r"in (?:prefill|decode, batch N)", "in PHASE"),
)
# Sentences of one warning are joined with a full stop and begin in small letters.
_SENTENCE = re.compile(r"(?<=[\w%)])\. (?=[a-z])")


@dataclass(frozen=True)
class _Said:
    """One sentence, with the chips that it is about in words, or ""."""

    chips: str
    sentence: str

    @property
    def whole(self) -> str:
        return f"{self.chips}: {self.sentence}" if self.chips else self.sentence


def by_kind(
    warnings: Sequence[str], chips: Sequence[str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return a line per kind of warning, and the sentences of the kind if there are several.

    Args:
        warnings: sentences; those about chips begin with their names and a colon.
        chips: names of chips.
    """
    kinds: dict[str, list[_Said]] = {}
    for warning in warnings:
        for said in _sentences(warning, set(chips)):
            kinds.setdefault(_kind(said.sentence), []).append(said)
    return tuple(_line(found) for found in kinds.values())


def _sentences(warning: str, chips: set[str]) -> list[_Said]:
    head, colon, rest = warning.partition(": ")
    about = bool(colon) and (head == "all chips" or set(head.split(", ")) <= chips)
    if not about:
        return [_Said("", warning)]
    return [_Said(head, sentence) for sentence in _SENTENCE.split(rest)]


def _kind(sentence: str) -> str:
    for pattern, word in _VARIES:
        sentence = re.sub(pattern, word, sentence)
    # What stands in brackets says why; warnings with other reasons are of one kind.
    return re.sub(r"\s*\([^)]*\)", "", sentence).strip()


def _line(found: Sequence[_Said]) -> tuple[str, tuple[str, ...]]:
    first = found[0]
    if len(found) == 1:
        return first.whole, ()
    chips = list(dict.fromkeys(name for said in found for name in said.chips.split(", ") if name))
    where = f" on {len(chips)} chips" if len(chips) > 1 else ""
    return f"{len(found)} times{where}, first: {first.whole}", tuple(said.whole for said in found)
