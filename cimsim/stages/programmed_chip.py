"""A model deployed on a chip: programmed matrices behind the decoder's `Linear`.

A programmed chip is what a lab has on the bench: its digital outputs can be
read, and whose expert slots and router rows can be rewritten. Calibrators get it through
this protocol alone, so they never see conductances, noise, the chip seed or sigma.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import LogicalCopies, UnitKey
from cimsim.config import Tile
from cimsim.errors import CimsimError
from cimsim.mac import NO_SLOT, AdcRange, MacStatistics, Mode, Writing
from cimsim.model import (
    Checkpoint,
    CheckpointWeight,
    Correction,
    FloatLinear,
    GivenWeight,
    Weight,
)
from cimsim.stages.compute import NUMBA, Compute
from cimsim.stages.copy import Copy
from cimsim.stages.exactness import is_exact
from cimsim.stages.linear import AnalogLinear
from cimsim.stages.recoded import Recodes
from cimsim.stages.slot_rewrites import (
    average_slots,
    check_slots_apart,
    is_offloaded,
    replicated,
    source_of,
)  # fmt: skip
from cimsim.stages.stored_copies import Maker, StoredCopies
from cimsim.stages.trimmed import behind_trims, input_top, lsb_of, read_copies
from cimsim.workload.matrix import NO_EXPERT, AnalogPart, MatrixId
from romer.deployment import BroughtUp

__all__ = ["ProgrammedChip"]

Floats = NDArray[np.float32]

# Programming counts of the writes for calibration, which no run reaches: one for each pass.
CALIBRATION_COUNT, MOST_PASSES = 1 << 30, 1 << 29


@dataclass(frozen=True)
class ProgrammedChip:
    """One chip seed with one model programmed on it.

    Attributes:
        tile: the tile that repeats over the chip.
        temperature_c: temperature of the chip.
        checkpoint: the clean model.
        holds: copies of what, in how many slots.
        ranges: ADC range and input scale of every analog matrix, shared by all chips.
        digital: float products of what is not analog, shared by all chips.
        chip_seed: which draw of the frozen randomness this chip is.
        programmed: copies of every analog matrix.
        drawn: experts in slots as written for passes of calibration text, by count.
        compute: writes the cells and reads them.
        recoding: other codes that the model can be written in, or None.
        written: times that the whole model was written before.
        anew: the chip as it is written anew, by the error that columns are clipped for.
    """

    tile: Tile
    temperature_c: float
    checkpoint: Checkpoint
    holds: LogicalCopies
    ranges: Mapping[MatrixId, AdcRange]
    digital: FloatLinear
    chip_seed: int = field(repr=False)
    programmed: StoredCopies = field(repr=False)
    drawn: dict[int, StoredCopies] = field(default_factory=dict, repr=False)
    compute: Compute = NUMBA
    recoding: Recodes | None = field(default=None, repr=False)
    written: int = 0
    anew: dict[float, ProgrammedChip] = field(default_factory=dict, repr=False)

    @classmethod
    def program(
        cls,
        tile: Tile,
        temperature_c: float,
        checkpoint: Checkpoint,
        holds: LogicalCopies,
        ranges: Mapping[MatrixId, AdcRange],
        digital: FloatLinear,
        chip_seed: int,
        compute: Compute = NUMBA,
    ) -> ProgrammedChip:
        """Return a chip whose analog matrices are written into their cells when they are read.

        An expert that no slot holds at the start is programmed as if a slot were free: it is
        written before it is read. Where cells hold exact levels it does not matter where. Where
        they err, a run writes it again, and so does calibration (`linear`).
        """
        none = StoredCopies({}, 0)
        return cls(
            tile, temperature_c, checkpoint, holds, ranges, digital, chip_seed, none,
            compute=compute,
        )._with_cells()  # fmt: skip

    def _with_cells(self) -> ProgrammedChip:
        """Return the chip with every matrix written."""
        makers: dict[MatrixId, Maker] = {
            tiling.matrix.id: partial(self._stored, key, tiling.matrix.id, count=self.written)
            for key, unit in self.holds.units.items()
            for tiling in unit.tilings
        }
        return replace(self, programmed=StoredCopies(makers, self.compute.kept_bytes), drawn={})

    @property
    def recodes(self) -> bool:
        """Whether the model can be written in other codes, columns clipped and scaled anew."""
        return self.recoding is not None and self.recoding.possible

    def written_anew(self, error_lsb: float) -> ProgrammedChip:
        """Return the chip once its columns are clipped for an error: cells err anew.

        Raises:
            CimsimError: if the chip's weights have no other codes.
        """
        if self.recoding is None or not self.recoding.possible:
            raise CimsimError(
                "the correction clips columns, and weights of this chip have no other codes",
                key="calibration.method",
                hint="take a method without clip_columns",
            )
        if error_lsb not in self.anew:
            self.anew.clear()  # a programmed chip is a quarter of a gigabyte
            tile, checkpoint, ranges = self.recoding.for_error(error_lsb)
            other = replace(
                self, tile=tile, checkpoint=checkpoint, ranges=ranges, written=self.written + 1,
                recoding=None, anew={},
            )  # fmt: skip
            self.anew[error_lsb] = other._with_cells()
        return self.anew[error_lsb]

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
        if not self.holds.slots or is_exact(self.tile):
            return self._join(correction, None, read_seed, mode, statistics)
        count = CALIBRATION_COUNT + read_seed % MOST_PASSES
        return self._join(correction, count, read_seed, mode, statistics)

    def at_start(
        self,
        correction: Correction | None = None,
        *,
        read_seed: int,
        mode: Mode,
        statistics: MacStatistics | None = None,
    ) -> AnalogLinear:
        """Return the chip's products as a run finds it; arguments are those of `linear`."""
        return self._join(correction, None, read_seed, mode, statistics)

    def _join(
        self,
        correction: Correction | None,
        count: int | None,
        read_seed: int,
        mode: Mode,
        statistics: MacStatistics | None,
    ) -> AnalogLinear:
        """Return the products; experts in slots are those of a write for calibration, if any."""
        if correction is not None and correction.clip_lsb:
            other = self.written_anew(correction.clip_lsb)
            rest = replace(correction, clip_lsb=0.0)
            return other._join(rest, count, read_seed, mode, statistics)
        programmed = self.programmed.makers()
        if count is not None:
            programmed.update(self._draw(count).makers())
        averaged: set[tuple[int, int]] = set()
        if correction is not None and not correction.is_identity:
            programmed.update(self._reprogrammed_routers(correction))
            programmed.update(self._rewritten_slots(correction, count))
            if self.holds.slots:
                check_slots_apart(correction)
            averaged |= self._copy_dense_parts(programmed, correction)
            for matrix, trim in correction.trims.items():
                if matrix in programmed:
                    known, top = programmed[matrix], input_top(self.tile, self.ranges[matrix])
                    backend = self.digital.backend.of_layer(matrix.layer)
                    behind = partial(behind_trims, known, trim, top, backend)
                    programmed[matrix] = behind
            averaged |= average_slots(programmed, correction)
            averaged |= replicated(correction, self.programmed)
            for matrix in [m for m in programmed if is_offloaded(m, correction)]:
                del programmed[matrix]
        return AnalogLinear(
            self.programmed.changed(programmed),
            self.digital,
            read_seed,
            mode,
            frozenset(averaged),
            statistics,
        )

    def bring_up(
        self,
        correction: Correction | None,
        *,
        read_seed: int,
        mode: Mode,
        which: Set[MatrixId] | None = None,
    ) -> Iterator[BroughtUp]:
        """Yield every copy of some matrices with places of their own, as a bring-up reads them."""
        if correction is not None and correction.clip_lsb:
            other, rest = self.written_anew(correction.clip_lsb), replace(correction, clip_lsb=0.0)
            yield from other.bring_up(rest, read_seed=read_seed, mode=mode, which=which)
            return
        programmed = self.programmed.makers()
        if correction is not None:
            programmed.update(self._reprogrammed_routers(correction))
            programmed.update(self._rewritten_slots(correction, None))
            self._copy_dense_parts(programmed, correction)
        stored, backend = self.programmed.changed(programmed), self.digital.backend
        for matrix in programmed if which is None else [m for m in programmed if m in which]:
            if UnitKey.of(matrix) in self.holds.dealt:
                continue
            source = source_of(matrix, correction)
            names, top = (matrix, source), input_top(self.tile, self.ranges[matrix])
            lsb = partial(lsb_of, self.checkpoint, source, self.tile)
            yield from read_copies(stored[matrix], names, top, lsb, backend, (read_seed, mode))

    def forget_drawn(self) -> None:
        """Free the experts that were written into slots for passes of calibration text."""
        self.drawn.clear()
        for other in self.anew.values():
            other.drawn.clear()

    def forget_folded(self) -> None:
        """Free the folded forms of every copy: a quarter of a programmed chip."""
        for copy in self.programmed.kept():
            copy.forget_folded()
        for other in self.anew.values():
            other.forget_folded()

    def copies(self, layer: int, expert: int, part: AnalogPart = "experts") -> int:
        """Return how many copies of a unit are placed.

        0 if it runs digitally, or has no place of its own because experts are switched.
        """
        return self.holds.resident.get(UnitKey(layer, part, expert), 0)

    def _reprogrammed_routers(self, correction: Correction) -> dict[MatrixId, Maker]:
        """Program refitted routers into their cells: a second time, so with new noise."""
        written: dict[MatrixId, Maker] = {}
        for layer, refit in correction.router_refit.items():
            matrix = MatrixId(layer, "router")
            if refit.where == "reprogrammed" and matrix in self.programmed:
                key, adc_range = UnitKey.of(matrix), self.ranges[matrix]
                weight = GivenWeight(refit.weight)
                written[matrix] = partial(
                    self._write, key, matrix, weight, adc_range, count=self.written + 1
                )
        return written

    def _rewritten_slots(self, correction: Correction, count: int | None) -> dict[MatrixId, Maker]:
        """Program expert slots with other experts' weights: a second time, so with new noise.

        Args:
            correction: what to rewrite.
            count: of a write for calibration, which takes the place of the first one; or None.
        """
        written: dict[MatrixId, Maker] = {}
        for rewrite in correction.rewrites:
            for matrix in self.programmed:
                slot = (matrix.layer, matrix.expert) == (rewrite.layer, rewrite.slot)
                if slot and matrix.part == "experts":
                    source = matrix._replace(expert=rewrite.source)
                    key, times = UnitKey.of(matrix), self.written + 1 if count is None else count
                    written[matrix] = partial(self._stored, key, matrix, count=times, source=source)
        return written

    def _draw(self, count: int) -> StoredCopies:
        """Write every expert that lives in slots for one pass of calibration text."""
        if count not in self.drawn:
            makers: dict[MatrixId, Maker] = {
                tiling.matrix.id: partial(self._stored, key, tiling.matrix.id, count=count)
                for key in self.holds.dealt
                for tiling in self.holds.units[key].tilings
            }
            self.drawn[count] = StoredCopies(makers, self.compute.kept_bytes)
        return self.drawn[count]

    def room_for(self, parts: Sequence[AnalogPart]) -> int:
        """Return how many further copies of all units of some parts idle crossbars hold."""
        units = (u for key, u in self.holds.units.items() if key.part in parts)
        needed = sum(u.crossbars for u in units)
        return self.holds.idle_crossbars // needed if needed else 0

    def _copy_dense_parts(
        self, programmed: dict[MatrixId, Maker], correction: Correction
    ) -> set[tuple[int, int]]:
        """Program further copies of parts that no router selects into idle crossbars."""
        found: set[tuple[int, int]] = set()
        idle = self.holds.idle_crossbars
        for replica in correction.replicas:
            unit = self.holds.units.get(UnitKey(replica.layer, replica.part, NO_EXPERT))
            if replica.part == "experts" or unit is None:
                continue
            placed = self.copies(replica.layer, NO_EXPERT, replica.part)
            for _ in range(replica.copies - placed):
                for tiling in unit.tilings:
                    idle -= tiling.crossbars
                    if idle < 0:
                        raise CimsimError(
                            f"the idle crossbars do not hold {replica.copies} copies of the "
                            f"{replica.part} of layer {replica.layer}",
                            key="chip.spare_fraction",
                            hint="give the chip more spare crossbars",
                        )
                    matrix = tiling.matrix.id
                    refit = correction.router_refit.get(matrix.layer)
                    weight = None
                    if matrix.role == "router" and refit and refit.where == "reprogrammed":
                        weight = refit.weight
                    known = programmed[matrix]
                    programmed[matrix] = partial(self._with_one_more, matrix, known, weight)
            # Only matrices that have several copies are averaged: others are read alone.
            found.add((replica.layer, NO_EXPERT))
        return found

    def _with_one_more(
        self, matrix: MatrixId, known: Maker, weight: Floats | None
    ) -> tuple[Copy, ...]:
        """Return copies and a further one, of other weights than the checkpoint's if given."""
        copies = known()
        writing = self._writing(matrix, copy=len(copies))
        stored = self._weight(matrix) if weight is None else GivenWeight(weight)
        more = self.compute.write(stored, self.tile, writing, self.ranges[matrix])
        return (*copies, more)

    def _stored(
        self, key: UnitKey, matrix: MatrixId, *, count: int, source: MatrixId | None = None
    ) -> tuple[Copy, ...]:
        """Write the checkpoint's weights: those of a matrix, or of another one in its place."""
        source = matrix if source is None else source
        return self._write(key, matrix, self._weight(source), self.ranges[source], count=count)

    def _weight(self, matrix: MatrixId) -> Weight:
        return CheckpointWeight(self.digital.backend, self.checkpoint, matrix)

    def _write(
        self, key: UnitKey, matrix: MatrixId, weight: Weight, adc_range: AdcRange, *, count: int
    ) -> tuple[Copy, ...]:
        """Write every placed copy of a matrix of a unit for the time after `count` others.

        A switched expert has one copy. It is written into the slot where it starts; without
        one, and for calibration, slots are dealt.
        """
        holds = self.holds
        slot = holds.dealt.get(key, NO_SLOT)
        if count < CALIBRATION_COUNT:
            slot = holds.starts.get(key, slot)
        return tuple(
            self.compute.write(
                weight,
                self.tile,
                self._writing(matrix, copy=copy, count=count, slot=slot),
                adc_range,
            )
            for copy in range(holds.resident.get(key, 1))
        )

    def _writing(
        self, matrix: MatrixId, *, copy: int, count: int = 0, slot: int = NO_SLOT
    ) -> Writing:
        return Writing(self.chip_seed, matrix, copy, count, slot, temperature_c=self.temperature_c)
