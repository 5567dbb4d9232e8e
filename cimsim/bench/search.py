"""What a search is worth: its front against that of the whole grid, and against chance.

The grid of a plan is evaluated whole, in a folder that a stopped bench goes on with. Samplers are
then asked for points whose figures are known, so that many seeds cost nothing. The shortfall is
the hypervolume of the whole front, below the plan's reference point, less that of the points
found.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cimsim.config.sweep import SearchKnobs, SweepPlan
from cimsim.errors import CimsimError
from cimsim.sweeps.axes import dimensions
from cimsim.sweeps.executor import Executor
from cimsim.sweeps.hypervolume import hypervolume
from cimsim.sweeps.ladder import objective_values
from cimsim.sweeps.run import SweepListener, SweepRun, prepare_sweep
from cimsim.sweeps.standing import SweepResults
from cimsim.sweeps.study import SearchSpace, SearchStudy

__all__ = ["run_search_bench"]

SAMPLERS = ("tpe", "nsga2", "random")
SEEDS = 5
Floats = NDArray[np.float64]


def run_search_bench(
    plan: SweepPlan,
    out: Path,
    executor: Executor,
    listener: SweepListener,
    cache: Path | None = None,
) -> dict[str, object]:
    """Return shortfalls of every sampler over that of random points.

    Args:
        plan: of one chip, a grid, with a reference point.
        out: folder of the grid.
        executor: what evaluates it.
        listener: hears how it goes.
        cache: folder of the stage cache: what the grid gives is of interest, not how fast.

    Raises:
        CimsimError: if the plan has no reference point, or several chips.
    """
    if not plan.search.reference or len(plan.chips) > 1:
        raise CimsimError(
            "a search is measured on one chip and below a reference point",
            key="search.reference",
        )
    results = SweepRun(prepare_sweep(plan, out), executor, listener, cache).run()
    corner = np.array([
        plan.search.reference[o.column] * (1.0 if o.better == "lower" else -1.0)
        for o in results.wants.objectives
    ])  # fmt: skip
    figures = _figures(results)
    whole = hypervolume(np.stack(list(figures.values())), corner)
    trials = min(plan.search.trials, len(figures) - 1)
    short = {
        sampler: [
            1.0 - hypervolume(_found(plan, results, figures, sampler, seed, trials), corner) / whole
            for seed in range(SEEDS)
        ]
        for sampler in SAMPLERS
    }
    medians = {sampler: float(np.median(found)) for sampler, found in short.items()}
    return {
        "points": len(figures),
        "trials": trials,
        "hypervolume": whole,
        "shortfall, median of seeds": medians,
        "over that of random points": {s: m / medians["random"] for s, m in medians.items()},
        "shortfall by seed": short,
    }


def _figures(results: SweepResults) -> dict[str, Floats]:
    """Return the costs of every point by its setting."""
    costs = objective_values([s.row for s in results.standings], results.wants.objectives)
    return {str(s.point.setting): c for s, c in zip(results.standings, costs, strict=True)}


def _found(
    plan: SweepPlan,
    results: SweepResults,
    figures: Mapping[str, Floats],
    sampler: str,
    seed: int,
    trials: int,
) -> Floats:
    """Return the costs of so many distinct points that a sampler asks for."""
    objectives = results.wants.objectives
    study = SearchStudy(
        SearchSpace(plan.chips, dimensions(plan)),
        objectives,
        SearchKnobs.model_validate({"sampler": sampler, "seed": seed}),
        storage=None,
        name=plan.name,
        plan="",
    )
    sign = [1.0 if o.better == "lower" else -1.0 for o in objectives]
    seen: dict[str, Floats] = {}
    while len(seen) < trials:
        asked = study.ask()
        name = str(asked.setting)
        seen[name] = figures[name]
        study.tell(asked, name, [s * float(c) for s, c in zip(sign, seen[name], strict=True)], {})
    return np.stack(list(seen.values()))
