"""The plan of the map of errors: kinds of error by size, on parts of a model, and treatments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from cimsim.errors import CimsimError
from cimsim.text_file import read_text_file
from romer.registry import steps_of
from romer.study.cells import Kind
from romer.study.plan import MAX_BYTES
from romer.study.quantiser import PLAIN, quantiser_of
from romer.study.treatment import methods_of

__all__ = ["CLASSES", "Cell", "MapPlan", "Place", "is_map", "read_map"]

Cell = tuple[str, str, float, str]

CLASSES = ("trimmed", "typical", "bad", "uncompensated", "stress")
ORACLES = {"clean_routing": "oracle_clean_routing"}
UNGUARDED = {"digital_router": "offload_router"}
MOST_PRIMARY = 24
_KEYS = {
    "map", "chip", "models", "test_tokens", "calibration_tokens", "test_chips", "other_chips",
    "treatments", "other_treatments", "least_gap_nats", "sigma", "parts", "quantiser", "kinds",
    "primary", "readings", "reduced",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """One cell of the map before any treatment.

    Attributes:
        model: the model.
        error: kind of error.
        size: of the error.
        size_class: trimmed, typical, bad, uncompensated or stress.
        parts: name of the choice of analog parts.
        kind: the kind of chip.
        primary: whether its two endpoints are primary.
        readings: whether every reading of the steps is measured here.
    """

    model: str
    error: str
    size: float
    size_class: str
    parts: str
    kind: Kind
    primary: bool
    readings: bool

    @property
    def cell(self) -> Cell:
        """What names it: model, error, size and parts."""
        return self.model, self.error, self.size, self.parts


@dataclass(frozen=True)
class MapPlan:
    """A checked plan.

    Attributes:
        data: the plan's own words.
        reduced: whether this is the reduced version.
        device: where torch computes, or "".
    """

    data: dict[str, Any]
    reduced: bool
    device: str

    def __getitem__(self, key: str) -> Any:
        """Return one entry."""
        return self.data[key]

    def places(self) -> tuple[Place, ...]:
        """Return every cell of the map, in the order of the plan."""
        return tuple(self._places())

    def treatments(self, place: Place) -> tuple[tuple[str, str, bool], ...]:
        """Return name, calibrator and guard of every treatment of a place."""
        whole = place.primary or place.readings
        names = [*self["treatments" if whole else "other_treatments"]]
        names += self["readings"]["methods"] if place.readings else ()
        return tuple((n, ORACLES.get(n, UNGUARDED.get(n, n)), n not in UNGUARDED) for n in names)

    def chips(self, place: Place) -> tuple[int, ...]:
        """Return the chips of a place."""
        chips = tuple(self["test_chips"])
        return chips if place.primary or place.readings else chips[: self["other_chips"]]

    def _places(self) -> Iterator[Place]:
        primary = {tuple(c) for c in self["primary"]["cells"]}
        read = {tuple(c) for c in (self["readings"] or {"cells": ()})["cells"]}
        where = (f"run.device={self.device}",) if self.device else ()
        for model in self["models"]:
            first = model == self["primary"]["model"]
            for error, entry in self["kinds"].items():
                for size_class, size in _sizes(entry):
                    knobs = tuple(k.replace("SIZE", f"{size!r}") for k in entry["set"])
                    for name, parts in self["parts"].items():
                        kind = Kind(model, tuple(parts), self["sigma"], (*knobs, *where))
                        if error == "cells":  # its size takes the place of the plan's sigma
                            kind = Kind(model, tuple(parts), size, where)
                        at = (error, size, name)
                        yield Place(
                            model, error, size, size_class, name, kind,
                            first and at in primary, first and at in read,
                        )  # fmt: skip


def _sizes(entry: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield class and size, in the order of the plan."""
    for size_class, sizes in entry["sizes"].items():
        for size in sizes if isinstance(sizes, list) else [sizes]:
            yield size_class, size


def is_map(path: Path | None) -> bool:
    """Return whether a plan is one of the map."""
    if path is None:
        return False
    text = read_text_file(path, "plan", key="--plan", most_bytes=MAX_BYTES)
    return any(line.rstrip() == "map: true" for line in text.splitlines())


def read_map(
    path: Path | None, *, reduced: bool = False, chips: int | None = None, device: str | None = None
) -> MapPlan:
    """Read a plan of the map, the bundled one by default.

    Raises:
        CimsimError: if it cannot be read or names what is not there.
    """
    if path is None:
        text = files("romer.study").joinpath("map.yaml").read_text(encoding="utf-8")
    else:
        text = read_text_file(path, "plan", key="--plan", most_bytes=MAX_BYTES)
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CimsimError(f"not YAML: {error}", file=path, key="--plan") from error
    if not isinstance(data, dict) or set(data) != _KEYS:
        wrong = sorted(_KEYS ^ set(data)) if isinstance(data, dict) else "no table"
        raise CimsimError("not a plan of the map", file=path, key="--plan", value=str(wrong))
    small = data.pop("reduced")
    if reduced:
        kept = small.pop("kinds")
        data |= small
        data["kinds"] = {name: _reduced(data["kinds"][name], kept[name]) for name in kept}
    if chips is not None:
        data["test_chips"] = data["test_chips"][:chips]
    plan = MapPlan(data, reduced, device or "")
    _check(plan, path)
    return plan


def _reduced(entry: dict[str, Any], sizes: list[float]) -> dict[str, Any]:
    """Return a kind of error with some of its sizes."""
    known = [(c, s) for c, s in _sizes(entry) if s in sizes]
    return entry | {"sizes": {c: [s for k, s in known if k == c] for c, _ in known}}


def _check(plan: MapPlan, path: Path | None) -> None:
    for name in (*plan["treatments"], *plan["other_treatments"]):
        for method in methods_of(name):
            if method not in {*ORACLES, *UNGUARDED, "quantiser"}:
                steps_of(method)
    quantiser_of(plan["quantiser"])
    places = plan.places()
    wrong = {p.size_class for p in places} - set(CLASSES)
    if wrong:
        raise CimsimError(
            "is no class of sizes",
            file=path, key="kinds", value=", ".join(wrong), allowed=", ".join(CLASSES),
        )  # fmt: skip
    if 2 * sum(p.primary for p in places) > MOST_PRIMARY:
        raise CimsimError(
            "too many primary cells, each counts twice",
            file=path, key="primary.cells", allowed=f"at most {MOST_PRIMARY // 2}",
        )  # fmt: skip
    for key, count in (
        ("test_chips", len(plan["test_chips"])), ("other_chips", plan["other_chips"]),
    ):  # fmt: skip
        if count < 2:
            raise CimsimError("needs at least two chips", file=path, key=key)
    if plan["quantiser"] == PLAIN:
        raise CimsimError("is the untreated quantiser", file=path, key="quantiser", value=PLAIN)
