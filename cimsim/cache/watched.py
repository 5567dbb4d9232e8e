"""Views of what a stage is given that note every field it reads.

A stage that is given a view of its chip can depend on the fields that it read through it, and on
no other. `Reads` maps each of them, by its dotted path, to a digest of the value:

    config.tile.adc.bits -> digest of 8        config.tile.device -> digest of "Gaussian"

Walking into a section notes of which class it is, for classes decide which fields there are.
What treats a section as a whole (equality, hashing, dumping) reads all of it. A copy with
other values (`model_copy`) is a view too: what was replaced is known already and not noted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from cimsim.results.packed import digest_of

__all__ = ["Reads", "value_at", "watched"]

MISSING = "missing"
# Methods that treat a section as a whole.
WHOLE = (
    "__eq__", "__hash__", "__iter__", "__repr__", "__str__", "__reduce_ex__", "__copy__",
    "__deepcopy__", "model_dump", "model_dump_json",
)  # fmt: skip

Reads = dict[str, str]
"""Digest of every value that was read, by its path."""


def watched(value: Any, path: str, reads: Reads) -> Any:
    """Return a view of a frozen section or dataclass.

    Args:
        value: what is viewed.
        path: its name.
        reads: what is read is noted here.
    """
    return _view(value, path, reads, {})


def value_at(roots: Mapping[str, Any], path: str) -> str:
    """Return the digest that reading a path would note, of other values.

    Args:
        roots: values by the first word of a path.
        path: dotted path.
    """
    first, *names = path.split(".")
    value = roots[first]
    for name in names:
        if not _is_section(value) or name not in _names(_class_of(value)):
            return MISSING
        value = getattr(value, name)
    return _noted(value)


def _class_of(value: object) -> Any:
    return type(value)


def _is_section(value: object) -> bool:
    return isinstance(value, BaseModel) or (is_dataclass(value) and not isinstance(value, type))


def _noted(value: object) -> str:
    """Return what is noted of a value: of a section, its class."""
    return digest_of(type(value).__name__ if isinstance(value, BaseModel) else value)


@cache
def _names(cls: Any) -> frozenset[str]:
    if issubclass(cls, BaseModel):
        return frozenset(cls.model_fields)
    return frozenset(f.name for f in fields(cls))


def _view(source: Any, path: str, reads: Reads, replaced: Mapping[str, Any]) -> Any:
    view: Any = object.__new__(_view_class(_class_of(source)))
    object.__setattr__(view, "__dict__", {"_watch": (source, path, reads, dict(replaced), {})})
    return view


@cache
def _view_class(cls: Any) -> type:
    """Return a subclass of a section's class whose instances are views."""
    names = _names(cls)

    def read(self: Any, name: str) -> Any:
        if name not in names:
            return object.__getattribute__(self, name)
        source, path, reads, replaced, seen = object.__getattribute__(self, "__dict__")["_watch"]
        if name in replaced:
            return replaced[name]
        if name not in seen:
            value, place = getattr(source, name), f"{path}.{name}"
            reads[place] = _noted(value)
            seen[name] = _view(value, place, reads, {}) if isinstance(value, BaseModel) else value
        return seen[name]

    def whole(method: str) -> Any:
        def call(self: Any, *arguments: Any, **options: Any) -> Any:
            return getattr(_real(self), method)(*[_real(a) for a in arguments], **options)

        return call

    def model_copy(self: Any, *, update: Mapping[str, Any] | None = None) -> Any:
        source, path, reads, replaced, _ = object.__getattribute__(self, "__dict__")["_watch"]
        return _view(source, path, reads, {**replaced, **(update or {})})

    body: dict[str, Any] = {
        "__getattribute__": read,
        "__doc__": cls.__doc__,
        "__module__": __name__,
    }
    if issubclass(cls, BaseModel):
        body |= {method: whole(method) for method in WHOLE} | {"model_copy": model_copy}
    made: type = type(cls)(cls.__name__, (cls,), body)
    return made


def _real(value: Any) -> Any:
    """Return what a view shows, every part of it read; other values are returned as they are."""
    if type(value).__module__ != __name__:
        return value
    names = _names(_class_of(value))
    parts = {name: _real(getattr(value, name)) for name in names}
    source = object.__getattribute__(value, "__dict__")["_watch"][0]
    return source.model_copy(update=parts)
