"""A workload on a chip: time and energy a token, and what of the chip's peak it uses.

The chip is fitted to the workload (`cimsim.stages.full_size`): as many tiles as hold it once. The
peak beside it is that of the same fitted chip, so the ratio is that of system to macro: what
networks, memories, digital units, leakage and waiting leave of it. Energy-delay is energy of a
token times its latency.
"""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.config import ChipConfig
from cimsim.cost.peak import Peak, peak
from cimsim.results import Cell
from cimsim.stages.columns.scale import FullSize
from cimsim.stages.full_size import fitted_phase
from cimsim.units import FJ_PER_NJ, OPS_PER_MAC, PS_PER_US

__all__ = ["WorkloadPoint", "workload_point"]

SKEW = 0.6  # Zipf exponent of the popularity of experts, as `cimsim trace` takes it


@dataclass(frozen=True)
class WorkloadPoint:
    """A workload that a chip decodes.

    Attributes:
        timed: the fitted chip and its phase.
        peak: of the same chip.
    """

    timed: FullSize
    peak: Peak

    @property
    def latency_us(self) -> float:
        """Time of a token."""
        return self.timed.latency.mean_ps / PS_PER_US

    @property
    def energy_uj(self) -> float:
        """Energy of a token: chip, leakage and off-chip memory."""
        phase = self.timed.phase
        return phase.energy_fj / FJ_PER_NJ / 1e3 / phase.result.tokens

    @property
    def digital_macs(self) -> float:
        """Multiply-accumulates of a token that digital units do."""
        result = self.timed.phase.result
        return sum(result.counts.digital_macs.values()) / result.tokens

    def as_dict(self) -> dict[str, Cell]:
        """Return every figure with its unit in the name."""
        timed, found = self.timed, self.peak
        phase, macs = timed.phase, timed.macs_per_token
        analog = macs - self.digital_macs
        elements = sum(phase.result.counts.digital_elements.values()) / phase.result.tokens
        digital = OPS_PER_MAC * self.digital_macs + elements
        tops = OPS_PER_MAC * macs * phase.tokens_per_s * 1e-12
        tops_per_w = OPS_PER_MAC * macs / (self.energy_uj * 1e6)
        return {
            "shape": timed.chip.program.name,
            "batch": phase.batch,
            "tiles": timed.chip.mesh.n_tiles,
            "latency_us": self.latency_us,
            "energy_uj": self.energy_uj,
            "edp_uj_us": self.energy_uj * self.latency_us,
            "tokens_per_s": phase.tokens_per_s,
            "macs_per_token": macs,
            "tops": tops,
            "tops_per_w": tops_per_w,
            "tops_per_mm2": tops / timed.chip.cost.area_mm2(),
            "share_of_peak_tops": tops / found.tops,
            "share_of_peak_tops_per_w": tops_per_w / found.tops_per_w,
            "crossbar_macs": analog,
            "digital_macs": self.digital_macs,
            "digital_elements": elements,
            "crossbar_to_digital_ops": OPS_PER_MAC * analog / digital if digital else None,
            "critical_resource": phase.result.critical_resource,
        }


def workload_point(config: ChipConfig, shape: str, batch: int) -> WorkloadPoint:
    """Time and charge a workload on a chip, fitted to it.

    Args:
        config: the chip.
        shape: name or file of the workload.
        batch: tokens at once, one of each sequence; attention is to a full context.

    Raises:
        CimsimError: if there is no such shape, or the chip cannot hold it.
    """
    workload = config.workload.model_copy(update={"shape": shape})
    run = config.run.model_copy(update={"decode_batch": (batch,)})
    timed = fitted_phase(config.model_copy(update={"workload": workload, "run": run}), SKEW)
    chip = timed.chip
    sized = chip.config.chip.model_copy(update={"tiles": chip.mesh.chip_tiles})
    return WorkloadPoint(timed, peak(chip.config.model_copy(update={"chip": sized})))
