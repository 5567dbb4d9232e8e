"""The products of a deployed model while simulated time passes.

What a crossbar computes depends on when it was last written: programming errors belong to
the write (which expert, and how often it had been programmed before), and conductances drift
with the time since then. `serve` says which visit is served and when; the products that the
decoder then asks for see the crossbars as they are at that moment:

- a copy that keeps its place was written before the run: its age is `tile.device.age_s`
  plus the simulated time;
- an expert in a slot was written when the run last did so: its age is the time since the
  last cell was written, and its write is counted among those of the same expert, into
  whatever slots.

Ages are stepped (`cimsim.mac.AgeGrid`, knob run.age_step).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import UnitKey
from cimsim.mac import AgeGrid, MacStatistics, Mode, ProgrammedMatrix
from cimsim.model import Correction
from cimsim.stages.copy import Copy
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.slot_rewrites import writes_at_start
from cimsim.stages.trimmed import TrimmedCopy
from cimsim.units import PS_PER_S
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["TimedLinear"]

Floats = NDArray[np.float32]
NONE = -1


@dataclass
class _Slot:
    """What a slot holds.

    Attributes:
        count: how often the expert in it had been programmed before the last write.
        written_ps: end of the last write of the run; -1 if it was written before the run.
        copies: its matrices at the age at which they were last read, (age, copy).
    """

    count: int = 0
    written_ps: int = NONE
    copies: dict[MatrixId, tuple[float, Copy]] = field(default_factory=dict)


class TimedLinear:
    """`Linear` of one chip in time.

    Args:
        deployment: the chip at the start of the run.
        correction: what calibration changed before the run.
        read_seed: seed of the read noise.
        mode: detailed or folded.
        age_step: knob run.age_step.
        statistics: where conversions are counted, or None.
    """

    def __init__(
        self,
        deployment: ProgrammedChip,
        correction: Correction | None,
        *,
        read_seed: int,
        mode: Mode,
        age_step: float,
        statistics: MacStatistics | None,
    ) -> None:
        self._base = deployment.at_start(
            correction, read_seed=read_seed, mode=mode, statistics=statistics
        )
        self._start_s = deployment.tile.device.age_s
        self._grid = AgeGrid.of(deployment.tile, age_step)
        self._aged: dict[tuple[MatrixId, int], tuple[float, Copy]] = {}
        self._writes = writes_at_start(deployment.holds, correction)
        self._slots: defaultdict[int, _Slot] = defaultdict(_Slot)
        self._now_ps, self._replica, self._slot = 0, 0, NONE

    def serve(self, now_ps: int, replica: int, slot: int = NONE) -> None:
        """Say which visit is served from now on.

        Args:
            now_ps: simulated time.
            replica: copy of the unit that serves it.
            slot: slot of a switched expert, else -1.
        """
        self._now_ps, self._replica, self._slot = now_ps, replica, slot

    def written(self, slot: int, expert: UnitKey, end_ps: int) -> None:
        """Note that an expert has been written into a slot, the last cell at `end_ps`."""
        self._slots[slot] = _Slot(self._writes[expert], end_ps)
        self._writes[expert] += 1

    def __call__(self, matrix: MatrixId, x: Floats, tokens: TokenKeys) -> Floats:
        """Return x @ W as the crossbars of the visit compute it, float32 [n, n_out]."""
        if matrix not in self._base.programmed:
            return self._base.digital(matrix, x, tokens)
        copies = self._base.programmed[matrix]
        if self._slot != NONE and matrix.part == "experts":
            return self._base.read(self._in_slot(matrix, copies), x, tokens, 0)
        if len(copies) > 1 and (matrix.layer, matrix.routed) in self._base.averaged:
            now = tuple(self._in_place(matrix, r, copy) for r, copy in enumerate(copies))
            return self._base.mean(now, x, tokens)
        replica = self._replica if len(copies) > 1 else 0
        return self._base.read(self._in_place(matrix, replica, copies[replica]), x, tokens, replica)

    def _in_place(self, matrix: MatrixId, replica: int, copy: Copy) -> Copy:
        """Return a copy that keeps its place, at its present age."""
        if isinstance(copy, TrimmedCopy):
            return copy.over(self._in_place(matrix, replica, copy.copy))
        age_s = self._age_s(self._start_s, self._start_s + self._now_ps / PS_PER_S)
        if age_s == self._start_s or not isinstance(copy, ProgrammedMatrix):
            return copy
        known = self._aged.get((matrix, replica))
        if known is None or known[0] != age_s:
            known = self._aged[matrix, replica] = (age_s, copy.at(age_s))
        return known[1]

    def _in_slot(self, matrix: MatrixId, copies: tuple[Copy, ...]) -> Copy:
        """Return an expert's matrix as its slot holds it."""
        slot = self._slots[self._slot]
        if slot.written_ps == NONE:
            return self._in_place(matrix, 0, copies[0])
        if not isinstance(copies[0], ProgrammedMatrix):
            return copies[0]  # exact integers: every write gives the same
        age_s = self._age_s(0.0, (self._now_ps - slot.written_ps) / PS_PER_S)
        known = slot.copies.get(matrix)
        if known is None or known[0] != age_s:
            writing = replace(copies[0].writing, count=slot.count, slot=self._slot, age_s=age_s)
            known = slot.copies[matrix] = (age_s, copies[0].rewritten(writing))
        return known[1]

    def _age_s(self, reference_s: float, age_s: float) -> float:
        return reference_s if self._grid is None else self._grid.snap(reference_s, age_s)
