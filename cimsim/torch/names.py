"""Which matrix of a decoder a module of a torch model is: the names of `cimsim.model.families`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from cimsim.model.families.family import FAMILIES, Family
from cimsim.workload.matrix import PART_OF_ROLE, MatrixId

__all__ = ["expert_layer", "matrix_of"]

_LAYER, _EXPERT = "77777", "88888"  # stand for numbers while names are made into patterns
_FUSED = re.compile(r"(?:.*\.)?layers\.(\d+)\.(?:[a-z_]+)\.experts")


def matrix_of(path: str, layers: int) -> MatrixId | None:
    """Return the matrix that the weight of a module is, None if no family has such a name.

    Args:
        path: of the module, as in `named_modules`.
        layers: of the model; the head comes after them.
    """
    for pattern, role in _patterns():
        found = pattern.fullmatch(path)
        if found is None:
            continue
        groups = found.groupdict()
        layer = layers if role == "head" else int(groups["layer"])
        return MatrixId(layer, role, int(groups.get("expert") or -1))
    return None


def expert_layer(path: str) -> int | None:
    """Return the layer of a module that holds all experts as three-dimensional weights."""
    found = _FUSED.fullmatch(path)
    return int(found[1]) if found else None


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return patterns of module paths and the roles they stand for, first match wins."""
    named: dict[str, str] = {}
    for family in FAMILIES.values():
        for name, role in _names(family):
            named.setdefault(name, role)
    return tuple((_pattern(name), role) for name, role in named.items())


def _names(family: Family) -> Iterator[tuple[str, str]]:
    for role, part in PART_OF_ROLE.items():
        expert = int(_EXPERT) if part == "experts" else -1
        try:
            name = family.tensor(int(_LAYER), role, expert)
        except KeyError:  # a role that the family does not have
            continue
        yield name.removesuffix(".weight"), role


def _pattern(name: str) -> re.Pattern[str]:
    """Return the pattern of a tensor's module; a model inside another one has a prefix."""
    text = re.escape(name.removeprefix("model."))
    text = text.replace(_LAYER, r"(?P<layer>\d+)").replace(_EXPERT, r"(?P<expert>\d+)")
    return re.compile(rf"(?:.*\.)?{text}")
