"""The plan of the study as data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from cimsim.errors import CimsimError
from cimsim.text_file import read_text_file

__all__ = ["StudyPlan", "read_plan"]

MAX_DEPTH = 8
MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class StudyPlan:
    """A checked plan.

    Attributes:
        data: the plan's own words.
        reduced: whether this is the reduced version.
    """

    data: dict[str, Any]
    reduced: bool

    def __getitem__(self, key: str) -> Any:
        """Return one entry."""
        try:
            return self.data[key]
        except KeyError:
            raise CimsimError("is missing in the plan", key=key) from None


def read_plan(path: Path | None, *, reduced: bool = False, chips: int | None = None) -> StudyPlan:
    """Read a plan, the bundled one by default.

    Args:
        path: YAML file, or None.
        reduced: apply its `reduced` section.
        chips: test chips per cell at most.

    Raises:
        CimsimError: if the file cannot be read or names what is not there.
    """
    bundled = files("romer.study").joinpath("plan.yaml").read_text(encoding="utf-8")
    if path is None:
        text = bundled
    else:
        text = read_text_file(path, "plan", key="--plan", most_bytes=MAX_BYTES)
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CimsimError(f"not YAML: {error}", file=path, key="--plan") from error
    if not isinstance(data, dict):
        raise CimsimError("a plan is a table", file=path, key="--plan")
    if path is not None:
        _check_alike(data, yaml.safe_load(bundled), path, ())
    small = data.pop("reduced", {})
    if reduced:
        primary = data["primary"]
        scopes = {n: primary["scopes"][n] for n in small.pop("scopes", primary["scopes"])}
        sigmas = small.pop("sigmas", primary["sigmas"])
        data |= small
        data["primary"] = {**primary, "scopes": scopes, "sigmas": sigmas}
        data["sensitivities"] = data["transfer"] = data["extra_models"] = None
    if chips is not None:
        data["test_chips"] = data["test_chips"][:chips]
        data["sensitivity_chips"] = min(chips, data["sensitivity_chips"])
    return StudyPlan(data, reduced)


def _check_alike(value: Any, sample: Any, path: Path, keys: tuple[str, ...]) -> None:
    """Refuse an entry of another kind than the bundled plan has in its place."""
    if value is None or sample is None:
        return
    if _kind(value) != _kind(sample) or len(keys) > MAX_DEPTH:
        shown = None if isinstance(value, list | dict) else value
        raise CimsimError(
            "is of another kind than the plan's entry",
            file=path,
            key=".".join(keys) or "--plan",
            value=shown,
            allowed=_kind(sample),
        )
    if isinstance(sample, list) and sample:
        for item in value:
            _check_alike(item, _like(item, sample), path, keys)
    if isinstance(sample, dict) and sample:
        for key, item in value.items():
            # A name of the user's own stands for what others of its table are.
            own = sample.get(key, item if not keys else _like(item, list(sample.values())))
            _check_alike(item, own, path, (*keys, str(key)))


def _like(value: Any, samples: list[Any]) -> Any:
    return next((s for s in samples if _kind(s) == _kind(value)), samples[0])


def _kind(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "not a finite number"
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text"}
    return kinds.get(type(value), "a list" if isinstance(value, list) else "a table")
