"""Slots that hold another expert's weights, and matrices that leave the crossbars: who answers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from cimsim.chip import LogicalCopies, UnitKey
from cimsim.errors import CimsimError
from cimsim.model import Correction
from cimsim.stages.copy import Copy
from cimsim.stages.stored_copies import Maker
from cimsim.workload.matrix import MatrixId

__all__ = [
    "average_slots",
    "check_slots_apart",
    "is_offloaded",
    "replicated",
    "source_of",
    "writes_at_start",
]


def check_slots_apart(correction: Correction) -> None:
    """Refuse corrections that read two experts at once where one may not be resident."""
    for rewrite in correction.rewrites:
        if rewrite.copy_router and rewrite.sharing == "average":
            raise CimsimError(
                f"the correction averages experts {rewrite.source} and {rewrite.slot} of layer "
                f"{rewrite.layer}, and on a chip that switches experts one of them may not be "
                "resident",
                key="calibration.method",
                hint="take a method without averaging, or a chip that holds all experts",
            )


def average_slots(
    programmed: dict[MatrixId, Maker], correction: Correction
) -> set[tuple[int, int]]:
    """Let a source expert answer with the mean of itself and the slots rewritten with it."""
    found: set[tuple[int, int]] = set()
    for rewrite in correction.rewrites:
        if rewrite.copy_router and rewrite.sharing == "average":
            found.add((rewrite.layer, rewrite.source))
            for matrix in [m for m in programmed if m.part == "experts"]:
                if (matrix.layer, matrix.expert) == (rewrite.layer, rewrite.slot):
                    source = matrix._replace(expert=rewrite.source)
                    programmed[source] = partial(_both, programmed[source], programmed[matrix])
    return found


def _both(first: Maker, second: Maker) -> tuple[Copy, ...]:
    return (*first(), *second())


def is_offloaded(matrix: MatrixId, correction: Correction) -> bool:
    """Return whether a correction has a matrix computed digitally."""
    expert = (matrix.layer, matrix.expert) in correction.offload_experts
    return matrix.part in correction.offload_parts or (expert and matrix.part == "experts")


def replicated(
    correction: Correction, programmed: Mapping[MatrixId, tuple[Copy, ...]]
) -> set[tuple[int, int]]:
    """Return the experts whose placed copies are averaged; all of them must be placed."""
    wanted: set[tuple[int, int]] = set()
    for replica in correction.replicas:
        if replica.part != "experts":
            continue
        placed = len(programmed.get(MatrixId(replica.layer, "gate", replica.expert), ()))
        if placed < replica.copies:
            raise CimsimError(
                f"the correction averages {replica.copies} copies of expert {replica.expert} "
                f"of layer {replica.layer} and {placed} are placed",
                key="mapping.replicas",
                hint="give the chip more spare crossbars (chip.spare_fraction)",
            )
        wanted.add((replica.layer, replica.expert))
    return wanted


def writes_at_start(holds: LogicalCopies, correction: Correction | None) -> dict[UnitKey, int]:
    """Return how often every switched expert was programmed before a run starts.

    Once where a slot holds it, once more if calibration wrote the whole model anew, and once
    more if it rewrote that slot.
    """
    first = 2 if correction is not None and correction.clip_lsb else 1
    rewrites = () if correction is None else correction.rewrites
    again = {UnitKey(r.layer, "experts", r.slot) for r in rewrites}
    starts = holds.starts
    return {key: first + (key in again) if key in starts else 0 for key in holds.dealt}


def source_of(matrix: MatrixId, correction: Correction | None) -> MatrixId:
    """Return whose weights the cells of a matrix hold: another expert's in a rewritten slot."""
    for rewrite in () if correction is None else correction.rewrites:
        if (rewrite.layer, rewrite.slot) == (matrix.layer, matrix.routed):
            return matrix._replace(expert=rewrite.source)
    return matrix
