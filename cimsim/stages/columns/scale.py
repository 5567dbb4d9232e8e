"""The table of scale.csv: the same tile carried to a full-size model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cimsim.results.column import Column, Empty, count, number, text
from cimsim.results.components import COMPONENTS
from cimsim.results.energy_rows import scale_energy
from cimsim.results.table import Table
from cimsim.units import BITS_PER_BYTE, FJ_PER_NJ, PS_PER_US

if TYPE_CHECKING:
    from cimsim.stages.placed_chip import PlacedChip
    from cimsim.stages.timing import Phase

__all__ = ["SCALE", "FullSize"]

NO_ADC = Empty("digital crossbars have no ADC")
ABSENT = Empty("the chip has no such component, or it was never active")


@dataclass(frozen=True)
class FullSize:
    """One phase of a full-size model on a chip.

    Attributes:
        chip: the chip with the shape.
        model: checkpoint whose routing was resampled.
        phase: what was timed and charged.
        context: of the window, or attended to.
        mean_context: tokens that a token attends to, mean.
        dies: that hold the model once.
    """

    chip: PlacedChip
    model: str
    phase: Phase
    context: int
    mean_context: float
    dies: int

    @property
    def crossbars(self) -> bool:
        """Whether anything is on crossbars."""
        return bool(self.chip.config.chip.analog_parts)

    @property
    def converts(self) -> bool:
        """Whether there is an ADC."""
        return self.crossbars and self.chip.config.tile.crossbar.kind != "digital"

    @property
    def macs_per_token(self) -> float:
        """Multiply-accumulates per token, attention included."""
        program = self.chip.program
        return program.linear_macs_per_token() + program.attention_macs_per_token(self.mean_context)

    @cached_property
    def energy(self) -> dict[str, float | None]:
        """Energy columns, nJ per token."""
        return scale_energy(self.phase.ledger, self.phase.result.tokens)

    @property
    def latency_us(self) -> float:
        """Median time of a decoded token, or of a window in prefill."""
        result = self.phase.result
        samples = result.ttft_ps if self.phase.name == "prefill" else result.tpot_ps
        return float(np.median(samples)) / PS_PER_US


def _energy(name: str, meaning: str) -> Column[FullSize]:
    column = f"energy_{name}_nj"
    return number(column, "nJ", f"{meaning} Per token.", lambda s: s.energy[column], ABSENT)


SCALE: Table[FullSize] = Table(
    "scale",
    "One row per chip, phase and batch: its tile at the shape of a full-size model, routing "
    "resampled from the chip's own trace.",
    (
        text("config", "Name of the chip.", lambda s: s.chip.config.name),
        text("model", "Checkpoint whose routing was resampled.", lambda s: s.model),
        text("shape", "Model whose shape is timed and charged.", lambda s: s.chip.program.name),
        text("phase", "prefill or decode.", lambda s: s.phase.name),
        count("context", "token", "Prefill: tokens of the window; decode: tokens attended to.",
              lambda s: s.context),
        count("batch", "sequence", "Sequences at once.", lambda s: s.phase.batch),
        count("tokens", "token", "Tokens simulated.", lambda s: s.phase.result.tokens),
        text("device", "Memory technology of the cells.",
             lambda s: s.chip.config.tile.device.technology if s.crossbars else "digital"),
        number("node_nm", "nm", "Process node.",
               lambda s: s.chip.config.technology.node_nm, minimum=1.0),
        count("weight_bits", "bit", "Bits of a stored weight.",
              lambda s: s.chip.config.tile.weight.bits),
        count("input_bits", "bit", "Bits of an input.", lambda s: s.chip.config.tile.input.bits),
        count("adc_bits", "bit", "Bits of a conversion.",
              lambda s: s.chip.config.tile.adc.bits if s.converts else None, NO_ADC),
        text("adc_model", "Cost model of the ADC.",
             lambda s: s.chip.config.tile.adc.kind if s.converts else None, NO_ADC),
        count("chips", "1", "Chips of the system (system.chips).", lambda s: s.chip.mesh.chips),
        count("dies", "1", "Dies that hold the model once.", lambda s: s.dies),
        count("tiles", "1", "Tiles of all dies.",
              lambda s: s.chip.mesh.n_tiles if s.crossbars else 0),
        number("area_mm2", "mm2", "On-chip area of all dies.", lambda s: s.chip.cost.area_mm2()),
        number(
            "chip_link_bytes_per_token",
            "byte",
            "Bytes over links between chips, each link counted.",
            lambda s: s.phase.result.counts.chip_link_bits / BITS_PER_BYTE / s.phase.result.tokens,
            better="lower",
        ),
        number("power_w", "W", "Energy over time, DRAM and I/O included.",
               lambda s: s.phase.power_w),
        number("tokens_per_s", "token/s", "Tokens over the makespan.",
               lambda s: s.phase.tokens_per_s, better="higher"),
        number("latency_us", "us", "Median: decode a token, prefill a window.",
               lambda s: s.latency_us, better="lower"),
        number("macs_per_token", "1", "Multiply-accumulates per token, attention included.",
               lambda s: s.macs_per_token),
        number(
            "tops_per_w",
            "TOPS/W",
            "Operations per joule; 1 MAC = 2 operations.",
            lambda s: 2.0 * s.macs_per_token / (1000.0 * (s.energy["energy_per_token_nj"] or 0.0)),
            formula="2 x macs_per_token / (1000 x energy_per_token_nj)",
            better="higher",
        ),
        number("energy_per_token_nj", "nJ",
               "Energy per token: the sum of the component columns below.",
               lambda s: s.energy["energy_per_token_nj"], better="lower"),
        number(
            "energy_off_chip_per_token_nj",
            "nJ",
            "What of it is spent off the chip: DRAM, for weights, keys and values, and chip I/O.",
            lambda s: s.phase.ledger.total_fj(kind="off_chip") / FJ_PER_NJ / s.phase.result.tokens,
        ),
        *(_energy(c.name, c.meaning) for c in COMPONENTS),
        _energy("leakage", "Leakage of all on-chip components."),
        _energy("other", "Components outside this list."),
        text("critical_resource", "Busiest resource.", lambda s: s.phase.result.critical_resource),
        number("critical_resource_utilisation", "1", "Its busy time over the makespan.",
               lambda s: s.phase.utilisation, maximum=1.0),
    ),
)  # fmt: skip
