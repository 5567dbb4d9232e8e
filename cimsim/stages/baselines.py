"""Digital baselines beside the chips of a comparison: rooflines at the same shape and context.

As much of a baseline as equals the reference, as of every chip (`cimsim.stages.compare`); its batch
is swept, because weights that a batch shares are what a digital device lives on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cimsim.config.baseline import DTYPE_BITS, open_baseline
from cimsim.cost.roofline import RooflineStep, decode_step
from cimsim.results import Row
from cimsim.stages.contenders import Contender, Iso
from cimsim.stages.scale import CONTEXT
from cimsim.units import FJ_PER_J, FJ_PER_NJ
from cimsim.workload.program import Program

__all__ = [
    "BATCHES", "BaselineSystem", "baseline_notes", "baseline_systems", "single_baselines",
]  # fmt: skip

BATCHES = (1, 8, 32, 128)


@dataclass(frozen=True)
class BaselineSystem:
    """As much of a baseline at one batch as equals the reference.

    Attributes:
        step: its decode step.
        copies: how many sets of `step.devices` devices, or what fraction of one.
    """

    step: RooflineStep
    copies: float

    def as_dict(self) -> Row:
        """Return every figure with its unit in the name."""
        step, baseline = self.step, self.step.baseline
        return {
            "baseline": baseline.name,
            "dtype": baseline.dtype,
            "weight_bits": DTYPE_BITS[baseline.dtype],
            "node_nm": baseline.node_nm,
            "batch": step.batch,
            "devices": step.devices,
            "copies": self.copies,
            "area_mm2": self.copies * step.area_mm2,
            "power_w": self.copies * step.power_w,
            "tokens_per_s": self.copies * step.tokens_per_s,
            "tpot_us": 1e6 * step.step_s,
            "energy_per_token_nj": step.energy_per_token_j * (FJ_PER_J / FJ_PER_NJ),
            "limit": step.limit,
            "source": baseline.source,
            "compute_efficiency_source": baseline.compute_efficiency.source,
            "memory_efficiency_source": baseline.memory_efficiency.source,
            "compute_power_source": baseline.compute_power.source,
            "memory_power_source": baseline.memory_power.source,
        }


def baseline_systems(
    names: Sequence[str], program: Program, iso: Iso, reference: Contender
) -> tuple[BaselineSystem, ...]:
    """Return every baseline at every batch, made equal to the reference.

    Args:
        names: bundled baselines or files.
        program: the shape that the chips decode.
        iso: in what systems are equal.
        reference: chip of which one copy is taken.

    Raises:
        CimsimError: if a baseline does not exist or its file does not hold one.
    """
    found = []
    for step in _swept(names, program):
        own = {"area": step.area_mm2, "throughput": step.tokens_per_s, "power": step.power_w}
        found.append(BaselineSystem(step, reference.figure(iso) / own[iso]))
    return tuple(found)


def single_baselines(names: Sequence[str], program: Program) -> tuple[BaselineSystem, ...]:
    """Return every baseline at every batch, one copy of each; arguments as above."""
    return tuple(BaselineSystem(step, 1.0) for step in _swept(names, program))


def _swept(names: Sequence[str], program: Program) -> Iterator[RooflineStep]:
    for baseline in map(open_baseline, dict.fromkeys(names)):
        for batch in BATCHES:
            yield decode_step(baseline, program, batch, CONTEXT)


def baseline_notes(systems: Sequence[BaselineSystem]) -> tuple[str, ...]:
    """Return what baselines rest on, a sentence each: sources, and what is assumed."""
    notes = []
    for baseline in {s.step.baseline.name: s.step.baseline for s in systems}.values():
        parts = (
            (f"{baseline.compute_efficiency.value:.0%} of peak", baseline.compute_efficiency),
            (f"{baseline.memory_efficiency.value:.0%} of bandwidth", baseline.memory_efficiency),
            (f"{baseline.compute_power.value:g} W computing", baseline.compute_power),
            (f"{baseline.memory_power.value:g} W reading", baseline.memory_power),
        )
        told = "; ".join(f"{words}: {part.source}" for words, part in parts)
        notes.append(f"{baseline.name}: {baseline.source}; {told}")
    return tuple(notes)
