"""Number formats of a tile: what a matrix and its inputs become on crossbars and cycles.

Weights: W = scale x W_q, W_q a symmetric signed integer of `weight.bits`. A weight is cut
into slices of `cell_bits`, one physical column each (a pair of columns with `differential`):

* differential: |W_q| in the positive or the negative cell of a pair.
* offset: U = W_q + 2^(B-1); the share 2^(B-1) sum(x) is subtracted digitally.
* isaac: as offset, but sum(x) is measured by a unit column of each crossbar (cells of the
  highest level that half of the range holds, 1 for 2-bit cells), and a column whose sum
  could exceed half of the range is stored as its complement (Shafiee et al., ISCA 2016).
* center: U = W_q - c with a digital centre c a logical column, here the column's least
  weight, because cells are unsigned (after RAELLA, Andrulis et al., ISCA 2023, which keeps
  signed offsets in pairs).

A weight of one bit is +-1 (`cimsim.mac.quantize`). A pair holds it as any other: one of its two
cells is at level 1. A single cell holds the bit b = (W_q + o) / 2, with the same offset o = 1
(centre: minus the column's least weight), so that a level counts 2 and W_q = 2 b - o; what is
subtracted digitally is o sum(x), as of other bits. Where cells have more levels than a weight
can store, it stays in the lowest, and complements are taken from the highest of these.

Inputs: X a symmetric signed integer of `input.bits`, fed `dac.bits` at a time as planes of
DAC codes, of which plane k counts `plane_weight[k]`:

* twos_complement: bits of X; the top one counts -2^(A-1). Needs 1-bit DACs.
* two_phase: the magnitudes of positive inputs, then those of negative ones, which count
  negative.
* shift: X + 2^(A-1), with the share 2^(A-1) sum(W) subtracted digitally.

An input of one bit is +-1, one plane of one bit:

* twos_complement: the sign bit s of X = 1 - 2 s drives the rows of -1; the plane counts -2 and
  sum(W), which is static, is added digitally.
* two_phase: the rows of +1, then those of -1, which count negative: twice the cycles, and no
  digital share.
* shift: b of X = 2 b - 1 drives the rows of +1; the plane counts 2, sum(W) is subtracted.

With `pe.accumulate_cycles` the charge of all planes is weighed and summed before one
conversion, which is a single plane of X itself (X + 2^(A-1) for shift; of one bit -s, or b for
shift, which counts 2).

With `dac.recovery_bits` every plane is fed again in narrower ones for columns that were out of
range (`cimsim.mac.recovery`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.tiling import Tiling, recovery_slices, tile_matrix
from cimsim.config import Tile
from cimsim.errors import CimsimError
from cimsim.mac.quantize import greatest_integer
from cimsim.workload.matrix import Matrix, MatrixId

__all__ = ["FEED", "Formats", "RowGroup", "formats_of"]

# How the compiled feeder cuts an input into planes.
FEED = {"twos_complement": 0, "two_phase": 1, "shift": 2, "value": 3, "shifted_value": 4}


@dataclass(frozen=True)
class RowGroup:
    """Rows of one crossbar that are driven at once.

    Attributes:
        start: first row in the matrix.
        stop: one past the last row in the matrix.
        row_block: which row block they belong to.
    """

    start: int
    stop: int
    row_block: int


@dataclass(frozen=True)
class Formats:
    """Everything about one matrix on one kind of tile that does not depend on values.

    Attributes:
        tiling: how the matrix is cut over crossbars.
        encoding: weight encoding, "digital" for exact crossbars.
        slices: cells per weight (one of a pair counted).
        cell_bits: bits per slice.
        pair: a logical column has positive and negative cells.
        analog_difference: the pair is subtracted before the ADC.
        merged: slices are summed by their place before the ADC.
        planes: conversions that a read group takes for one vector (1 if charge accumulates).
        plane_weight: float64 [planes], what a plane's sum counts.
        feed: how inputs are cut, a value of `FEED`.
        dac_bits: bits of a plane's codes.
        max_code: greatest absolute value that a row is driven with.
        full_code: code that fills a plane's time on the word line.
        input_shift: added to X before it is fed; its share is subtracted digitally.
        halved_inputs: X is +-1, of one bit, and half of the shifted X is fed.
        halved_weights: W_q is +-1, of one bit, and half of the offset W_q is stored.
        two_phase: positive and negative inputs are fed apart.
        weight_max: greatest absolute W_q.
        input_max: greatest absolute X.
        input_bits: bits of X.
        groups: row groups in order.
        signed_sums: column sums can be negative.
        recovery_bits: bits of a recovery cycle's codes, 0 without such cycles.
        first_recovery: int64 [planes + 1], where the recovery cycles of each plane begin, and
            their number.
        skip_zeros: planes that drive no row of a group are not converted.
    """

    tiling: Tiling
    encoding: Literal["differential", "offset", "isaac", "center", "digital"]
    slices: int
    cell_bits: int
    pair: bool
    analog_difference: bool
    merged: bool
    planes: int
    plane_weight: NDArray[np.float64]
    feed: int
    dac_bits: int
    max_code: int
    full_code: int
    input_shift: int
    halved_inputs: bool
    halved_weights: bool
    two_phase: bool
    weight_max: int
    input_max: int
    input_bits: int
    groups: tuple[RowGroup, ...]
    signed_sums: bool
    recovery_bits: int
    first_recovery: NDArray[np.int64]
    skip_zeros: bool

    @property
    def n_in(self) -> int:
        """Inputs of the matrix."""
        return self.tiling.matrix.n_in

    @property
    def n_out(self) -> int:
        """Outputs of the matrix."""
        return self.tiling.matrix.n_out

    @property
    def levels(self) -> int:
        """Levels of a cell."""
        return 1 << self.cell_bits

    @property
    def sides(self) -> int:
        """Column sums of a slice: two for pairs converted apart."""
        return 2 if self.pair and not self.analog_difference else 1

    @property
    def written_columns(self) -> int:
        """Column sums that the slices of a logical column give, merged or not."""
        return self.slices * self.sides

    @property
    def recoveries(self) -> int:
        """Recovery cycles of one vector."""
        return int(self.first_recovery[-1])

    @property
    def recovery_share(self) -> NDArray[np.float64]:
        """What a code of each recovery cycle counts in codes of its plane, [recoveries]."""
        within = np.arange(self.recoveries) - np.repeat(
            self.first_recovery[:-1], np.diff(self.first_recovery)
        )
        return np.ldexp(1.0, self.recovery_bits * within)

    @property
    def stored_columns(self) -> int:
        """Converted column sums of a logical column: one of each side where slices are merged."""
        return self.sides if self.merged else self.written_columns

    @property
    def cells_per_weight(self) -> int:
        """Cells that hold one weight."""
        return self.slices * (2 if self.pair else 1)

    @property
    def units(self) -> int:
        """Unit columns of the matrix: one per column block with ISAAC's encoding."""
        return len(self.tiling.column_blocks) if self.encoding == "isaac" else 0

    @property
    def top_level(self) -> int:
        """Highest level that a weight can store; a cell may have more levels."""
        stored = self.weight_max if self.pair else 2 * self.weight_max + 1
        return min(self.levels - 1, stored // self.weight_step)

    @property
    def column_top(self) -> int:
        """Most levels of one weight in a converted column."""
        if not self.merged:
            return self.top_level
        stored = self.weight_max if self.pair else 2 * self.weight_max + 1
        return stored // self.weight_step

    @property
    def column_bits(self) -> int:
        """Bits of one weight in a converted column."""
        return self.cell_bits * (self.slices if self.merged else 1)

    @property
    def places(self) -> NDArray[np.float64]:
        """What a level of each slice counts in levels of the lowest, [slices]."""
        return np.ldexp(1.0, self.cell_bits * np.arange(self.slices))

    @property
    def weight_step(self) -> int:
        """What a level of the lowest slice counts in W_q."""
        return 2 if self.halved_weights else 1

    @property
    def input_step(self) -> int:
        """What a fed unit counts in X."""
        return 2 if self.halved_inputs else 1

    @property
    def cycles_of_a_sign(self) -> int:
        """Input cycles of one vector, in two phases those of one sign."""
        cycles = self.tiling.layout.cycles
        return cycles // 2 if self.two_phase else cycles

    @property
    def unit_level(self) -> int:
        """Level of the cells of a unit column: the highest that half of the range holds."""
        return max(1, self.top_level // 2)

    @property
    def columns(self) -> int:
        """Converted columns side by side: stored columns x outputs, then unit columns."""
        return self.stored_columns * self.n_out + self.units

    @property
    def rows_at_once(self) -> int:
        """Rows of the largest group."""
        return max(g.stop - g.start for g in self.groups)

    def column_weight(self) -> NDArray[np.float64]:
        """Return what each stored column of a weight counts, [stored_columns]."""
        weights = np.ones(1) if self.merged else self.places
        weights = weights * self.weight_step
        if self.sides == 2:
            return np.stack([weights, -weights], axis=1).ravel()
        return weights


def formats_of(matrix: MatrixId, n_in: int, n_out: int, tile: Tile) -> Formats:
    """Return the formats of a matrix [n_in, n_out] on a tile.

    Raises:
        CimsimError: if input signs and DAC bits do not go together.
    """
    tiling = tile_matrix(Matrix(matrix, n_in, n_out), tile)
    digital = tile.crossbar.kind == "digital"
    pair = tiling.layout.pair
    analog_difference = pair and tile.pe.subtract == "analog"
    planes, feed, max_code = _planes(tile)
    negative_codes = feed == FEED["value"]
    if not tile.pe.accumulate_cycles and planes.size != tiling.layout.cycles:
        raise CimsimError(
            "input cycles of the tiling and of the tile differ",
            key="tile.input.bits",
            value=tile.input.bits,
        )
    return Formats(
        tiling=tiling,
        encoding="digital" if digital else tile.weight.encoding,
        slices=tiling.layout.slices,
        cell_bits=tile.device.cell_bits,
        pair=pair,
        analog_difference=analog_difference,
        merged=tiling.layout.merged,
        planes=planes.size,
        plane_weight=planes,
        feed=feed,
        dac_bits=tile.dac.bits,
        max_code=max_code,
        full_code=max_code if tile.pe.accumulate_cycles else (1 << tile.dac.bits) - 1,
        input_shift=_input_shift(tile),
        halved_inputs=_halves_inputs(tile),
        halved_weights=not digital and tile.weight.level_lsb == 2,
        two_phase=tile.input.signed == "two_phase",
        weight_max=greatest_integer(tile.weight.bits),
        input_max=greatest_integer(tile.input.bits),
        input_bits=tile.input.bits,
        groups=_row_groups(tiling),
        signed_sums=analog_difference or negative_codes,
        recovery_bits=0 if digital else tile.dac.recovery_bits or 0,
        first_recovery=_first_recovery(tile, planes.size),
        skip_zeros=tile.input.skip_zeros and not digital,
    )


def _first_recovery(tile: Tile, planes: int) -> NDArray[np.int64]:
    slices = recovery_slices(tile)
    repeated = slices * (planes // len(slices)) if any(slices) else (0,) * planes
    return np.concatenate([[0], np.cumsum(repeated)]).astype(np.int64)


def _halves_inputs(tile: Tile) -> bool:
    return tile.input.bits == 1 and tile.input.signed != "two_phase"


def _input_shift(tile: Tile) -> int:
    if tile.input.signed == "shift":
        return 1 << (tile.input.bits - 1)
    # The sign bit of +-1 is half of 1 - X, and counts -2.
    return -1 if _halves_inputs(tile) else 0


def _planes(tile: Tile) -> tuple[NDArray[np.float64], int, int]:
    """Return plane weights, the feed and the greatest code."""
    signed, bits, step = tile.input.signed, tile.input.bits, tile.dac.bits
    if signed == "twos_complement" and step != 1:
        raise CimsimError(
            "two's complement inputs are fed one bit at a time",
            key="tile.dac.bits",
            value=step,
            allowed="1",
            hint="use tile.input.signed two_phase or shift with wider DACs",
        )
    fed_bits = max(1, bits - 1) if signed == "two_phase" else bits
    weights = np.ldexp(1.0, step * np.arange(ceil(fed_bits / step)))
    if signed == "twos_complement":
        weights[-1] = -weights[-1]
    elif signed == "two_phase":
        weights = np.concatenate([weights, -weights])
    unit = 2.0 if _halves_inputs(tile) else 1.0
    if tile.pe.accumulate_cycles:
        feed = FEED["shifted_value"] if signed == "shift" else FEED["value"]
        top = (1 << bits) - 1 if signed == "shift" else greatest_integer(bits)
        return np.full(1, unit), feed, top
    return unit * weights, FEED[signed], (1 << min(step, fed_bits)) - 1


def _row_groups(tiling: Tiling) -> tuple[RowGroup, ...]:
    active = tiling.rows_at_once
    return tuple(
        RowGroup(i, min(i + active, end), block)
        for block, (base, end) in enumerate(pairwise(tiling.row_starts))
        for i in range(base, end, active)
    )
