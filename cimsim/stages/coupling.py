"""Whether numbers may be computed before time: trace mode, or coupled mode.

Trace mode computes all numbers first and replays their routing. That is exact where no
state of the chip depends on time. Three kinds of state do:

- experts that are switched on demand draw new errors at every write, and drift anew from it;
- a per-token choice of the least loaded copy, where copies err apart;
- drift while the run lasts, as far as it reaches the next step of age (`run.age_step`).

The first two are known before a run. The third is known after it: if no crossbar grew older
by half a step, coupled mode would have computed the very same numbers.
"""

from __future__ import annotations

from typing import Literal

from cimsim.chip import Placement
from cimsim.config import ChipConfig
from cimsim.config.chip import MappingWeights, Run
from cimsim.errors import CimsimError
from cimsim.mac import AgeGrid
from cimsim.stages.exactness import is_exact
from cimsim.units import PS_PER_S, PS_PER_US

__all__ = [
    "choose_mode",
    "coupling_without_effect",
    "drifts_within",
    "refuse_torch",
    "refuse_trace",
]


def choose_mode(config: ChipConfig, placement: Placement) -> Literal["coupled", "trace"]:
    """Return the mode in which a run begins.

    Raises:
        CimsimError: if trace mode is asked for and numbers are known to depend on time.
    """
    reason = _reason(config, placement)
    if reason and config.run.coupling == "trace":
        refuse_trace(reason)
    if reason and config.run.backend == "torch":
        refuse_torch(reason)
    return "coupled" if reason or config.run.coupling == "coupled" else "trace"


def refuse_trace(reason: str) -> None:
    """Refuse trace mode for a reason.

    Raises:
        CimsimError: always.
    """
    raise CimsimError(
        f"numbers of this run depend on time: {reason}",
        key="run.coupling",
        value="trace",
        allowed="auto, coupled",
    )


def refuse_torch(reason: str) -> None:
    """Refuse a run whose numbers are computed visit by visit, which torch does not do.

    Raises:
        CimsimError: always.
    """
    raise CimsimError(
        f"numbers of this run depend on time and are computed visit by visit: {reason}",
        key="run.backend",
        value="torch",
        allowed="numba",
    )


def drifts_within(config: ChipConfig, makespan_ps: int) -> str | None:
    """Return how conductances drift within a run, None if they do not by a step of age."""
    if not config.chip.analog_parts:
        return None
    grid = AgeGrid.of(config.tile, config.run.age_step)
    start_s = config.tile.device.age_s
    if grid is None or grid.still(start_s, start_s + makespan_ps / PS_PER_S):
        return None
    return (
        f"conductances drift within the {makespan_ps / PS_PER_US:.3g} us that it lasts "
        f"(t0 + age = {grid.t0_s + start_s:.3g} s, run.age_step = {grid.step:g})"
    )


def coupling_without_effect(config: ChipConfig, placement: Placement) -> tuple[str, ...]:
    """Return a warning for every knob of what changes with time that has no effect here."""
    found = []
    if config.mapping.replica_choice != "static" and not _several(placement):
        found.append("mapping.replica_choice has no effect: no unit has two copies")
    steps = config.run.age_step != Run().age_step
    if steps and (not placement.units or AgeGrid.of(config.tile, 0.0) is None):
        found.append("run.age_step has no effect: no cell of this chip drifts")
    if config.mapping.weights.migration != MappingWeights().migration:
        found.append(
            "mapping.weights.migration has no effect in a run, which places everything once: "
            "`python -m moe_mapping remap` moves what is programmed"
        )
    return tuple(found)


def _several(placement: Placement) -> bool:
    """Whether any unit has more than one copy."""
    return any(len(seats) > 1 for seats in placement.seats_of.values())


def _reason(config: ChipConfig, placement: Placement) -> str | None:
    """Return why numbers depend on time, as far as that is known before a run."""
    exact = is_exact(config.tile)
    drifting = bool(placement.units) and AgeGrid.of(config.tile, 0.0) is not None
    if placement.slots and not exact:
        return "experts are switched on demand and draw new errors at every write"
    if placement.slots and drifting:
        return "experts are switched on demand and drift from every write on"
    if config.mapping.replica_choice == "least_loaded" and _several(placement) and not exact:
        return "tokens go to the least loaded copy, and copies err apart"
    return None
