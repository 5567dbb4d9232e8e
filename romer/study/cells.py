"""The cells of a study: what its plan means, treatment by treatment and chip by chip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from romer.registry import steps_of
from romer.study.plan import StudyPlan
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
            the baseline "quantiser", which is held against one scale per matrix.
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


def check_plan(plan: StudyPlan) -> None:
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


def development_kind(plan: StudyPlan, model: str, sigma: float, quantiser: str = PLAIN) -> Kind:
    """Return the kind of chip on which level L and quantisers are decided."""
    analog = tuple(next(iter(plan["primary"]["scopes"].values())))
    return Kind(model, analog, sigma, (), quantiser)


def cells_of(
    plan: StudyPlan,
    level: Mapping[str, float],
    quantiser: Mapping[tuple[str, float | str], str],
) -> list[Cell]:
    """Return every cell of a plan, primary ones first, each once.

    Args:
        plan: the plan.
        level: level L of every model.
        quantiser: the best quantiser of (model, sigma as the plan writes it).
    """
    build = _CellBuilder(plan, level)
    cells = [
        build.cell("primary", name, *place)
        for place in build.places
        for name in plan["primary"]["calibrators"]
    ]
    cells += build.guarded_or_not(plan["ablations"], "ablation")
    plain = build.cell("ablation", "quantiser")
    cells += [replace(plain, quantiser=q) for q in plan["quantisers"]]
    if plan["sensitivities"]:
        # For every primary place, the best quantiser and the calibrator on top of it.
        cells += [
            replace(build.cell("ablation", name, *place), quantiser=quantiser[place[0], place[2]])
            for place in build.places
            for name in ("quantiser", plan["primary"]["calibrators"][0])
        ]
        cells += _sensitivities(plan, build)
    for model, names in (plan["extra_models"] or {}).items():
        found = build.guarded_or_not(names, "sensitivity", model)
        cells += [replace(cell, compared=model) for cell in found]
    if plan["transfer"]:
        cell = build.cell("transfer", plan["transfer"]["calibrator"])
        cell = replace(cell, fitted_on=tuple(plan["transfer"]["fitted_on_chip"]))
        cells += [replace(cell, mismatch=m) for m in (0.0, *plan["transfer"]["noise_mismatch"])]
    return list(dict.fromkeys(cells))


def _sensitivities(plan: StudyPlan, build: _CellBuilder) -> list[Cell]:
    section, role = plan["sensitivities"], "sensitivity"
    main = build.cell(role, section["calibrator"])
    sizes, errors = section["calibration_tokens"], section["noise_mismatch"]
    cells = [replace(main, tokens=n, compared="calibration size") for n in sizes]
    cells += [replace(main, mismatch=m, compared="noise mismatch") for m in errors]
    detailed = section["detailed"]
    seeds = tuple(plan["test_chips"][: detailed["chips"]])
    for place in build.places:
        for name in detailed["calibrators"]:
            cell = build.cell(role, name, *place)
            cell = replace(cell, tile_mode="detailed", chips=seeds, compared="detailed mode")
            cells.append(cell)
    for scope, entry in section["scopes"].items():
        analog = tuple(entry["analog"])
        for name in entry["calibrators"]:
            cell = build.cell(role, name)
            cells.append(replace(cell, scope=scope, analog=analog, compared=scope))
    for label, entry in section["overrides"].items():
        for name in entry["calibrators"]:
            cell = replace(build.cell(role, name), overrides=tuple(entry["set"]), compared=label)
            cells.append(replace(cell, sigma=None) if entry.get("own_sigma") else cell)
    words = section["other_packages"]
    return [*cells, replace(main, words=words, compared="text of other packages")]


class _CellBuilder:
    """Makes cells of a plan.

    Attributes:
        places: (model, scope, sigma as the plan writes it) of primary cells.
    """

    def __init__(self, plan: StudyPlan, level: Mapping[str, float]) -> None:
        self._plan, self._level = plan, level
        primary = plan["primary"]
        self.places: list[tuple[str, str, float | str]] = [
            (m, scope, s) for m in plan["models"] for scope in primary["scopes"]
            for s in primary["sigmas"]
        ]  # fmt: skip

    def cell(
        self,
        role: str,
        calibrator: str,
        model: str | None = None,
        scope: str | None = None,
        sigma: float | str | None = None,
    ) -> Cell:
        """Return a guarded cell of the plan's default place, or of the one given."""
        plan, default = self._plan, self._plan["default"]
        model, scope = model or default["model"], scope or default["scope"]
        wanted = default["sigma"] if sigma is None else sigma
        seeds = plan["test_chips"]
        return Cell(
            role=role,
            model=model,
            scope=scope,
            analog=tuple(plan["primary"]["scopes"][scope]),
            sigma=self._level[model] if wanted == "L" else float(wanted),
            level_l=wanted == "L",
            calibrator=calibrator,
            guarded=True,
            tokens=plan["calibration_tokens"],
            chips=tuple(seeds if role == "primary" else seeds[: plan["sensitivity_chips"]]),
        )

    def guarded_or_not(
        self, names: Mapping[str, Sequence[str]], role: str, model: str | None = None
    ) -> list[Cell]:
        """Return a cell a calibrator that a section lists as guarded, then as unguarded."""
        guarded = [self.cell(role, name, model) for name in names.get("guarded", ())]
        unguarded = [self.cell(role, name, model) for name in names.get("unguarded", ())]
        return [*guarded, *(replace(cell, guarded=False) for cell in unguarded)]
