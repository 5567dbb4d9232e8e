"""A trace of one phase of a model on a chip, at a chosen time: what every resource does then."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cimsim.config import ChipConfig
from cimsim.engine import simulate
from cimsim.errors import CimsimError
from cimsim.results import Activity
from cimsim.stages.placed_chip import place_chip
from cimsim.stages.scale import fit_shape
from cimsim.units import PS_PER_US
from cimsim.workload.program import Program
from cimsim.workload.trace import RoutingTrace

__all__ = ["TraceWindow", "trace_activity"]

MOST_SLICES = 1_000_000
"""Of a phase, from its begin: what is beyond is not kept while a window is chosen."""


@dataclass(frozen=True)
class TraceWindow:
    """What is shown.

    Attributes:
        phase: decode or prefill.
        batch: sequences at once.
        from_us: begin.
        until_us: end; None shows all.
    """

    phase: str
    batch: int
    from_us: float = 0.0
    until_us: float | None = None


def trace_activity(
    config: ChipConfig,
    program: Program,
    trace: RoutingTrace,
    window: TraceWindow,
    *,
    full_size: bool,
) -> Activity:
    """Return what the chip does in a window of a phase.

    Args:
        config: the chip.
        program: the model.
        trace: routing of all sequences.
        window: phase, batch and time.
        full_size: whether the chip is fitted to the model as in scale.csv; else it is placed as
            `cimsim run` does.

    Raises:
        CimsimError: if the window is empty, or begins after the phase has ended.
    """
    workload = config.workload.model_copy(update={"in_flight": window.batch})
    config = config.model_copy(update={"workload": workload})
    if full_size:
        full = fit_shape(config, program)
        chip = replace(full, config=full.config.model_copy(update={"workload": workload}))
    else:
        chip = place_chip(config, program, trace)
    result = simulate(chip, trace, phase=window.phase, batch=window.batch)
    name = window.phase if window.phase == "prefill" else f"decode_b{window.batch}"
    activity = result.activity(name, MOST_SLICES)
    begin = round(window.from_us * PS_PER_US)
    end = activity.until_ps if window.until_us is None else round(window.until_us * PS_PER_US)
    if begin >= min(end, activity.until_ps):
        raise CimsimError(
            "nothing of the phase lies in this window",
            key="--from-us",
            value=window.from_us,
            allowed=f"0 to {min(end, activity.until_ps) / PS_PER_US:g}",
            hint=f"the phase takes {activity.end_ps / PS_PER_US:g} us",
        )
    return activity.between(begin, end)
