"""A model deployed on a chip: programmed matrices behind the decoder's `Linear`.

A deployment is what a lab has on the bench: a programmed chip whose digital outputs can be
read, and whose expert slots and router rows can be rewritten. Calibrators get it through
this protocol alone, so they never see conductances, noise, the chip seed or sigma.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import Placement, Seat, UnitKey
from cimsim.config import ChipConfig
from cimsim.errors import CimsimError
from cimsim.mac import AdcRange, MacStatistics, Mode, ProgrammedMatrix, program_matrix
from cimsim.model import Checkpoint, Correction, FloatLinear
from cimsim.stages.exactness import is_exact
from cimsim.stages.linear import AnalogLinear, Copy
from cimsim.workload.program import NO_EXPERT, AnalogPart, MatrixId

__all__ = ["Deployment"]

Floats = NDArray[np.float32]

# Epochs of writes for calibration, which no run reaches: one a pass and turn of a slot.
CALIBRATION_EPOCH, MOST_PASSES, MOST_TURNS = 1 << 30, 1 << 19, 1 << 10


@dataclass(frozen=True)
class Written:
    """One copy of a matrix and where and when it was written."""

    crossbars: tuple[int, ...]
    epoch: int
    copy: Copy


@dataclass(frozen=True)
class Deployment:
    """One chip seed with one model programmed on it.

    Attributes:
        config: the chip.
        checkpoint: the clean model.
        placement: where copies sit.
        ranges: ADC range and input scale of every analog matrix, shared by all chips.
        digital: float products of what is not analog, shared by all chips.
        chip_seed: which draw of the frozen randomness this chip is.
        crossbars: crossbars of every copy of a matrix, in replica order.
        programmed: copies of every analog matrix.
        drawn: experts in slots as written for passes of calibration text, by read seed.
    """

    config: ChipConfig
    checkpoint: Checkpoint
    placement: Placement
    ranges: Mapping[MatrixId, AdcRange]
    digital: FloatLinear
    chip_seed: int = field(repr=False)
    crossbars: Mapping[MatrixId, tuple[tuple[int, ...], ...]] = field(repr=False)
    programmed: Mapping[MatrixId, tuple[Copy, ...]] = field(repr=False)
    drawn: dict[int, dict[MatrixId, Written]] = field(default_factory=dict, repr=False)

    @classmethod
    def program(
        cls,
        config: ChipConfig,
        checkpoint: Checkpoint,
        placement: Placement,
        ranges: Mapping[MatrixId, AdcRange],
        digital: FloatLinear,
        chip_seed: int,
    ) -> Deployment:
        """Write every analog matrix into its crossbars.

        An expert that no slot holds at the start is programmed as if a slot were free: it is
        written before it is read. Where cells hold exact levels it does not matter where. Where
        they err, a run writes it again, and so does calibration (`linear`).
        """
        crossbars = _crossbars_of(placement)
        bare = cls(config, checkpoint, placement, ranges, digital, chip_seed, crossbars, {})
        programmed = {
            matrix: tuple(
                bare._write(matrix, checkpoint.matrix(matrix), numbers, ranges[matrix], epoch=0)
                for numbers in copies
            )
            for matrix, copies in crossbars.items()
        }
        return replace(bare, programmed=programmed)

    def linear(
        self,
        correction: Correction | None = None,
        *,
        read_seed: int,
        mode: Mode,
        statistics: MacStatistics | None = None,
    ) -> AnalogLinear:
        """Return the chip's products, with the rewrites of a correction carried out.

        A chip that switches experts whose cells err writes them anew again and again. What a
        lab measures over a text is one such write: experts in slots err anew for every read
        seed, so that a correction which only fits the errors of one write is not accepted.

        Args:
            correction: rewritten expert slots and router rows, averaged copies, offloaded
                experts; None or the identity leaves the chip as programmed.
            read_seed: seed of the read noise.
            mode: detailed or folded.
            statistics: where to count conversions, or None.
        """
        drawn = self._draw(read_seed) if self.placement.slots and not is_exact(self.config) else {}
        return self._join(correction, drawn, read_seed, mode, statistics)

    def at_start(
        self,
        correction: Correction | None = None,
        *,
        read_seed: int,
        mode: Mode,
        statistics: MacStatistics | None = None,
    ) -> AnalogLinear:
        """Return the chip's products as a run finds it; arguments are those of `linear`."""
        return self._join(correction, {}, read_seed, mode, statistics)

    def _join(
        self,
        correction: Correction | None,
        drawn: dict[MatrixId, Written],
        read_seed: int,
        mode: Mode,
        statistics: MacStatistics | None,
    ) -> AnalogLinear:
        programmed = {**self.programmed, **{m: (w.copy,) for m, w in drawn.items()}}
        averaged: set[tuple[int, int]] = set()
        if correction is not None and not correction.is_identity:
            programmed.update(self._reprogrammed_routers(correction))
            programmed.update(self._rewritten_slots(correction, drawn))
            if self.placement.slots:
                _check_slots_apart(correction)
            averaged |= _average_slots(programmed, correction)
            averaged |= self._check_replicas(correction)
            averaged |= self._copy_dense_parts(programmed, correction)
            for matrix in [m for m in programmed if _is_offloaded(m, correction)]:
                del programmed[matrix]
        return AnalogLinear(
            programmed,
            {t.matrix.id: t.matrix.n_out for u in self.placement.units.values() for t in u.tilings},
            self.digital,
            read_seed,
            mode,
            frozenset(averaged),
            statistics,
        )

    def forget_folded(self) -> None:
        """Free the folded forms of every copy: a quarter of a programmed chip."""
        for copies in self.programmed.values():
            for copy in copies:
                if isinstance(copy, ProgrammedMatrix):
                    copy.forget_folded()

    def copies(self, layer: int, expert: int, part: AnalogPart = "experts") -> int:
        """Return how many copies of a unit are placed.

        0 if it runs digitally, or has no place of its own because experts are switched.
        """
        key = UnitKey(layer, part, expert)
        if key in self.experts_in_slots:
            return 0
        return len(self.placement.seats_of.get(key, ()))

    def _reprogrammed_routers(self, correction: Correction) -> dict[MatrixId, tuple[Copy, ...]]:
        """Program refitted routers into their cells: a new epoch, so new noise."""
        written: dict[MatrixId, tuple[Copy, ...]] = {}
        for layer, refit in correction.router_refit.items():
            matrix = MatrixId(layer, "router")
            if refit.where == "reprogrammed" and matrix in self.programmed:
                written[matrix] = self._rewrite(matrix, refit.weight, self.ranges[matrix])
        return written

    def _rewritten_slots(
        self, correction: Correction, drawn: dict[MatrixId, Written]
    ) -> dict[MatrixId, tuple[Copy, ...]]:
        """Program expert slots with other experts' weights: a new epoch, so new noise."""
        written: dict[MatrixId, tuple[Copy, ...]] = {}
        for rewrite in correction.rewrites:
            for matrix in self.programmed:
                slot = (matrix.layer, matrix.expert) == (rewrite.layer, rewrite.slot)
                if slot and matrix.part == "experts":
                    source = matrix._replace(expert=rewrite.source)
                    weight = self.checkpoint.matrix(source)
                    at = drawn.get(matrix)
                    if at is None:
                        written[matrix] = self._rewrite(matrix, weight, self.ranges[source])
                    else:
                        copy = self._write(
                            matrix, weight, at.crossbars, self.ranges[source], epoch=at.epoch
                        )
                        written[matrix] = (copy,)
        return written

    def _draw(self, read_seed: int) -> dict[MatrixId, Written]:
        """Write every expert that lives in slots for one pass of calibration text."""
        if read_seed not in self.drawn:
            epoch = CALIBRATION_EPOCH + (read_seed % MOST_PASSES) * MOST_TURNS
            drawn: dict[MatrixId, Written] = {}
            for number, key in enumerate(self.experts_in_slots):
                slots = self.placement.slots_for(key)
                turn, at = divmod(number, len(slots))
                for tiling in self.placement.units[key].tilings:
                    matrix = tiling.matrix.id
                    drawn[matrix] = self._draw_matrix(matrix, slots[at], epoch + turn)
            self.drawn[read_seed] = drawn
        return self.drawn[read_seed]

    def _draw_matrix(self, matrix: MatrixId, slot: int, epoch: int) -> Written:
        crossbars = self.crossbars_in_slot(matrix, slot)
        weight = self.checkpoint.matrix(matrix)
        copy = self._write(matrix, weight, crossbars, self.ranges[matrix], epoch=epoch)
        return Written(crossbars, epoch, copy)

    @cached_property
    def experts_in_slots(self) -> tuple[UnitKey, ...]:
        """Return the experts that are switched, resident at the start or not."""
        inside = {c for slot in self.placement.slots for c in slot}
        held = (s.unit for s in self.placement.seats if s.crossbars[0] in inside)
        return (*held, *self.placement.absent)

    def crossbars_in_slot(self, matrix: MatrixId, slot: int) -> tuple[int, ...]:
        """Return the crossbars that a matrix of a switched expert takes in a slot."""
        start = 0
        for tiling in self.placement.units[UnitKey(*_address(matrix))].tilings:
            if tiling.matrix.id == matrix:
                break
            start += tiling.crossbars
        return self.placement.slots[slot][start : start + tiling.crossbars]

    def epoch_at_start(self, key: UnitKey, correction: Correction | None) -> int:
        """Return the epoch of a resident expert's crossbars: 1 if calibration rewrote them."""
        rewrites = () if correction is None else correction.rewrites
        return int(any((r.layer, r.slot) == (key.layer, key.expert) for r in rewrites))

    def _rewrite(self, matrix: MatrixId, weight: Floats, adc_range: AdcRange) -> tuple[Copy, ...]:
        return tuple(
            self._write(matrix, weight, numbers, adc_range, epoch=1)
            for numbers in self.crossbars[matrix]
        )

    def _check_replicas(self, correction: Correction) -> set[tuple[int, int]]:
        """Return the experts whose placed copies are averaged; all of them must be placed."""
        wanted: set[tuple[int, int]] = set()
        for replica in correction.replicas:
            if replica.part != "experts":
                continue
            placed = len(self.programmed.get(MatrixId(replica.layer, "gate", replica.expert), ()))
            if placed < replica.copies:
                raise CimsimError(
                    f"the correction averages {replica.copies} copies of expert {replica.expert} "
                    f"of layer {replica.layer} and {placed} are placed",
                    key="mapping.replicas",
                    hint="give the chip more spare crossbars (chip.spare_fraction)",
                )
            wanted.add((replica.layer, replica.expert))
        return wanted

    def room_for(self, parts: Sequence[AnalogPart]) -> int:
        """Return how many further copies of all units of some parts idle crossbars hold."""
        units = (u for key, u in self.placement.units.items() if key.part in parts)
        needed = sum(u.crossbars for u in units)
        return len(self._idle()) // needed if needed else 0

    def _idle(self) -> list[int]:
        """Crossbars that hold nothing, in rising order."""
        placement = self.placement
        used = {c for seat in placement.seats for c in seat.crossbars}
        used |= {c for slot in placement.slots for c in slot}
        total = placement.n_tiles * placement.crossbars_per_tile
        return [c for c in range(total) if c not in used]

    def _copy_dense_parts(
        self, programmed: dict[MatrixId, tuple[Copy, ...]], correction: Correction
    ) -> set[tuple[int, int]]:
        """Program further copies of parts that no router selects into idle crossbars."""
        found: set[tuple[int, int]] = set()
        idle = iter(self._idle())
        for replica in correction.replicas:
            unit = self.placement.units.get(UnitKey(replica.layer, replica.part, NO_EXPERT))
            if replica.part == "experts" or unit is None:
                continue
            placed = self.copies(replica.layer, NO_EXPERT, replica.part)
            for _ in range(replica.copies - placed):
                for tiling in unit.tilings:
                    numbers = tuple(islice(idle, tiling.crossbars))
                    if len(numbers) < tiling.crossbars:
                        raise CimsimError(
                            f"the idle crossbars do not hold {replica.copies} copies of the "
                            f"{replica.part} of layer {replica.layer}",
                            key="chip.spare_fraction",
                            hint="give the chip more spare crossbars",
                        )
                    matrix = tiling.matrix.id
                    refit = correction.router_refit.get(matrix.layer)
                    weight = self.checkpoint.matrix(matrix)
                    if matrix.role == "router" and refit and refit.where == "reprogrammed":
                        weight = refit.weight
                    copy = self._write(matrix, weight, numbers, self.ranges[matrix], epoch=0)
                    programmed[matrix] = (*programmed[matrix], copy)
            # Only matrices that have several copies are averaged: others are read alone.
            found.add((replica.layer, NO_EXPERT))
        return found

    def _write(
        self,
        matrix: MatrixId,
        weight: Floats,
        crossbars: tuple[int, ...],
        adc_range: AdcRange,
        *,
        epoch: int,
    ) -> Copy:
        return program_matrix(
            weight,
            matrix,
            self.config.tile,
            temperature_c=self.config.technology.temperature_c,
            chip_seed=self.chip_seed,
            crossbars=crossbars,
            epoch=epoch,
            adc_range=adc_range,
        )


