"""The plan of the study as data."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from cimsim.errors import CimsimError
from cimsim.text_file import read_text_file

__all__ = ["StudyPlan", "read_plan"]

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
    if path is None:
        text = files("romer.study").joinpath("plan.yaml").read_text(encoding="utf-8")
    else:
        text = read_text_file(path, "plan", key="--plan", most_bytes=MAX_BYTES)
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CimsimError(f"not YAML: {error}", file=path, key="--plan") from error
    if not isinstance(data, dict):
        raise CimsimError("a plan is a table", file=path, key="--plan")
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
