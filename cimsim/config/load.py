"""From a YAML file to a validated chip: inheritance, overrides, messages, identity.

`extends:` names another chip file, relative to the file that says it or the name of a
bundled chip; keys of the file win over the keys it inherits. Overrides (``--set``) win
over both. Where a `kind` changes, inherited keys of the other kind are dropped.
"""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from pathlib import Path

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cimsim.config.bundled import bundled_chips, bundled_folder, find_chip, find_parent
from cimsim.config.chip import SHAPE_FILES, ChipConfig
from cimsim.config.knobs import ANY_NAME, find_knobs, section_keys
from cimsim.config.measured_file import put_measurements
from cimsim.config.migration import new_name, new_value, refuse_old_format
from cimsim.config.supply import at_supply, hold_supply, operating_point
from cimsim.config.yaml_tree import (
    MAX_DEPTH,
    Mark,
    Path_,
    Value,
    YamlTree,
    parse_scalar,
    parse_yaml,
    read_yaml,
)
from cimsim.errors import CimsimError, nearest
from cimsim.text_file import is_file

__all__ = [
    "ChipFile",
    "bundled_chips",
    "bundled_folder",
    "config_hash",
    "dump_yaml",
    "find_chip",
    "load_chip",
    "parse_chip",
]

MAX_EXTENDS = 8


def load_chip(path: Path, overrides: tuple[str, ...] = ()) -> ChipConfig:
    """Read, merge and validate one chip.

    Args:
        path: the chip's YAML file.
        overrides: ``dotted.path=value`` strings that win over the file.

    Raises:
        CimsimError: naming file, line, column, key, value and what is allowed.
    """
    return ChipFile(path).resolve(overrides)


def parse_chip(text: str, file: str, overrides: tuple[str, ...] = ()) -> ChipConfig:
    """Return a resolved chip from the text that `dump_yaml` gave.

    Args:
        text: the whole chip, which extends nothing.
        file: its name in messages.
        overrides: ``dotted.path=value`` strings that win over it.

    Raises:
        CimsimError: naming file, line, column, key, value and what is allowed.
    """
    tree = parse_yaml(text, file)
    _apply_overrides(tree, overrides)
    return at_supply(_validate(tree, Path(file)))


class ChipFile:
    """One chip file, read once, for the many chips that overrides make of it.

    Args:
        path: the chip's YAML file.

    Raises:
        CimsimError: if the file or one that it extends cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tree = _read_with_parents(path, ())

    def resolve(self, overrides: tuple[str, ...] = ()) -> ChipConfig:
        """Return the validated chip with overrides; arguments and errors are `load_chip`'s."""
        tree = YamlTree(deepcopy(self._tree.value), dict(self._tree.marks))
        _apply_overrides(tree, overrides)
        return at_supply(_validate(tree, self.path))


