"""Time and energy of routed tokens: the routing of the tiles, replayed on the chip.

Two phases are timed. Prefill: windows in flight at once, flights of tokens through the
layers. Decode: the same teacher-forced routing, one token a sequence and step, at each
batch size. Energy is what the phases counted times what an action costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cimsim.chip import ChipMesh, Placement, UnitKey
from cimsim.config import ChipConfig
from cimsim.cost import CostModel, Density, Ledger
from cimsim.engine import EngineResult, simulate
from cimsim.workload.program import Program
from cimsim.workload.trace import RoutingTrace

__all__ = ["Phase", "Timing", "time_routing"]


@dataclass(frozen=True)
class Phase:
    """One timed phase.

    Attributes:
        name: prefill, or decode_b1, decode_b8, ...
        batch: sequences at once.
        result: what the engine measured.
        ledger: energy of the phase alone.
    """

    name: str
    batch: int
    result: EngineResult
    ledger: Ledger


@dataclass(frozen=True)
class Timing:
    """Every phase of one routing on one chip.

    Attributes:
        phases: by name, prefill first.
    """

    phases: Mapping[str, Phase]

    @property
    def prefill(self) -> Phase:
        """The prefill phase."""
        return self.phases["prefill"]

    def decode(self, batch: int) -> Phase:
        """The decode phase at a batch size."""
        return self.phases[f"decode_b{batch}"]


def time_routing(
    config: ChipConfig,
    mesh: ChipMesh,
    placement: Placement,
    program: Program,
    cost: CostModel,
    trace: RoutingTrace,
    density: Mapping[UnitKey, Density] | None,
) -> Timing:
    """Run every phase on the event engine and charge what it counted.

    Args:
        config: the chip.
        mesh: its geometry.
        placement: where copies sit.
        program: the model.
        cost: times and energies.
        trace: routing to replay.
        density: bit and level densities that the tiles measured; None without a functional run.
    """
    phases: dict[str, Phase] = {}
    plan = [("prefill", config.workload.in_flight)]
    plan += [(f"decode_b{b}", b) for b in config.run.decode_batch]
    for name, batch in plan:
        result = simulate(
            config,
            mesh,
            placement,
            program,
            cost,
            trace,
            phase=name.split("_")[0],
            batch=batch,
            engine=config.run.engine,
        )
        ledger = Ledger()
        cost.charge(ledger, result.counts, density)
        phases[name] = Phase(name, batch, result, ledger)
    return Timing(phases)
