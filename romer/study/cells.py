"""The cells of a study: what its plan means, treatment by treatment and chip by chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from romer.registry import steps_of
from romer.study.plan import Plan
from romer.study.quantiser import PLAIN, quantiser_of

__all__ = ["BASELINES", "Cell", "Kind", "cells_of", "check_plan", "development_kind"]

# Treatments that are no calibrators: bounds and hardware baselines of the study.
BASELINES = ("oracle_clean_routing", "oracle_noisy_routing", "twice", "verify_worst", "quantiser")


@dataclass(frozen=True)
class Kind:
    """What all chips of a cell have in common.

    Attributes:
        model: bundled model, or one of the plan's extra models.
        analog: the analog parts.
        sigma: error of a programmed weight, in LSB; None where the device has its own.
        overrides: further knobs of the chip.
        quantiser: how weights become stored codes.
    """

    model: str
    analog: tuple[str, ...]
    sigma: float | None
    overrides: tuple[str, ...] = ()
    quantiser: str = PLAIN


@dataclass(frozen=True)
class Cell:
    """One row of the summary: a treatment of one model on one kind of chip.

    Attributes:
        role: primary, ablation, sensitivity or transfer.
        model: bundled model, or one of the plan's extra models.
        scope: name of the choice of analog parts.
        analog: the analog parts.
        sigma: error of a programmed weight, in LSB; None where the device has its own.
        level_l: whether sigma is the family's level L.
        calibrator: method, steps joined by '+', or a baseline.
        guarded: whether steps must be accepted.
        tokens: calibration tokens.
        chips: chip seeds that are scored.
        tile_mode: mode of the scored passes.
        mismatch: relative error of sigma on the chip that calibration saw.
        overrides: further knobs of the chip.
        fitted_on: chip seeds that calibration saw, or () for the scored chips themselves.
        quantiser: how weights become stored codes. The noisy chip has the same, except for
            the baseline "quantiser", which is held against one scale a matrix.
        words: what a calibration document must contain and a scored one must not, or "".
        compared: name of the sensitivity, for tables.
    """

    role: str
    model: str
    scope: str
    analog: tuple[str, ...]
    sigma: float | None
    level_l: bool
    calibrator: str
    guarded: bool
    tokens: int
    chips: tuple[int, ...]
    tile_mode: str = "folded"
    mismatch: float = 0.0
    overrides: tuple[str, ...] = ()
    fitted_on: tuple[int, ...] = ()
    quantiser: str = PLAIN
    words: str = ""
    compared: str = ""

    @property
    def kind(self) -> Kind:
        """The kind of chip that is treated."""
        return Kind(self.model, self.analog, self.sigma, self.overrides, self.quantiser)

    @property
    def noisy_kind(self) -> Kind:
        """The kind of chip that the treated one is held against."""
        if self.calibrator == "quantiser":
            return replace(self.kind, quantiser=PLAIN)
        return self.kind

    @property
    def fitted_kind(self) -> Kind:
        """The kind of chip that calibration saw."""
        if not self.mismatch or self.sigma is None:
            return self.kind
        return replace(self.kind, sigma=self.sigma * (1.0 + self.mismatch))


def check_plan(plan: Plan) -> None:
    """Refuse a plan whose cells cannot be made.

    Raises:
        CimsimError: if a calibrator or a quantiser is unknown, or an entry is missing.
    """
    levels = dict.fromkeys((*plan["models"], *(plan["extra_models"] or {})), 0.0)
    best = {(m, s): PLAIN for m in levels for s in plan["primary"]["sigmas"]}
    for name in plan["quantisers"]:
        quantiser_of(name)
    for cell in cells_of(plan, levels, best):
        if cell.calibrator not in BASELINES:
            steps_of(cell.calibrator)


def development_kind(plan: Plan, model: str, sigma: float, quantiser: str = PLAIN) -> Kind:
    """Return the kind of chip on which level L and quantisers are decided."""
    analog = tuple(next(iter(plan["primary"]["scopes"].values())))
    return Kind(model, analog, sigma, (), quantiser)


def cells_of(
    plan: Plan,
    level: Mapping[str, float],
    quantiser: Mapping[tuple[str, float | str], str],
) -> list[Cell]:
    """Return every cell of a plan, primary ones first, each once.

    Args:
        plan: the plan.
        level: level L of every model.
        quantiser: the best quantiser of (model, sigma as the plan writes it).
    """
    build = _Builder(plan, level)
    cells: list[Cell] = []
    for model in plan["models"]:
        for scope in plan["primary"]["scopes"]:
            for sigma in plan["primary"]["sigmas"]:
                place = {"model": model, "scope": scope, "sigma": sigma}
                cells += [
                    build.cell("primary", name, **place) for name in plan["primary"]["calibrators"]
                ]
    for key in ("guarded", "unguarded"):
        for name in plan["ablations"][key]:
            cells.append(build.cell("ablation", name, guarded=key == "guarded"))
    cells += [build.cell("ablation", "quantiser", quantiser=q) for q in plan["quantisers"]]
    if plan["sensitivities"]:
        cells += _against_quantisers(plan, build, quantiser)
        cells += _sensitivities(plan, build)
    for model, names in (plan["extra_models"] or {}).items():
        cells += [
            build.cell("sensitivity", name, model=model, guarded=key == "guarded", compared=model)
            for key in ("guarded", "unguarded")
            for name in names.get(key, ())
        ]
    if plan["transfer"]:
        fitted = tuple(plan["transfer"]["fitted_on_chip"])
        name = plan["transfer"]["calibrator"]
        cells.append(build.cell("transfer", name, fitted_on=fitted))
        cells += [
            build.cell("transfer", name, fitted_on=fitted, mismatch=m)
            for m in plan["transfer"]["noise_mismatch"]
        ]
    return list(dict.fromkeys(cells))


def _against_quantisers(
    plan: Plan, build: _Builder, quantiser: Mapping[tuple[str, float | str], str]
) -> list[Cell]:
    """Return, for every primary place, the best quantiser and the calibrator on top of it."""
    name = plan["primary"]["calibrators"][0]
    return [
        build.cell("ablation", n, model=m, scope=scope, sigma=s, quantiser=quantiser[(m, s)])
        for m in plan["models"]
        for scope in plan["primary"]["scopes"]
        for s in plan["primary"]["sigmas"]
        for n in ("quantiser", name)
    ]


def _sensitivities(plan: Plan, build: _Builder) -> list[Cell]:
    section = plan["sensitivities"]
    name, role = section["calibrator"], "sensitivity"
    cells = [
        build.cell(role, name, tokens=n, compared="calibration size")
        for n in section["calibration_tokens"]
    ]
    cells += [
        build.cell(role, name, mismatch=m, compared="noise mismatch")
        for m in section["noise_mismatch"]
    ]
    detailed = section["detailed"]
    cells += [
        build.cell(
            role, n, model=m, scope=scope, sigma=s, tile_mode="detailed",
            chips=detailed["chips"], compared="detailed mode",
        )
        for m in plan["models"]
        for scope in plan["primary"]["scopes"]
        for s in plan["primary"]["sigmas"]
        for n in detailed["calibrators"]
    ]  # fmt: skip
    for scope, entry in section["scopes"].items():
        analog = tuple(entry["analog"])
        cells += [
            build.cell(role, n, scope=scope, analog=analog, compared=scope)
            for n in entry["calibrators"]
        ]
    for label, entry in section["overrides"].items():
        knobs, own = tuple(entry["set"]), entry.get("own_sigma", False)
        cells += [
            build.cell(role, n, overrides=knobs, own_sigma=own, compared=label)
            for n in entry["calibrators"]
        ]
    words = section["other_packages"]
    cells.append(build.cell(role, name, words=words, compared="text of other packages"))
    return cells


class _Builder:
    """Makes cells from what differs from the plan's default cell."""

    def __init__(self, plan: Plan, level: Mapping[str, float]) -> None:
        self._plan, self._level = plan, level

    def cell(
        self,
        role: str,
        calibrator: str,
        *,
        model: str | None = None,
        scope: str | None = None,
        analog: tuple[str, ...] | None = None,
        sigma: float | str | None = None,
        guarded: bool = True,
        tokens: int | None = None,
        chips: int | None = None,
        tile_mode: str = "folded",
        mismatch: float = 0.0,
        overrides: tuple[str, ...] = (),
        own_sigma: bool = False,
        fitted_on: tuple[int, ...] = (),
        quantiser: str = PLAIN,
        words: str = "",
        compared: str = "",
    ) -> Cell:
        plan, default = self._plan, self._plan["default"]
        model = model or default["model"]
        scope = scope or default["scope"]
        wanted = default["sigma"] if sigma is None else sigma
        seeds = tuple(plan["test_chips"])
        if role != "primary":
            seeds = seeds[: chips or plan["sensitivity_chips"]]
        number = self._level[model] if wanted == "L" else float(wanted)
        return Cell(
            role=role,
            model=model,
            scope=scope,
            analog=analog or tuple(plan["primary"]["scopes"][scope]),
            sigma=None if own_sigma else number,
            level_l=wanted == "L",
            calibrator=calibrator,
            guarded=guarded,
            tokens=tokens or plan["calibration_tokens"],
            chips=seeds,
            tile_mode=tile_mode,
            mismatch=mismatch,
            overrides=overrides,
            fitted_on=fitted_on,
            quantiser=quantiser,
            words=words,
            compared=compared,
        )
