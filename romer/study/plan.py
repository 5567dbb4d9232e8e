"""The plan of the study as data, and the jobs that it means."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from cimsim.errors import CimsimError
from romer.registry import steps_of

__all__ = ["BASELINES", "Cell", "Plan", "cells_of", "read_plan"]

# Treatments that are no calibrators: bounds and hardware baselines of the study.
BASELINES = ("oracle_clean_routing", "oracle_noisy_routing", "twice")
MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Cell:
    """One row of the summary: a treatment of one model on one kind of chip.

    Attributes:
        role: primary, ablation, sensitivity or transfer.
        model: bundled model.
        scope: name of the choice of analog parts.
        analog: the analog parts.
        sigma: error of a programmed weight, in LSB.
        level_l: whether sigma is the family's level L.
        calibrator: method, steps joined by '+', or a baseline.
        guarded: whether steps must be accepted.
        tokens: calibration tokens.
        tile_mode: mode of the scored passes.
        mismatch: relative error of sigma on the chip that calibration saw.
        overrides: further knobs of the chip.
        fitted_on: chip seeds that calibration saw, or () for the scored chips themselves.
        chips: chip seeds that are scored.
    """

    role: str
    model: str
    scope: str
    analog: tuple[str, ...]
    sigma: float
    level_l: bool
    calibrator: str
    guarded: bool
    tokens: int
    chips: tuple[int, ...]
    tile_mode: str = "folded"
    mismatch: float = 0.0
    overrides: tuple[str, ...] = ()
    fitted_on: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
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


def read_plan(path: Path | None, *, reduced: bool = False, chips: int | None = None) -> Plan:
    """Read a plan, the bundled one by default.

    Args:
        path: YAML file, or None.
        reduced: apply its `reduced` section.
        chips: test chips a cell at most.

    Raises:
        CimsimError: if the file cannot be read or names what is not there.
    """
    if path is None:
        text = files("romer.study").joinpath("plan.yaml").read_text(encoding="utf-8")
    elif not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise CimsimError("not found, or larger than 1 MiB", file=path, key="--plan")
    else:
        text = path.read_text(encoding="utf-8")
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CimsimError(f"not YAML: {error}", file=path, key="--plan") from error
    if not isinstance(data, dict):
        raise CimsimError("a plan is a table", file=path, key="--plan")
    small = data.pop("reduced", {})
    if reduced:
        scopes = small.pop("scopes", list(data["primary"]["scopes"]))
        data |= small
        chosen = {name: data["primary"]["scopes"][name] for name in scopes}
        data["primary"] = {**data["primary"], "scopes": chosen}
        data["sensitivities"] = data["transfer"] = None
    if chips is not None:
        data["test_chips"] = data["test_chips"][:chips]
        data["sensitivity_chips"] = min(chips, data["sensitivity_chips"])
    plan = Plan(data, reduced)
    for cell in cells_of(plan, dict.fromkeys(plan["models"], 0.0)):
        if cell.calibrator not in BASELINES:
            steps_of(cell.calibrator)
    return plan


def cells_of(plan: Plan, level: dict[str, float]) -> list[Cell]:
    """Return every cell of a plan, primary ones first, each once.

    Args:
        plan: the plan.
        level: level L of every model.
    """
    cells: list[Cell] = []
    for model in plan["models"]:
        for scope in plan["primary"]["scopes"]:
            for sigma in plan["primary"]["sigmas"]:
                cells += [
                    _cell(plan, level, "primary", calibrator, model=model, scope=scope, sigma=sigma)
                    for calibrator in plan["primary"]["calibrators"]
                ]
    for key in ("guarded", "unguarded"):
        for name in plan["ablations"][key]:
            cells.append(_cell(plan, level, "ablation", name, guarded=key == "guarded"))
    if plan["sensitivities"]:
        cells += _sensitivities(plan, level)
    if plan["transfer"]:
        fitted = tuple(plan["transfer"]["fitted_on_chip"])
        name = plan["transfer"]["calibrator"]
        cells.append(_cell(plan, level, "transfer", name, fitted_on=fitted))
    return list(dict.fromkeys(cells))


def _sensitivities(plan: Plan, level: dict[str, float]) -> list[Cell]:
    section = plan["sensitivities"]
    name, role = section["calibrator"], "sensitivity"
    cells = [_cell(plan, level, role, name, tokens=n) for n in section["calibration_tokens"]]
    cells += [_cell(plan, level, role, name, mismatch=m) for m in section["noise_mismatch"]]
    cells += [_cell(plan, level, role, m, tile_mode="detailed") for m in section["detailed"]]
    cells += [
        _cell(plan, level, role, name, scope=scope, analog=tuple(parts))
        for scope, parts in section["scopes"].items()
    ]
    cells += [
        _cell(plan, level, role, name, overrides=tuple(knobs))
        for knobs in section["overrides"].values()
    ]
    return cells


def _cell(
    plan: Plan,
    level: dict[str, float],
    role: str,
    calibrator: str,
    *,
    model: str | None = None,
    scope: str | None = None,
    analog: tuple[str, ...] | None = None,
    sigma: float | str | None = None,
    guarded: bool = True,
    tokens: int | None = None,
    tile_mode: str = "folded",
    mismatch: float = 0.0,
    overrides: tuple[str, ...] = (),
    fitted_on: tuple[int, ...] = (),
) -> Cell:
    default = plan["default"]
    model = model or default["model"]
    scope = scope or default["scope"]
    wanted = default["sigma"] if sigma is None else sigma
    chips = tuple(plan["test_chips"])
    if role != "primary":
        chips = chips[: plan["sensitivity_chips"]]
    return Cell(
        role=role,
        model=model,
        scope=scope,
        analog=analog or tuple(plan["primary"]["scopes"][scope]),
        sigma=level[model] if wanted == "L" else float(wanted),
        level_l=wanted == "L",
        calibrator=calibrator,
        guarded=guarded,
        tokens=tokens or plan["calibration_tokens"],
        chips=chips,
        tile_mode=tile_mode,
        mismatch=mismatch,
        overrides=overrides,
        fitted_on=fitted_on,
    )
