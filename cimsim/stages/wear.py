"""How fast switching experts wears cells out."""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.config import ChipConfig
from cimsim.cost import lifetime_s
from cimsim.stages.timing import Phase
from cimsim.units import PS_PER_S, PS_PER_US

__all__ = ["Wear", "wear", "wear_warning"]

SERVICE_LIFE_S = 10 * 365.25 * 86400.0  # cells that outlast ten years need no word


@dataclass(frozen=True)
class Wear:
    """Wear of the most written expert slot in one phase.

    Attributes:
        writes: its writes.
        lifetime_s: time until its cells reach their endurance at this rate; None if they
            never do.
        unlimited: why they never do, "" if they do.
    """

    writes: int
    lifetime_s: float | None
    unlimited: str


def wear(config: ChipConfig, phase: Phase) -> Wear:
    """Return the wear of a phase, from the writes that the engine made.

    Args:
        config: the chip.
        phase: a timed phase.
    """
    switching = phase.result.switching
    if not switching.count:
        return Wear(0, None, "no expert was switched")
    most = int(switching.slot_loads.max())
    life = lifetime_s(config, most, phase.result.makespan_ps / PS_PER_S)
    return Wear(most, life, "the cells endure any number of writes" if life is None else "")


def wear_warning(config: ChipConfig, phase: Phase) -> tuple[str, ...]:
    """Say when cells would be worn out if experts went on being switched as in a phase."""
    worn = wear(config, phase)
    if worn.lifetime_s is None or worn.lifetime_s > SERVICE_LIFE_S:
        return ()
    return (
        f"decode writes the busiest expert slot {worn.writes} times in "
        f"{phase.result.makespan_ps / PS_PER_US:.3g} us: at tile.device.programming.endurance its "
        f"cells last {worn.lifetime_s:.3g} s",
    )