def _address(matrix: MatrixId) -> tuple[int, AnalogPart, int]:
    return matrix.layer, matrix.part, matrix.expert


def _check_slots_apart(correction: Correction) -> None:
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


def _crossbars_of(placement: Placement) -> dict[MatrixId, tuple[tuple[int, ...], ...]]:
    """Return the crossbars of every copy of every matrix, in program order."""
    absent = []
    for number, key in enumerate(placement.absent):
        slots = placement.slots_for(key)
        crossbars = placement.slots[slots[number % len(slots)]]
        absent.append(Seat(key, 0, crossbars[: placement.units[key].crossbars]))
    found: dict[MatrixId, list[tuple[int, ...]]] = {
        t.matrix.id: [] for unit in placement.units.values() for t in unit.tilings
    }
    resident = (seat for seats in placement.seats_of.values() for seat in seats)
    for seat in (*resident, *absent):
        start = 0
        for tiling in placement.units[seat.unit].tilings:
            found[tiling.matrix.id].append(seat.crossbars[start : start + tiling.crossbars])
            start += tiling.crossbars
    return {matrix: tuple(copies) for matrix, copies in found.items()}


def _average_slots(
    programmed: dict[MatrixId, tuple[Copy, ...]], correction: Correction
) -> set[tuple[int, int]]:
    """Let a source expert answer with the mean of itself and the slots rewritten with it."""
    found: set[tuple[int, int]] = set()
    for rewrite in correction.rewrites:
        if rewrite.copy_router and rewrite.sharing == "average":
            found.add((rewrite.layer, rewrite.source))
            for matrix in [m for m in programmed if m.part == "experts"]:
                if (matrix.layer, matrix.expert) == (rewrite.layer, rewrite.slot):
                    source = matrix._replace(expert=rewrite.source)
                    programmed[source] = (*programmed[source], *programmed[matrix])
    return found


def _is_offloaded(matrix: MatrixId, correction: Correction) -> bool:
    expert = (matrix.layer, matrix.expert) in correction.offload_experts
    return matrix.part in correction.offload_parts or (expert and matrix.part == "experts")
