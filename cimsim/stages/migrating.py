"""Following a drift of the load on a running chip: what a re-mapping gains and costs.

A chip is placed for the routing of yesterday and meets that of today. Either a few copies
are programmed elsewhere (`moe_mapping.remap`), or the policy of the chip places all again:
with what must be programmed in its objective (`mapping.weights.migration`), or anew as if
the chip were blank. Gains are busy time of
the slowest tile in a window of today's routing; costs are those of the engine when it
switches an expert: every crossbar has its own write drivers, so copies are written at the
same time and a change takes as long as its slowest copy, after the weights were fetched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cimsim.chip import Unit
from cimsim.cost import CostModel
from cimsim.cost.programming import price_program
from cimsim.errors import CimsimError
from cimsim.stages.placed_chip import PlacedChip
from cimsim.stages.placing import problem_of
from cimsim.units import FJ_PER_J
from cimsim.workload.trace import RoutingTrace
from moe_mapping.assignment import Assignment
from moe_mapping.objective import tile_times_ps
from moe_mapping.problem import MappingProblem
from moe_mapping.registry import solve
from moe_mapping.remap import remap

__all__ = ["Migration", "follow_drift"]


@dataclass(frozen=True)
class Migration:
    """A change of placement on a programmed chip.

    Attributes:
        name: stay, remap, weigh (placed again, programming in the objective) or solve.
        slowest_tile_ps: busy time of the slowest tile in a window of the new routing.
        gain_ps: what that is less than without any change.
        moves: copies programmed.
        crossbars: crossbars programmed.
        cells: cells programmed, one write each.
        fetched_bytes: stored weights read from memory.
        write_ps: time to program all copies at once.
        write_j: energy of it; None where it is not modelled.
        payback_windows: windows after which the gain has paid for the writing time; None
            where there is no gain.
    """

    name: str
    slowest_tile_ps: float
    gain_ps: float
    moves: int
    crossbars: int
    cells: int
    fetched_bytes: int
    write_ps: int
    write_j: float | None
    payback_windows: float | None


def follow_drift(
    chip: PlacedChip,
    after: RoutingTrace,
    *,
    slack: float = 0.05,
    most_moves: int | None = None,
) -> tuple[Migration, ...]:
    """Return what it means to stay, to re-map incrementally, to weigh and to place anew.

    Args:
        chip: placed for the first routing; its policy places it anew.
        after: routing that it meets.
        slack: incremental re-mapping stops within this share of the lower bound.
        most_moves: most copies that it programs; None = no limit.

    Raises:
        CimsimError: where experts are switched, or there are several chips.
    """
    now, config, units, cost = chip.assignment, chip.config, chip.units, chip.cost
    if now is None:
        raise CimsimError("only one chip that holds all experts can be re-mapped")
    problem = problem_of(config, chip.mesh, chip.program, units, cost, after)
    current = replace(problem, current=now)
    plans = {
        "stay": now,
        "remap": remap(current, slack, most_moves).assignment,
        "weigh": solve(current, config.mapping.policy, config.run.seed),
        "solve": solve(problem, config.mapping.policy, config.run.seed),
    }
    return tuple(_migration(name, problem, units, cost, now, plan) for name, plan in plans.items())


def _migration(
    name: str,
    problem: MappingProblem,
    units: tuple[Unit, ...],
    cost: CostModel,
    now: Assignment,
    plan: Assignment,
) -> Migration:
    written = [units[u] for u in plan.written(now)]
    slowest = float(tile_times_ps(problem, plan).max())
    gain = float(tile_times_ps(problem, now).max()) - slowest
    write_ps = max((cost.programming_ps(unit) for unit in written), default=0)
    cells = sum(unit.cells for unit in written)
    payback = write_ps / gain if gain > 0.0 else None
    cell_fj = price_program(cost.config).energy_fj
    return Migration(
        name=name,
        slowest_tile_ps=slowest,
        gain_ps=gain,
        moves=len(written),
        crossbars=plan.rewritten(now),
        cells=cells,
        fetched_bytes=sum(cost.programming_bytes(unit) for unit in written),
        write_ps=write_ps,
        write_j=None if cell_fj is None else cells * cell_fj / FJ_PER_J,
        payback_windows=0.0 if not written else payback,
    )
