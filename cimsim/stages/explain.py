"""Every name that a user can meet, and what it is: knobs, columns, parts, constants, words.

A name may be several things at once (`tile.adc.bits` is a knob, `adc` a component and a group
of constants): all of them are told. Words of reports come from the glossary of the project.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path

from cimsim.config import ChipConfig
from cimsim.config.knobs import find_knobs
from cimsim.cost.explain import knob_value, lines_for
from cimsim.cost.explain import names as cost_names
from cimsim.errors import CimsimError
from cimsim.stages.columns.registry import find_columns, run_tables

__all__ = ["Entry", "entries", "explain", "search"]

SEE_ALSO = 8


@dataclass(frozen=True)
class Entry:
    """One name.

    Attributes:
        name: as it is written.
        kind: knob, section, table, column of a file, component, constant or word.
        meaning: what it is, in a sentence or two.
    """

    name: str
    kind: str
    meaning: str

    @property
    def brief(self) -> str:
        """The entry on one line."""
        return f"{self.name}  ({self.kind}): {self.meaning}"


def entries() -> tuple[Entry, ...]:
    """Return every name that `explain` knows; some stand for several things."""
    found = [Entry(k.path, "knob", k.meaning) for k in find_knobs()]
    found += [Entry(s, "section", "Knobs of a chip file.") for s in _sections()]
    for table in run_tables():
        found.append(Entry(table.name, "table", table.meaning))
        found += [Entry(c.name, f"column of {table.name}.csv", c.meaning) for c in table.columns]
    found += [Entry(name, kind, meaning) for name, kind, meaning in cost_names()]
    for words, meaning in _glossary().items():
        found += [Entry(word, "word", meaning) for word in words.split(", ")]
    return tuple(found)


def explain(key: str, config: ChipConfig) -> list[str]:
    """Return everything that a name is, as lines of text.

    Args:
        key: a knob, section, table, column, component, constant or word.
        config: the chip whose values are shown.

    Raises:
        CimsimError: if nothing has this name; it names the nearest ones.
    """
    lines = [
        *lines_for(key, config),
        *_section(key.removesuffix("."), config),
        *_table(key.removesuffix(".csv")),
        *_columns(key),
        *_words(key),
    ]
    if not lines:
        raise _unknown(key)
    others = _see_also(key)
    return [*lines, f"see also: {', '.join(others)}"] if others else lines


def search(words: str) -> list[Entry]:
    """Return the entries whose name or meaning holds every one of some words.

    Raises:
        CimsimError: if there is none.
    """
    wanted = words.lower().split()
    found = [e for e in entries() if all(w in e.brief.lower() for w in wanted)]
    if not found:
        raise CimsimError("is in no name and no meaning", key="--search", value=words)
    # Those that have it in their name come first.
    return sorted(found, key=lambda e: not all(w in e.name.lower() for w in wanted))


def _sections() -> tuple[str, ...]:
    parts = [k.path.split(".") for k in find_knobs()]
    return tuple(dict.fromkeys(".".join(p[:n]) for p in parts for n in range(1, len(p))))


def _section(key: str, config: ChipConfig) -> Iterator[str]:
    """List the knobs below a key."""
    below = [k for k in find_knobs() if k.path.startswith(f"{key}.")]
    if below:
        yield f"{key}  (section of a chip file; {len(below)} knobs)"
    for knob in below:
        yield f"  {knob.path} = {knob_value(knob, config)}: {knob.meaning}"


def _table(key: str) -> Iterator[str]:
    for table in run_tables():
        if table.name == key:
            yield f"{table.name}.csv  (table)"
            yield f"  {table.meaning}"
            yield f"  columns: {', '.join(c.name for c in table.columns)}"


def _columns(key: str) -> list[str]:
    """Explain the columns of a name, ``table.name``, or the last word of a knob."""
    name = key.rpartition(".")[2] if _is_knob(key) else key.replace(" ", "_")
    return [column.explained(table.name) for table, column in find_columns(name)]


def _is_knob(key: str) -> bool:
    return any(knob.path == key for knob in find_knobs())


def _words(key: str) -> Iterator[str]:
    wanted = _normal(key)
    for words, meaning in _glossary().items():
        names = {_normal(word) for word in words.split(", ")}
        if names & {wanted, wanted.removesuffix("s"), f"{wanted}s"}:
            yield f"{words}  (word)"
            yield f"  {meaning}"


def _normal(word: str) -> str:
    """Return a word as it is compared: case, hyphens and the like do not matter."""
    plain = word.lower().replace("/", " per ").replace("²", "2")
    return re.sub(r"[\s_,-]+", " ", plain).strip()


@cache
def _glossary() -> dict[str, str]:
    """Read words and meanings from the tables of the glossary."""
    packaged = Path(str(files("cimsim"))) / "_glossary.md"
    source = Path(__file__).resolve().parents[2] / "docs" / "glossary.md"
    text = (packaged if packaged.is_file() else source).read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", text, flags=re.MULTILINE)
    plain = [[re.sub(r"[*`]", "", cell) for cell in row] for row in rows]
    return {word: meaning for word, meaning in plain if word != "word"}


def _see_also(key: str) -> list[str]:
    """Return names that have the key as a whole part, such as `tpot_p50_us_b1` of tpot."""
    own = _normal(key)
    found = []
    for entry in entries():
        parts = _normal(entry.name.replace(".", " ")).split()
        if own in parts and entry.name != key and entry.kind != "word":
            found.append(entry.name)
    unique = list(dict.fromkeys(found))
    more = len(unique) - SEE_ALSO
    return [*unique[:SEE_ALSO], f"{more} more (--search {key})"] if more > 0 else unique


def _unknown(key: str) -> CimsimError:
    """Say what comes nearest: names alike, of the same last word, or that hold the key."""
    names = list(dict.fromkeys(e.name for e in entries()))
    last = key.rpartition(".")[2].lower()
    near = get_close_matches(key, names, n=3, cutoff=0.6)
    near += [n for n in names if last and n.rpartition(".")[2].lower() == last]
    near += [n for n in names if last and last in n.lower()]
    close = [repr(n) for n in dict.fromkeys(near)][:3]
    ask = "cimsim explain --search WORD looks through names and meanings"
    return CimsimError(
        "nothing has this name",
        key=key,
        allowed="a knob or section of a chip file, a table, a column, a component, a constant or "
        "a word of the report",
        hint=f"did you mean {' or '.join(close)}? {ask}" if close else ask,
    )