def config_hash(config: ChipConfig) -> str:
    """Return the identity of a chip: sha256 of its resolved configuration, in hex."""
    canonical = json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def dump_yaml(config: ChipConfig) -> str:
    """Return the resolved configuration as YAML text that `load_chip` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, width=100)


def _read_with_parents(path: Path, seen: tuple[Path, ...]) -> YamlTree:
    real = path.resolve()
    if real in seen or len(seen) >= MAX_EXTENDS:
        raise CimsimError(
            "extends leads in a circle or too far",
            file=path,
            key="extends",
            allowed=f"at most {MAX_EXTENDS} files in a chain",
        )
    tree = read_yaml(path)
    refuse_old_format(tree, str(path))
    _find_shape_beside(tree, path)
    parent = tree.value.pop("extends", None)
    if parent is None:
        return tree
    mark = tree.marks.get(("extends",))
    if not isinstance(parent, str):
        raise CimsimError(
            "must name a chip file",
            file=path,
            line=mark.line if mark else None,
            key="extends",
            value=parent,
        )
    beside = path.parent / parent
    try:
        target = beside if is_file(beside) else find_parent(parent)
    except CimsimError as error:
        raise CimsimError(
            "names a chip that does not exist",
            file=path,
            line=mark.line if mark else None,
            key="extends",
            value=parent,
            hint=error.hint,
        ) from error
    base = _read_with_parents(target, (*seen, real))
    base.value.pop("name", None)  # a chip without a name is named after its own file
    before = operating_point(base.value)
    _merge(base, tree, ())
    if "vdd_v" in before:  # of a parent that says one
        hold_supply(base.value, before)
    return base


def _find_shape_beside(tree: YamlTree, path: Path) -> None:
    """Take a shape file that lies beside the chip file, or as far from it as its path says."""
    workload = tree.value.get("workload")
    shape = workload.get("shape") if isinstance(workload, dict) else None
    if isinstance(workload, dict) and isinstance(shape, str) and shape.endswith(SHAPE_FILES):
        beside = path.parent / shape
        workload["shape"] = str(beside) if is_file(beside) else shape


def _apply_overrides(tree: YamlTree, overrides: tuple[str, ...]) -> None:
    before = operating_point(tree.value)
    for text in overrides:
        _apply_override(tree, text)
    hold_supply(tree.value, before)


def _merge(base: YamlTree, child: YamlTree, path: Path_) -> None:
    """Lay a child's keys over its parent's, in place."""
    base_at, child_at = _at(base.value, path), _at(child.value, path)
    if "kind" in child_at:
        _become(base_at, tuple(str(p) for p in path), child_at["kind"])
    for key, value in child_at.items():
        here = (*path, key)
        if isinstance(value, dict) and isinstance(base_at.get(key), dict):
            _merge(base, child, here)
        else:
            base_at[key] = value
            for known in [p for p in base.marks if p[: len(here)] == here]:
                del base.marks[known]
        for known, mark in child.marks.items():
            if known[: len(here)] == here:
                base.marks[known] = mark


def _become(section: dict[str, Value], path: tuple[str, ...], kind: Value) -> None:
    """Drop what a section of another kind does not have, if the kind changes."""
    if section.get("kind") == kind:
        return
    keep = section_keys(path, str(kind))
    for key in [k for k in section if k not in keep]:
        del section[key]


def _at(value: dict[str, Value], path: Path_) -> dict[str, Value]:
    for key in path:
        inner = value[str(key)]
        if not isinstance(inner, dict):
            raise CimsimError("must be a mapping", key=".".join(map(str, path)), value=inner)
        value = inner
    return value


def _apply_override(tree: YamlTree, text: str) -> None:
    path, sign, raw = text.partition("=")
    keys = tuple(path.strip().split("."))
    if not sign or not all(keys) or len(keys) > MAX_DEPTH:
        raise CimsimError(
            "an override must read KEY=VALUE",
            file="--set",
            value=text,
            allowed="e.g. tile.adc.bits=6",
        )
    raw = raw.strip()
    if not text.isprintable():
        raise CimsimError("holds a character that cannot be shown", file="--set", value=text)
    structured = raw.startswith(("[", "{"))
    value = parse_yaml(f"value: {raw}", "--set").value["value"] if structured else parse_scalar(raw)
    at = tree.value
    for depth, key in enumerate(keys[:-1], start=1):
        if key not in at and section_keys(keys[:depth]):
            at[key] = _default_kind(keys[:depth])
        inner = at.get(key)
        if not _allows(keys[: depth - 1], key):
            raise _unknown_key(keys, "--set", None)
        if not isinstance(inner, dict):
            raise CimsimError("has no keys below it", file="--set", key=".".join(keys[:depth]))
        at = inner
    name = keys[-1]
    if not _allows(keys[:-1], name):
        raise _unknown_key(keys, "--set", None)
    if name == "kind":
        _become(at, keys[:-1], value)
    at[name] = value
    for depth in range(1, len(keys) + 1):
        tree.marks.setdefault(keys[:depth], Mark("--set"))
    tree.marks[keys] = Mark("--set")


def _allows(path: tuple[str, ...], key: str) -> bool:
    known = section_keys(path)
    return key in known or known == (ANY_NAME,)


def _default_kind(keys: tuple[str, ...]) -> dict[str, Value]:
    """Return what a section that no file mentions starts from: its default kind, if any."""
    section: object = ChipConfig(name="default")
    for key in keys:
        section = getattr(section, key, None)
    kind = getattr(section, "kind", None)
    return {} if kind is None else {"kind": kind}


def _validate(tree: YamlTree, path: Path) -> ChipConfig:
    if "name" not in tree.value:
        tree.value["name"] = path.stem
    put_measurements(tree, path)
    try:
        return ChipConfig.model_validate_json(json.dumps(tree.value), strict=True)
    except ValidationError as error:
        raise _explain(error.errors()[0], tree, path) from error


def _explain(error: ErrorDetails, tree: YamlTree, path: Path) -> CimsimError:
    keys = _real_keys(error["loc"], tree.value)
    if error["type"] == "extra_forbidden":
        texts, kind = tuple(str(k) for k in keys), _kind_at(tree.value, keys[:-1])
        return _unknown_key(texts, str(path), tree.marks.get(keys), kind)
    mark = tree.nearest_mark(keys)
    dotted = ".".join(str(k) for k in keys)
    allowed = hint = None
    named = ".".join(str(k) for k in keys if not isinstance(k, int))  # of the list, for an item
    knob = next((k for k in find_knobs() if k.path == named), None)
    if knob is not None:
        unit = f" {knob.unit}" if knob.unit != "1" else ""
        allowed = " ".join(p for p in (knob.type_name, knob.bounds) if p) + unit
    value = error.get("input")
    if error["type"] == "union_tag_invalid":
        context = error.get("ctx", {})
        allowed = str(context.get("expected_tags", "")).replace("'", "")
        value = context.get("tag")
        dotted += ".kind"
        mark = tree.marks.get((*keys, "kind"), mark)
        hint = nearest(str(value), [t.strip() for t in allowed.split(",")])
    elif error["type"] == "literal_error" and knob is not None and isinstance(value, str):
        now = new_value(knob.path, value)
        hint = f"it is now {now!r}" if now else nearest(value, knob.type_name.split(" | "))
    elif value is None and error["type"].endswith("_type") and knob is None:
        known = section_keys(tuple(str(k) for k in keys))
        allowed = f"keys such as {', '.join(known[:4])}; or leave it out" if known else None
    missing = error["type"] in {"missing", "union_tag_not_found"}
    if error["type"] == "union_tag_not_found":
        dotted += ".kind"
    empty = value is None and error["type"].endswith("_type")
    message = "is missing" if missing else "is empty" if empty else _message(error)
    return CimsimError(
        message,
        file=mark.file if mark else path,
        line=mark.line if mark else None,
        column=mark.column if mark else None,
        key=dotted or None,
        value=None if missing or isinstance(value, dict | list) else value,
        allowed=allowed,
        hint=hint,
    )


def _message(error: ErrorDetails) -> str:
    if error["type"] == "value_error":
        return error["msg"].removeprefix("Value error, ")
    if error["type"].endswith(("_type", "_parsing")):
        return "has the wrong type"
    if error["type"] == "literal_error":
        return "is not one of the allowed names"
    if error["type"] == "union_tag_invalid":
        return "is not a known kind"
    return error["msg"].replace("Input", "value", 1)


def _real_keys(loc: tuple[int | str, ...], value: Value) -> Path_:
    """Drop the union tags that pydantic puts between the keys of a path."""
    keys: list[str | int] = []
    for i, part in enumerate(loc):
        if isinstance(value, dict):
            if part in value:
                keys.append(part)
                value = value[str(part)]
            elif value.get("kind") == part:
                continue
            elif i == len(loc) - 1:
                keys.append(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            keys.append(part)
            value = value[part]
    return tuple(keys)


def _kind_at(value: Value, path: Path_) -> str | None:
    """Return the kind that a file gives a section, or None."""
    for key in path:
        if isinstance(value, dict):
            value = value[str(key)]
        elif isinstance(value, list):
            value = value[int(key)]
    kind = value.get("kind") if isinstance(value, dict) else None
    return None if kind is None else str(kind)


def _unknown_key(
    keys: tuple[str, ...], file: str, mark: Mark | None, kind: str | None = None
) -> CimsimError:
    # The innermost section that exists names the alternatives.
    depth = len(keys) - 1
    while depth and not section_keys(keys[:depth]):
        depth -= 1
    known = section_keys(keys[:depth], kind)
    wrong = keys[depth]
    now = new_name(".".join(keys))
    hint = f"it is now {now}" if now else nearest(wrong, known)
    owners = [k for k in find_knobs() if k.path == ".".join(keys) and k.kinds]
    if owners and kind is not None:
        hint = f"it belongs to kind {', '.join(owners[0].kinds)}"
    if hint is None:
        paths = [k.path for k in find_knobs()]
        ending = [p for p in paths if p.split(".")[-1] == keys[-1]]
        hint = nearest(".".join(keys), ending or paths)
    return CimsimError(
        "is not a known key",
        file=mark.file if mark else file,
        line=mark.line if mark else None,
        column=mark.column if mark else None,
        key=".".join(keys[: depth + 1]),
        allowed=", ".join(known),
        hint=hint,
    )
