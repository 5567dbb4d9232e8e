"""The table of scale.csv: the same tile carried to a full-size model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.cost import LEAKING
from cimsim.results.column import Column, Empty, count, number, text
from cimsim.results.components import COMPONENTS
from cimsim.results.energy_rows import scale_energy
from cimsim.results.table import Table
from cimsim.stages.cost_spread import Spread, interval, spread_of
from cimsim.stages.steady import SteadyTime, steady_time
from cimsim.units import BITS_PER_BYTE, FJ_PER_NJ, PS_PER_US

if TYPE_CHECKING:
    from cimsim.stages.placed_chip import PlacedChip
    from cimsim.stages.timing import Phase

__all__ = ["SCALE", "FullSize"]

NO_ADC = Empty("digital crossbars have no ADC")
NO_ERROR = Empty("one window is timed, or fewer than 20 tokens with the whole batch in flight")
ASLEEP = Empty("nothing leaks, or all that leaks is gated")
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

    @cached_property
    def latency(self) -> SteadyTime:
        """Time of a decoded token with the whole batch in flight, or of the window in prefill."""
        result, batch = self.phase.result, self.phase.batch
        if self.phase.name == "prefill":
            return SteadyTime(float(result.ttft_ps[0]), None, result.tokens)
        tokens = (result.tpot_ps, result.complete_ps)
        took, done = (x.reshape(batch, -1) for x in tokens)
        return steady_time(took, done)

    @property
    def latency_error_us(self) -> float | None:
        """Half of the interval of `latency`."""
        error = self.latency.error_ps
        return None if error is None else error / PS_PER_US

    @cached_property
    def spread(self) -> Spread:
        """The figures in draws of the cost model's constants."""
        return spread_of(self.chip.cost, self.energy, self.phase.result.critical_resource)

    @property
    def never_sleeping(self) -> str | None:
        """What leaks for the whole phase, most energy first."""
        awake = [
            row
            for row in self.chip.cost.leakage()
            if row.idle != "gated" and not isinstance(row.power_uw, str) and row.power_uw > 0
        ]
        awake.sort(key=lambda row: -(self.energy.get(f"energy_leakage_{row.component}_nj") or 0.0))
        return "; ".join(f"{r.instances:,.0f} {r.component} ({r.idle})" for r in awake) or None


def _energy(name: str, meaning: str) -> Column[FullSize]:
    column = f"energy_{name}_nj"
    return number(column, "nJ", f"{meaning} Per token.", lambda s: s.energy.get(column), ABSENT)


def _ends(
    name: str, unit: str, figure: str, draws: Callable[[FullSize], NDArray[np.float64]]
) -> tuple[Column[FullSize], Column[FullSize]]:
    """Return both ends of a figure's interval over draws of the cost model's constants."""
    said = f"end of 95 % of draws of the cost model's constants: {figure}."
    return (
        number(
            f"{name}_low_{unit.lower()}", unit, f"Lower {said}", lambda s: interval(draws(s))[0]
        ),
        number(
            f"{name}_high_{unit.lower()}", unit, f"Upper {said}", lambda s: interval(draws(s))[1]
        ),
    )


SCALE: Table[FullSize] = Table(
    "scale",
    "One row per chip, phase and batch: its tile at the shape of a full-size model, routing "
    "resampled from the chip's own trace.",
    (
        text("config", "Name of the chip.", lambda s: s.chip.config.name),
        text("model", "Checkpoint whose routing was resampled.", lambda s: s.model),
        text("shape", "Model whose shape is timed and charged.", lambda s: s.chip.program.name),
        text("phase", "prefill, decode, or decode_free_memory: decode with an off-chip memory that "
             "transfers in no time.", lambda s: s.phase.name),
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
        *_ends("area", "mm2", "area_mm2", lambda s: s.spread.area_mm2),
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
        number("latency_us", "us", "Prefill: of the window; decode: of a token, mean of those "
               "completed while every sequence of the batch was in flight.",
               lambda s: s.latency.mean_ps / PS_PER_US, better="lower"),
        number("latency_error_us", "us",
               "Half of the 95 % interval of latency_us, from the means of ten parts in time.",
               lambda s: s.latency_error_us, NO_ERROR),
        *_ends("latency", "us", "latency_us",
               lambda s: s.latency.mean_ps / PS_PER_US * s.spread.time),
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
        *_ends("energy_per_token", "nJ", "energy_per_token_nj", lambda s: s.spread.energy_nj),
        number(
            "energy_off_chip_per_token_nj",
            "nJ",
            "What of it is spent off the chip: DRAM, for weights, keys and values, and chip I/O.",
            lambda s: s.phase.ledger.total_fj(kind="off_chip") / FJ_PER_NJ / s.phase.result.tokens,
        ),
        *(_energy(c.name, c.meaning) for c in COMPONENTS),
        _energy("leakage", "Leakage of all on-chip components: the sum of the columns below."),
        *(_energy(f"leakage_{name}", f"Of it {name}.") for name in LEAKING),
        text("never_sleeping", "What of it leaks for the whole phase, whether it works or not: "
             "instances, component and idle policy (cost.idle), most energy first.",
             lambda s: s.never_sleeping, ASLEEP),
        _energy("other", "Components outside this list."),
        text("critical_resource", "Busiest resource.", lambda s: s.phase.result.critical_resource),
        number("critical_resource_utilisation", "1", "Its busy time over the makespan.",
               lambda s: s.phase.utilisation, maximum=1.0),
    ),
)  # fmt: skip
