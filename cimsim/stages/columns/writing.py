"""Columns of results.csv about cells that are written: expert switches and calibration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cimsim.results.column import Column, Empty, count, number
from cimsim.stages.columns.quality import AT_BATCH
from cimsim.units import FJ_PER_NJ, PS_PER_S, PS_PER_US

if TYPE_CHECKING:
    from cimsim.stages.measured import ChipMeasurement

__all__ = ["IDENTITY", "WRITING", "calibrating"]

HOLDS_ALL = Empty("the chip holds every expert, or none is on tiles")
NO_VISITS = Empty("no expert was asked for")
UNUSED = Empty("no expert was switched")
ENDURES = Empty("the cells endure any number of writes")
IDENTITY = Empty("the calibrator is identity")


def _switch_energy_nj(m: ChipMeasurement) -> float:
    """Return the energy of reading weights from memory and of writing them into cells."""
    switching = m.main.result.switching
    spent = m.main.ledger.total_fj(component="program")
    spent += m.chip.cost.off_chip_fj(switching.fetched_bytes)
    return spent / FJ_PER_NJ if switching.count else 0.0


def _rate(m: ChipMeasurement, rate: float | None) -> float | Empty:
    if not m.chip.placement.slots:
        return HOLDS_ALL
    return NO_VISITS if rate is None else rate


def _lifetime(m: ChipMeasurement) -> float | Empty:
    if not m.main.result.switching.count:
        return UNUSED
    return ENDURES if m.wear.lifetime_s is None else m.wear.lifetime_s


def calibrating(
    value: Callable[[ChipMeasurement], float],
) -> Callable[[ChipMeasurement], float | Empty]:
    """Return the value of a calibration, or why there is none."""
    return lambda m: IDENTITY if m.calibration.method == "identity" else value(m)


WRITING: tuple[Column[ChipMeasurement], ...] = (
    count("expert_switch_bytes", "byte", f"Stored weight bytes fetched by switches; {AT_BATCH}.",
          lambda m: m.main.result.switching.fetched_bytes),
    number("expert_switch_energy_nj", "nJ",
           f"Energy of expert switches: memory read and cells written; {AT_BATCH}.",
           _switch_energy_nj),
    count("expert_switches", "1", f"Experts programmed on demand; {AT_BATCH}.",
          lambda m: m.main.result.switching.count),
    number("expert_switches_per_token", "1", f"The same per token; {AT_BATCH}.",
           lambda m: m.main.result.switching.count / m.main.result.tokens,
           formula="expert_switches / tokens", better="lower"),
    number("expert_switch_bytes_per_s", "byte/s",
           f"Weight bytes that switches fetch per second; {AT_BATCH}.",
           lambda m: m.main.result.switching.fetched_bytes / m.main.result.makespan_ps * PS_PER_S,
           formula="1e6 x expert_switch_bytes / makespan_us", better="lower"),
    number(
        "expert_switch_stall_per_token_us",
        "us",
        "Time that expert visits wait for their expert, summed over the visits of a token, which "
        f"wait side by side; {AT_BATCH}.",
        lambda m: m.main.result.switching.stall_ps / PS_PER_US / m.main.result.tokens,
        better="lower",
    ),
    number("expert_hit_rate", "1", f"Expert visits whose expert was resident at once; {AT_BATCH}.",
           lambda m: _rate(m, m.main.result.switching.hit_rate), HOLDS_ALL, NO_VISITS,
           better="higher", maximum=1.0),
    number("expert_hit_rate_bound", "1",
           "The same of the best policy that loads experts when they are asked for, on the same "
           f"requests (Belady's optimum; prefetching may exceed it); {AT_BATCH}.",
           lambda m: _rate(m, m.main.result.switching.hit_rate_bound), HOLDS_ALL, NO_VISITS,
           maximum=1.0),
    count("cells_written", "1", f"Cells programmed by switches; {AT_BATCH}.",
          lambda m: m.main.result.switching.cells),
    count("expert_slot_writes_max", "1", f"Writes of the most written expert slot; {AT_BATCH}.",
          lambda m: m.wear.writes),
    number(
        "switch_lifetime_s",
        "s",
        f"Time until the cells of that slot are worn out if switching goes on; {AT_BATCH}.",
        _lifetime,
        UNUSED,
        ENDURES,
        formula="tile.device.programming.endurance x makespan_us / (1e6 x expert_slot_writes_max)",
        better="higher",
    ),
    count("calibration_tokens", "token", "Tokens that calibration saw.",
          calibrating(lambda m: m.calibration.tokens), IDENTITY),
    count("calibration_cells_written", "1", "Cells rewritten by calibration.",
          calibrating(lambda m: m.calibration.cells), IDENTITY),
    number("calibration_energy_nj", "nJ", "Energy of rewriting them.",
           calibrating(lambda m: m.calibration.energy_nj), IDENTITY),
    number("calibration_time_us", "us", "Time of rewriting them.",
           calibrating(lambda m: m.calibration.time_us), IDENTITY),
    number("correction_ops_per_token", "1",
           "Digital operations that calibration adds to every token.",
           calibrating(lambda m: m.calibration.ops_per_token), IDENTITY),
)  # fmt: skip
