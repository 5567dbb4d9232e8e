"""From a YAML file to one validated section; messages name file, line, key and what is allowed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cimsim.config.section import Section
from cimsim.config.yaml_tree import Mark, Path_, Value, YamlTree, read_yaml
from cimsim.errors import CimsimError, nearest

__all__ = ["SectionFile", "load_section"]

Whole = TypeVar("Whole", bound=Section)
Kinds = Mapping[str, type[Section]]


@dataclass(frozen=True)
class SectionFile(Generic[Whole]):
    """A section as read, and where each of its keys stands.

    Attributes:
        section: validated.
        marks: place of every key and item by path.
    """

    section: Whole
    marks: Mapping[Path_, Mark]

    def refusal(self, message: str, keys: Path_, allowed: str) -> CimsimError:
        """Return an error at an entry."""
        mark = self.marks[keys]
        return CimsimError(
            message,
            file=mark.file,
            line=mark.line,
            column=mark.column,
            key=".".join(map(str, keys)),
            allowed=allowed,
        )


def load_section(path: Path, model: type[Whole], kinds: Kinds) -> SectionFile[Whole]:
    """Read and validate one section; without a name it is named after its file.

    Args:
        path: the file.
        model: of the whole file.
        kinds: sections that a `kind` chooses, by its value; none where there is no choice.

    Raises:
        CimsimError: naming file, line, column, key, value and what is allowed.
    """
    tree = read_yaml(path)
    tree.value.setdefault("name", path.stem)
    try:
        section = model.model_validate_json(json.dumps(tree.value), strict=True)
    except ValidationError as error:
        # An unknown key first: what is missing is often what it should have been.
        telling = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        raise _explain(telling, tree, path, model, kinds) from error
    return SectionFile(section, tree.marks)


def _explain(
    error: ErrorDetails, tree: YamlTree, path: Path, root: type[Section], kinds: Kinds
) -> CimsimError:
    keys, model = _place(error["loc"], tree.value, root, kinds)
    value, allowed, hint = error.get("input"), None, None
    message = error["msg"].removeprefix("Value error, ").replace("Input", "value", 1)
    match error["type"]:
        case "extra_forbidden":
            known = list(model.model_fields)
            message, value, allowed = "is not a known key", None, ", ".join(known)
            hint = nearest(str(keys[-1]), known)
        case "missing":
            message, value, allowed = "is missing", None, _allowed(model, str(error["loc"][-1]))
        case "union_tag_invalid":
            keys, value = (*keys, "kind"), error.get("ctx", {}).get("tag")
            message, allowed = "is not a known kind", ", ".join(kinds)
            hint = nearest(str(value), kinds)
        case "union_tag_not_found":
            keys, value = (*keys, "kind"), None
            message, allowed = "is missing", ", ".join(kinds)
        case "too_short" | "too_long":
            most = error.get("ctx", {}).get("max_length")
            message, allowed = "has too few or too many", "two" if most else "one or more"
        case kind:
            allowed = _allowed(model, str(next(k for k in reversed(keys) if isinstance(k, str))))
            message = "has the wrong type" if kind.endswith("_type") else message
    mark = tree.nearest_mark(keys) or Mark(str(path))
    return CimsimError(
        message,
        file=mark.file,
        line=mark.line,
        column=mark.column,
        key=".".join(map(str, keys)) or None,
        value=None if isinstance(value, dict | list) else value,
        allowed=allowed,
        hint=hint,
    )


def _place(
    loc: tuple[int | str, ...], value: Value, model: type[Section], kinds: Kinds
) -> tuple[Path_, type[Section]]:
    """Return the keys of an error without tags of unions, and the section that they lie in."""
    keys: list[str | int] = []
    for i, part in enumerate(loc):
        if isinstance(value, dict) and part not in value and part in kinds:
            model = kinds[str(part)]
            continue
        if part == "[key]":  # of a mapping whose keys are names
            continue
        keys.append(part)
        if isinstance(value, dict):
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        field = model.model_fields.get(str(part))
        inner = None if field is None else field.annotation
        if isinstance(inner, type) and issubclass(inner, Section) and i < len(loc) - 1:
            model = inner
    return tuple(keys), model


def _allowed(model: type[Section], key: str) -> str | None:
    """Return what a key may be, in words, from its schema."""
    schema = model.model_json_schema()
    # A section that may hold itself is described under its name.
    schema = schema if "properties" in schema else schema["$defs"][model.__name__]
    field = schema["properties"].get(key, {})
    if "enum" in field:
        return ", ".join(map(str, field["enum"]))
    if "const" in field:
        return str(field["const"])
    field = next((f for f in field.get("anyOf", ()) if "minimum" in f), field)
    field = next(iter(field.get("prefixItems", ())), field)
    if "minimum" in field:
        return f"{field['minimum']} to {field['maximum']}"
    return None
