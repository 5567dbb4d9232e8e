"""Points: every chip of a plan, resolved and checked before anything runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cimsim.chip import analog_units, build_system
from cimsim.config import ChipConfig
from cimsim.config.load import ChipFile, config_hash, find_chip
from cimsim.config.sweep import SweepPlan
from cimsim.errors import CimsimError
from cimsim.model import build_program
from cimsim.stages.models import open_model
from cimsim.stages.scale import FULL_SIZE, left_out
from cimsim.sweeps.axes import Setting, settings_of
from cimsim.workload.program import Program
from moe_mapping.registry import policy_named
from romer.registry import steps_of

__all__ = ["Point", "Points", "Resolver"]

HASH_DIGITS = 10


@dataclass(frozen=True)
class Point:
    """One chip with one model.

    Attributes:
        name: of the chip, digits of the hash of its resolved file, and the model where there
            are several: the same in every plan that has this point.
        chip: name of the chip that was varied.
        model: bundled name or checkpoint folder; "" where nothing is scored.
        setting: values of the varied knobs.
        config: the resolved chip.
    """

    name: str
    chip: str
    model: str
    setting: Setting
    config: ChipConfig


@dataclass(frozen=True)
class Points:
    """The points of a plan.

    Attributes:
        valid: each once, in order.
        invalid: why points are none, a sentence with how many.
    """

    valid: tuple[Point, ...]
    invalid: tuple[str, ...]


class Resolver:
    """Makes points of settings, by the way that ``--set`` takes.

    Args:
        plan: says which chips, what is the same in all points, and which models.

    Raises:
        CimsimError: if a chip file or a model cannot be read.
    """

    def __init__(self, plan: SweepPlan) -> None:
        self._plan = plan
        self.chips = [ChipFile(Path(find_chip(name))) for name in plan.chips]
        scored = plan.models if plan.accuracy == "on" else ()
        self._programs: dict[str, Program] = {
            model: build_program(open_model(model)) for model in scored
        }
        self._common = tuple(_override(*item) for item in self._last_rung())

    @property
    def per_setting(self) -> int:
        """Points of one setting: chips x models."""
        return len(self.chips) * max(1, len(self._programs))

    def all_points(self) -> Points:
        """Return every point of the plan, and why others are none."""
        return self.resolve(settings_of(self._plan))

    def resolve(self, settings: Iterable[Setting]) -> Points:
        """Return the points of settings; each once, whatever settings lead to it."""
        valid: dict[str, Point] = {}
        reasons: dict[str, int] = {}
        for setting in settings:
            for chip in self.chips:
                try:
                    found = self.points_of(chip, setting)
                except CimsimError as error:
                    reason = error.sentence()
                    reasons[reason] = reasons.get(reason, 0) + 1
                else:
                    for point in found:
                        valid.setdefault(point.name, point)
        said = tuple(f"{why} ({n} point{'s' * (n > 1)})" for why, n in reasons.items())
        return Points(tuple(valid.values()), said)

    def points_of(self, chip: ChipFile, setting: Setting) -> list[Point]:
        """Return one point a model of a chip with a setting.

        Raises:
            CimsimError: if there is no such chip.
        """
        overrides = (*self._common, *(_override(k, v) for k, v in setting))
        config = chip.resolve(overrides)
        self._check(config)
        name = f"{config.name}-{config_hash(config)[:HASH_DIGITS]}"
        models = tuple(self._programs) or ("",)
        suffix = {m: f".{Path(m).name}" if len(models) > 1 else "" for m in models}
        return [Point(name + suffix[m], config.name, m, setting, config) for m in models]

    def _last_rung(self) -> list[tuple[str, object]]:
        """Return knobs that are the same in all points, those of the last rung among them."""
        knobs: dict[str, object] = dict(self._plan.set)
        if self._plan.fidelity:
            last = self._plan.fidelity[-1]
            knobs |= {"workload.tokens": last.tokens, "run.chip_seeds": last.chip_seeds}
        return list(knobs.items())

    def _check(self, config: ChipConfig) -> None:
        """Refuse a chip that could not be evaluated."""
        if self._plan.accuracy == "off" and config.noc.kind not in FULL_SIZE:
            raise CimsimError(left_out(config)[0], key="noc.kind", value=config.noc.kind)
        policy_named(config.mapping.policy)
        steps_of(config.calibration.method)
        for program in self._programs.values():
            build_system(config, analog_units(program, config))


def _override(knob: str, value: object) -> str:
    """Return a value as text that an override reads back."""
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{knob}={text}"
