"""Safe YAML with line marks: plain values plus where each of them stands.

Only the YAML 1.2 core schema is read: null, booleans, integers, floats and strings, so
``1e-3`` is a number and ``on`` is a word. Tags, duplicate keys and over-large documents
are refused before anything is built (alias bombs: PyYAML issue 235).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from cimsim.errors import CimsimError
from cimsim.text_file import read_text_file

__all__ = ["MAX_DEPTH", "Mark", "YamlTree", "parse_scalar", "parse_yaml", "read_yaml"]

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_ALIASES = 64
MAX_NODES = 100_000

_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Mark:
    """A place in a file, 1-based; what is set on the command line has no line."""

    file: str
    line: int | None = None
    column: int | None = None


@dataclass
class YamlTree:
    """A document as plain values, and the mark of every key and item by path."""

    value: dict[str, Value]
    marks: dict[Path_, Mark] = field(default_factory=dict)

    def nearest_mark(self, path: Path_) -> Mark | None:
        """Return the mark of a path, or of the innermost section of it that has one."""
        above = (path[:n] for n in range(len(path), -1, -1))
        return next((self.marks[part] for part in above if part in self.marks), None)


def parse_scalar(text: str) -> Value:
    """Return the value of a plain scalar under the YAML 1.2 core schema."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.match(text):
        return int(text) if len(text) <= 40 else float(text)
    if _FLOAT.match(text):
        return float(text)
    return text


def read_yaml(path: Path) -> YamlTree:
    """Read a mapping from a YAML file.

    Raises:
        CimsimError: if the file is missing, unreadable, too large or not a safe mapping.
    """
    return parse_yaml(read_text_file(path, "YAML file", most_bytes=MAX_BYTES), str(path))


def parse_yaml(text: str, file: str) -> YamlTree:
    """Parse YAML text that must be one mapping.

    Args:
        text: the document.
        file: its name in messages.

    Raises:
        CimsimError: on bad syntax or anything outside the safe subset.
    """
    try:
        _check_events(text, file)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise CimsimError(
            f"bad YAML: {error.problem or error.context}",
            file=file,
            line=mark.line + 1 if mark else None,
            column=mark.column + 1 if mark else None,
        ) from error
    except yaml.YAMLError as error:
        raise CimsimError(f"bad YAML: {error}".splitlines()[0], file=file) from error
    if not isinstance(node, yaml.MappingNode):
        raise CimsimError("must hold a mapping of keys", file=file, line=1)
    tree = YamlTree({})
    value = _build(node, (), tree, file)
    assert isinstance(value, dict)  # noqa: S101 - a mapping node builds a dict
    tree.value = value
    return tree


def _check_events(text: str, file: str) -> None:
    """Refuse depth, aliases, tags and size before a node is built."""
    depth = aliases = nodes = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        mark = event.start_mark

        def refuse(
            what: str, allowed: str, line: int = mark.line + 1 if mark else 1
        ) -> CimsimError:
            return CimsimError(what, file=file, line=line, allowed=allowed)

        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag:
            raise refuse(f"tag {event.tag!r} is not allowed", "plain values")
        if depth > MAX_DEPTH:
            raise refuse("nested too deeply", f"{MAX_DEPTH} levels")
        if aliases > MAX_ALIASES:
            raise refuse("too many aliases", str(MAX_ALIASES))
        if nodes > MAX_NODES:
            raise refuse("too many values", str(MAX_NODES))


def _build(node: yaml.Node, path: Path_, tree: YamlTree, file: str) -> Value:
    tree.marks.setdefault(path, Mark(file, node.start_mark.line + 1, node.start_mark.column + 1))
    if len(tree.marks) > MAX_NODES:
        raise CimsimError("too many values", file=file, allowed=str(MAX_NODES))
    if len(path) > MAX_DEPTH:  # an alias of what it stands in
        line = node.start_mark.line + 1
        raise CimsimError("nested too deeply", file=file, line=line, allowed=f"{MAX_DEPTH} levels")
    if isinstance(node, yaml.ScalarNode):
        _check_text(node, file)
        return parse_scalar(node.value) if node.style is None else str(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, i), tree, file) for i, item in enumerate(node.value)]
    result: dict[str, Value] = {}
    for key_node, value_node in node.value:
        line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise CimsimError("a key must be a word", file=file, line=line, column=column)
        _check_text(key_node, file)
        key = str(key_node.value)
        if key in result:
            raise CimsimError(
                "appears twice",
                file=file,
                line=line,
                column=column,
                key=".".join(str(p) for p in (*path, key)),
            )
        tree.marks[(*path, key)] = Mark(file, line, column)
        result[key] = _build(value_node, (*path, key), tree, file)
    return result


def _check_text(node: yaml.ScalarNode, file: str) -> None:
    """Refuse what is no text that can be shown: controls, surrogates, marks of direction."""
    text = str(node.value).replace("\n", "").replace("\t", "").replace("\N{NO-BREAK SPACE}", "")
    if not text.isprintable():
        raise CimsimError(
            "holds a character that cannot be shown",
            file=file,
            line=node.start_mark.line + 1,
            column=node.start_mark.column + 1,
            value=next(c for c in text if not c.isprintable()),
            allowed="printable text",
        )
