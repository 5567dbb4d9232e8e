"""Formats of chip files: what each one renamed, and how older files are rewritten.

A chip file says its format in ``cimsim: N``. Files of an older format are refused with the
names that changed; ``cimsim migrate`` writes the new names into the file and leaves comments,
order and layout as they are. Adding a format is a new entry of `RENAMED`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import yaml

from cimsim.config.yaml_tree import Mark, Path_, Value, YamlTree, parse_yaml
from cimsim.errors import CimsimError

__all__ = ["FORMAT", "Change", "migrate_text", "new_name", "new_value", "refuse_old_format"]

FORMAT = 2
"""The format of chip files that this version reads."""


class Renamed(NamedTuple):
    """What one format renamed.

    Attributes:
        keys: dotted path of a knob before: the last part of its name after.
        values: dotted path of a knob: its words before and after.
    """

    keys: dict[str, str]
    values: dict[str, dict[str, str]]


RENAMED: dict[int, Renamed] = {
    2: Renamed(
        # "gbps" is read as gigabits; both are gigabytes.
        keys={"memory.channel_gbps": "channel_gb_per_s", "system.link.gbps": "gb_per_s"},
        # The two engines are named after what schedules their events.
        values={"run.engine": {"reference": "simpy"}},
    )
}


@dataclass(frozen=True)
class Change:
    """One word that a migration rewrites.

    Attributes:
        path: dotted path of the knob, as it was.
        old, new: the word before and after.
        line: 1-based line of the file.
    """

    path: str
    old: str
    new: str
    line: int

    def __str__(self) -> str:
        return f"line {self.line}: {self.path}: {self.old} -> {self.new}"


def new_name(path: str) -> str | None:
    """Return today's dotted path of a knob that an older format named otherwise, or None."""
    for renamed in RENAMED.values():
        if path in renamed.keys:
            return ".".join([*path.split(".")[:-1], renamed.keys[path]])
    return None


def new_value(path: str, value: object) -> str | None:
    """Return today's word for a value that an older format of a knob had, or None."""
    for renamed in RENAMED.values():
        if isinstance(value, str) and value in renamed.values.get(path, {}):
            return renamed.values[path][value]
    return None


def refuse_old_format(tree: YamlTree, file: str) -> None:
    """Refuse a file of an older format.

    Raises:
        CimsimError: naming what was renamed since, and the command that rewrites the file.
    """
    found = tree.value.get("cimsim")
    if isinstance(found, bool) or not isinstance(found, int) or not 0 < found < FORMAT:
        return
    mark = tree.marks.get(("cimsim",), Mark(file, 1, 1))
    old = ", ".join(f"{path} ({word})" for path, word in _old_words(tree.value, ()))
    raise CimsimError(
        f"is an older format{f', with names that have changed: {old}' if old else ''}",
        file=mark.file,
        line=mark.line,
        column=mark.column,
        key="cimsim",
        value=found,
        allowed=str(FORMAT),
        hint=f"`cimsim migrate {shlex.quote(file)}` rewrites the file",
    )


def _old_words(value: dict[str, Value], above: Path_) -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        path = ".".join(str(part) for part in (*above, key))
        if isinstance(inner, dict):
            yield from _old_words(inner, (*above, key))
        if name := new_name(path):
            yield path, f"now {name}"
        if word := new_value(path, inner):
            yield f"{path}: {inner}", f"now {word}"


def migrate_text(text: str, file: str) -> tuple[str, list[Change]]:
    """Return a chip file in today's format, and what was rewritten.

    Args:
        text: the file, without a byte order mark.
        file: its name in messages.

    Raises:
        CimsimError: if it is no mapping in safe YAML, or its format is newer than ours.
    """
    found = parse_yaml(text, file).value.get("cimsim", FORMAT)
    if isinstance(found, int) and found > FORMAT:
        raise CimsimError(
            "is a newer format", file=file, key="cimsim", value=found, allowed=f"up to {FORMAT}"
        )
    edits = list(_edits(yaml.compose(text, Loader=yaml.SafeLoader), ()))
    for node, change in sorted(edits, key=lambda edit: edit[0].start_mark.index, reverse=True):
        quote = node.style or ""
        new = f"{quote}{change.new}{quote}"
        text = text[: node.start_mark.index] + new + text[node.end_mark.index :]
    return text, [change for _, change in edits]


def _edits(node: yaml.Node | None, above: Path_) -> Iterator[tuple[yaml.ScalarNode, Change]]:
    """Yield the scalars of a mapping that carry an old name, and what becomes of them."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        path = ".".join([*map(str, above), key.value])
        if name := new_name(path):
            yield key, _change(path, key, name.rpartition(".")[2])
        if isinstance(value, yaml.ScalarNode):
            if path == "cimsim" and value.value != str(FORMAT):
                yield value, _change(path, value, str(FORMAT))
            elif word := new_value(path, value.value):
                yield value, _change(path, value, word)
        yield from _edits(value, (*above, key.value))


def _change(path: str, node: yaml.ScalarNode, new: str) -> Change:
    return Change(path, str(node.value), new, node.start_mark.line + 1)
