"""What a calibration costs: digital operations per token, cells rewritten, energy and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cimsim.chip import UnitKey
from cimsim.cost import ActionCounts, Ledger
from cimsim.engine import CorrectionWork
from cimsim.model import TRIM_VECTORS, Correction, digital_ops_per_token, rewritten_matrices
from cimsim.stages.placed_chip import PlacedChip
from cimsim.units import FJ_PER_NJ, OPS_PER_MAC, PS_PER_US

__all__ = ["CalibrationCost", "calibration_cost"]


@dataclass(frozen=True)
class CalibrationCost:
    """Cost of one correction.

    Attributes:
        method: the calibrator.
        tokens: calibration tokens.
        cells: cells written, all placed copies.
        energy_nj: energy of writing them, and of the test vectors of a bring-up.
        time_us: time of writing, and of multiplying test vectors, unit after unit.
        ops_per_token: digital operations added to a token.
        work: the same for the engine, in every MoE layer.
        ledger: rows of both, phase calibration.
        copies: copies of each averaged unit: all of them are read for every token.
    """

    method: str
    tokens: int
    cells: int
    energy_nj: float
    time_us: float
    ops_per_token: float
    work: CorrectionWork
    ledger: Ledger
    copies: Mapping[UnitKey, int]


def calibration_cost(chip: PlacedChip, correction: Correction) -> CalibrationCost:
    """Charge a correction.

    Args:
        chip: the chip with its program; every copy of a rewritten unit is written.
        correction: what calibration changed.
    """
    program, placement, cost = chip.program, chip.placement, chip.cost
    ops = digital_ops_per_token(correction, program)
    layers = max(1, len(program.moe_layers))
    work = CorrectionWork(round(ops.macs / layers), round(ops.elements / layers))
    averaged = {UnitKey(r.layer, r.part, r.expert): r.copies for r in correction.replicas}
    written: dict[UnitKey, int] = {}
    cells = 0
    read, time_ps = _bring_up(chip, correction)
    by_steps = rewritten_matrices(replace(correction, clip_lsb=0.0), program)
    for key in dict.fromkeys(UnitKey.of(m.id) for m in by_steps):
        if key not in placement.units:
            continue
        copies = len(placement.seats_of.get(key, ())) or 1
        if key in averaged and key.part != "experts":
            # Copies that the placement made are there already; the others are new.
            copies = averaged[key] - copies
            if copies < 1:
                continue
        written[key] = copies
    for key, copies in _all_copies(chip).items() if correction.clip_lsb else ():
        written[key] = written.get(key, 0) + copies
    for key, copies in written.items():
        cells += copies * placement.units[key].cells
        time_ps += copies * cost.programming_ps(placement.units[key])
    ledger = Ledger()
    if written or read:
        counts = ActionCounts("calibration", 0, time_ps, read, programmed=written)
        cost.charge(ledger, counts, {})
    spent = sum(
        row.energy_fj
        for row in ledger
        if row.component == "program" or (read and row.kind == "dynamic")
    )
    return CalibrationCost(
        method=correction.method,
        tokens=chip.config.calibration.tokens,
        cells=cells,
        energy_nj=spent / FJ_PER_NJ,
        time_us=time_ps / PS_PER_US,
        ops_per_token=OPS_PER_MAC * ops.macs + ops.elements,
        work=work,
        ledger=ledger,
        copies=averaged,
    )


def _all_copies(chip: PlacedChip) -> dict[UnitKey, int]:
    """Return how many copies of every unit the chip holds when it starts."""
    holds = chip.copies
    placed = {key: holds.resident.get(key, int(key in holds.starts)) for key in holds.units}
    return {key: copies for key, copies in placed.items() if copies}


def _bring_up(chip: PlacedChip, correction: Correction) -> tuple[dict[UnitKey, int], int]:
    """Return test vectors by unit, of all copies, and the time, in ps.

    Trimming multiplies them; so does measuring for which error columns are clipped, before it.
    """
    vectors: dict[UnitKey, int] = {}
    for matrix, trim in correction.trims.items():
        key = UnitKey.of(matrix)
        if key not in vectors and key in chip.placement.units:
            vectors[key] = TRIM_VECTORS * len(trim.gain)
    for key, copies in _all_copies(chip).items() if correction.clip_lsb else ():
        if key not in chip.copies.dealt:
            vectors[key] = vectors.get(key, 0) + TRIM_VECTORS * copies
    units, timing = chip.placement.units, chip.cost.visit_timing
    time_ps = sum(n * timing(units[key]).interval_ps for key, n in vectors.items())
    return vectors, time_ps
