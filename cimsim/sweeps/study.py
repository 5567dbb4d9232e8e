"""The study of a search: Optuna asks for points and is told what they gave.

A study stands in Optuna's own storage, so that its dashboard opens it. It is made anew each time
from the points on disk, in the order in which the sampler asks for them: with the same seed a
search that was stopped goes on as if it had not been, and the storage is never the only place of
a result.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from math import ceil
from types import ModuleType
from typing import TYPE_CHECKING

from cimsim.config.sweep import SearchKnobs
from cimsim.errors import CimsimError
from cimsim.sweeps.axes import Dimension, Setting
from cimsim.sweeps.wants import SweepObjective

if TYPE_CHECKING:
    import optuna

__all__ = ["Asked", "SearchSpace", "SearchStudy", "refuse_foreign"]

PLAN_ATTRIBUTE = "cimsim_plan"
STARTUP_TRIALS = 20
POPULATION = 20  # of NSGA-II: searches are of a hundred points or so


@dataclass(frozen=True)
class SearchSpace:
    """What a search varies.

    Attributes:
        chips: names of the chips.
        axes: dimensions of the plan.
    """

    chips: tuple[str, ...]
    axes: tuple[Dimension, ...]


@dataclass(frozen=True)
class Asked:
    """A point that the sampler asks for.

    Attributes:
        trial: its number in the study.
        chip: index of the chip.
        setting: values of the varied knobs.
    """

    trial: int
    chip: int
    setting: Setting


class SearchStudy:
    """A study that asks for points.

    Args:
        space: what is varied.
        objectives: what is optimised.
        knobs: sampler and seed.
        storage: Optuna's storage URL; None keeps the study in memory.
        name: of the study.
        plan: hash of what decides the numbers.
        workers: points that are evaluated at once.

    Raises:
        CimsimError: if Optuna is not installed, or the storage holds the study of another plan.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[SweepObjective],
        knobs: SearchKnobs,
        *,
        storage: str | None,
        name: str,
        plan: str,
        workers: int = 1,
    ) -> None:
        self._space = space
        optuna_ = _optuna()
        optuna_.logging.set_verbosity(optuna_.logging.ERROR)
        for known in refuse_foreign(storage, plan) if storage is not None else ():
            optuna_.delete_study(study_name=known, storage=storage)
        with _without_warnings():
            self._study: optuna.Study = optuna_.create_study(
                storage=storage,
                study_name=name,
                directions=["minimize" if o.better == "lower" else "maximize" for o in objectives],
                sampler=_sampler(knobs, workers),
            )
            self._study.set_metric_names([o.column for o in objectives])
        self._study.set_user_attr(PLAN_ATTRIBUTE, plan)
        self._open: dict[int, optuna.Trial] = {}

    def ask(self) -> Asked:
        """Return the next point to evaluate."""
        with _without_warnings():
            trial = self._study.ask()
            chip = 0
            if len(self._space.chips) > 1:
                names = list(self._space.chips)
                chip = names.index(trial.suggest_categorical("chip", names))
            setting: list[tuple[str, object]] = []
            for axis in self._space.axes:
                setting += zip(axis.knobs, _suggest(trial, axis), strict=True)
        self._open[trial.number] = trial
        return Asked(trial.number, chip, tuple(setting))

    def tell(
        self, asked: Asked, point: str, values: Sequence[float], excess: dict[str, float]
    ) -> None:
        """Tell what a point gave.

        Args:
            asked: the point.
            point: its name.
            values: of the objectives.
            excess: by how much each constraint is missed, 0 or less where it is met.
        """
        trial = self._open.pop(asked.trial)
        trial.set_user_attr("point", point)
        for name, value in excess.items():
            trial.set_constraint(name, value)
        with _without_warnings():
            self._study.tell(trial, list(values))

    def fail(self, asked: Asked, why: str) -> None:
        """Tell that a point cannot be evaluated."""
        trial = self._open.pop(asked.trial)
        trial.set_user_attr("why", why)
        self._study.tell(trial, state=_optuna().trial.TrialState.FAIL)

    def want(self, chip: int, setting: Setting) -> None:
        """Let the next point asked for be this one, of lists of values alone."""
        values = dict(setting)
        wanted: dict[str, object] = {}
        if len(self._space.chips) > 1:
            wanted["chip"] = self._space.chips[chip]
        for axis in self._space.axes:
            at = axis.values.index(tuple(values[k] for k in axis.knobs))
            wanted[axis.name] = at if _ordered(axis) else _words(axis)[at]
        self._study.enqueue_trial(wanted)


def _suggest(trial: optuna.Trial, axis: Dimension) -> tuple[object, ...]:
    """Return the values of a dimension: a place in an ordered list, a name, or a number."""
    if axis.span is None:
        if _ordered(axis):
            return axis.values[trial.suggest_int(axis.name, 0, len(axis.values) - 1)]
        words = _words(axis)
        return axis.values[words.index(trial.suggest_categorical(axis.name, words))]
    low, high, log = axis.span.low, axis.span.high, axis.span.log
    if axis.whole:
        return (trial.suggest_int(axis.name, ceil(low), int(high), log=log),)
    return (float(f"{trial.suggest_float(axis.name, low, high, log=log):.6g}"),)


def _ordered(axis: Dimension) -> bool:
    """Whether the values of a list rise or fall, so that neighbours are alike."""
    first = [v[0] for v in axis.values]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in first):
        return False
    return first == sorted(first) or first == sorted(first, reverse=True)  # type: ignore[type-var]


def _words(axis: Dimension) -> list[str]:
    return [json.dumps(v[0] if len(v) == 1 else v) for v in axis.values]


def _sampler(knobs: SearchKnobs, workers: int) -> optuna.samplers.BaseSampler:
    samplers = _optuna().samplers
    sampler: optuna.samplers.BaseSampler
    if knobs.sampler == "random":
        sampler = samplers.RandomSampler(seed=knobs.seed)
    elif knobs.sampler == "nsga2":
        sampler = samplers.NSGAIISampler(seed=knobs.seed, population_size=POPULATION)
    else:
        sampler = samplers.TPESampler(
            seed=knobs.seed,
            multivariate=True,
            n_startup_trials=STARTUP_TRIALS,
            constant_liar=workers > 1,
        )
    return sampler


def refuse_foreign(storage: str, plan: str) -> list[str]:
    """Return the names of the studies of a plan in a storage, which are made anew.

    Args:
        storage: Optuna's storage URL.
        plan: hash of what decides the numbers.

    Raises:
        CimsimError: if the storage cannot be opened, or holds another study.
    """
    try:
        known = _optuna().get_all_study_summaries(storage)
    except CimsimError:
        raise
    except Exception as error:  # whatever the database of a URL of the user raises
        raise CimsimError(
            f"no storage of Optuna: {str(error).splitlines()[0]}",
            key="--storage",
            value=storage,
            hint="e.g. sqlite:///search.db, or leave it to --out",
        ) from error
    for summary in known:
        if summary.user_attrs.get(PLAN_ATTRIBUTE) != plan:
            raise CimsimError(
                f"the storage holds the study of another plan ({summary.study_name})",
                key="--storage",
                value=storage,
                hint="name another storage, or another folder",
            )
    return [summary.study_name for summary in known]


def _optuna() -> ModuleType:
    """Return Optuna.

    Raises:
        CimsimError: if it is not installed.
    """
    try:
        return import_module("optuna")
    except ModuleNotFoundError as error:
        raise CimsimError(
            "searching needs Optuna, which is not installed", hint="pip install 'cimsim[search]'"
        ) from error


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep quiet about what Optuna calls experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
