"""Every knob by its dotted path: meaning, unit, bounds, allowed names, default."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cimsim.config.chip import ChipConfig

__all__ = ["ANY_NAME", "Knob", "find_knobs", "section_keys"]

ANY_NAME = "NAME"  # stands for a name that the user chooses, e.g. cost.overrides.NAME


@dataclass(frozen=True)
class Knob:
    """One knob of a chip file.

    Attributes:
        path: dotted path, e.g. ``tile.adc.bits``.
        kinds: the `kind` values for which it exists; empty if always.
        type_name: its type in words.
        unit: unit of its value, "1" for a pure number or a name.
        meaning: what it models.
        bounds: allowed range in words, or "".
        default: value when a file does not say; None with `mandatory` if there is none.
        mandatory: whether a file must say it.
    """

    path: str
    kinds: tuple[str, ...]
    type_name: str
    unit: str
    meaning: str
    bounds: str
    default: object
    mandatory: bool


@cache
def find_knobs() -> tuple[Knob, ...]:
    """Return every knob of `ChipConfig` in file order; union members are merged by path."""
    merged: dict[str, Knob] = {}
    for knob in _walk(ChipConfig, "", ()):
        known = merged.get(knob.path)
        if known is None:
            merged[knob.path] = knob
        else:
            kinds = known.kinds + tuple(k for k in knob.kinds if k not in known.kinds)
            names = " | ".join(kinds) if knob.path.endswith(".kind") else known.type_name
            merged[knob.path] = replace(known, kinds=kinds, type_name=names)
    return tuple(merged.values())


def section_keys(path: tuple[str, ...], kind: str | None = None) -> tuple[str, ...]:
    """Return the keys allowed under a dotted path; `ANY_NAME` alone allows any.

    Args:
        path: keys from the top.
        kind: the discriminator given there, if any.
    """
    models: list[type[BaseModel]] = [ChipConfig]
    named: list[type[BaseModel]] = []  # sections under a name that the user chooses
    for key in path:
        if key.isdigit():  # an entry of a list
            continue
        fields = [m.model_fields[key].annotation for m in models if key in m.model_fields]
        models, named = (
            named or [m for a in fields for m in _models_of(_entry_of(a))],
            [m for a in fields for m in _named_models_of(a)],
        )
    if named:
        return (ANY_NAME,)
    if kind is not None:
        models = [m for m in models if _kind_of(m) == kind] or models
    return tuple(dict.fromkeys(k for m in models for k in m.model_fields))


def _walk(model: type[BaseModel], prefix: str, kinds: tuple[str, ...]) -> Iterator[Knob]:
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        inner = _models_of(field.annotation)
        named = _named_models_of(field.annotation)
        if named:
            path, inner = f"{path}.{ANY_NAME}", named
        if inner:
            for member in inner:
                kind = _kind_of(member)
                yield from _walk(member, f"{path}.", (kind,) if kind else kinds)
        else:
            yield _knob_of(path, field, kinds)


def _knob_of(path: str, field: FieldInfo, kinds: tuple[str, ...]) -> Knob:
    extra = field.json_schema_extra
    unit = str(extra.get("unit", "1")) if isinstance(extra, dict) else "1"
    bounds = []
    for item in (*field.metadata, *_inner_limits(field.annotation)):
        for name, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")):
            limit = getattr(item, name, None)
            if limit is not None:
                bounds.append(f"{sign} {limit:g}")
    mandatory = field.default is PydanticUndefined
    return Knob(
        path=path,
        kinds=kinds,
        type_name=_type_name(field.annotation),
        unit=unit,
        meaning=field.description or ("Selects the model." if path.endswith(".kind") else ""),
        bounds=" and ".join(dict.fromkeys(bounds)),
        default=None if mandatory else field.default,
        mandatory=mandatory,
    )


def _inner_limits(annotation: Any) -> Iterator[Any]:
    """Yield the limits of the members of a union, list or mapping."""
    for part in get_args(annotation):
        limited = get_args(part)[1:] if get_origin(part) is Annotated else ()
        for info in limited:
            yield from getattr(info, "metadata", ())
        if not limited:
            yield from _inner_limits(part)


def _models_of(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in {Annotated, Union, UnionType}:
        return [m for part in get_args(annotation) for m in _models_of(part)]
    return []


def _entry_of(annotation: Any) -> Any:
    """Return what a list holds, and anything else as it is."""
    return get_args(annotation)[0] if get_origin(annotation) is tuple else annotation


def _named_models_of(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections of a mapping from names to sections."""
    if get_origin(annotation) is dict:
        return _models_of(get_args(annotation)[1])
    return []


def _kind_of(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    if field is None or get_origin(field.annotation) is not Literal:
        return None
    values = get_args(field.annotation)
    return str(values[0]) if len(values) == 1 else None


def _type_name(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return " | ".join(str(v) for v in get_args(annotation))
    if origin is Annotated:
        return _type_name(get_args(annotation)[0])
    if origin in {Union, UnionType}:
        return " | ".join(_type_name(a) for a in get_args(annotation))
    if origin in {dict, tuple}:
        what = "list of" if origin is tuple else "mapping from names to"
        return f"{what} {_type_name(get_args(annotation)[origin is dict])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"{{{', '.join(annotation.model_fields)}}}"
    names: dict[Any, str] = {
        int: "integer", float: "number", str: "text", bool: "true | false", type(None): "null",
    }  # fmt: skip
    return names.get(annotation, str(annotation))
