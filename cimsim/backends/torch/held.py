"""What a product needs of one programmed matrix, as tensors on a device.

The only file of this backend that reads the objects of `cimsim.mac`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimsim.config import Tile
from cimsim.errors import CimsimError
from cimsim.mac import IdealMatrix, ProgrammedMatrix
from cimsim.mac.curves import curve_of
from cimsim.mac.formats import Formats
from cimsim.mac.inputs import static_scale
from cimsim.mac.noise import FreshNoise
from cimsim.mac.writing import matrix_words
from cimsim.rng import Key, derive_key
from cimsim.workload.matrix import MatrixId

__all__ = [
    "Held",
    "HeldFolded",
    "HeldIdeal",
    "HostCells",
    "for_kernels",
    "hold",
    "hold_faithful",
    "hold_folded",
    "hold_ideal",
    "refuse_data_dependent",
    "without_cells",
]

_PURPOSE_READ = 3  # of `cimsim.mac.matrix`: read noise has the same key on every backend


@dataclass(frozen=True)
class Held:
    """Cells, converters and digital constants of one programmed matrix.

    Attributes:
        tile: the tile.
        formats: number formats of the matrix.
        words: what stands for the matrix in the key of read noise.
        values: [n_in, columns] whole multiples of `grid`; float32 or float64, in which every
            column sum is exact and every step of a conversion is rounded.
        squares: [n_in, columns] read variance in units of `noise.square_scale`, None if a
            variance follows from the driven rows or the column sum.
        grid: a unit of `values` in levels.
        step_levels: width of a code in levels.
        bounds: lowest and highest code.
        noise: variances of fresh noise in codes squared.
        draws: whether a conversion draws a number.
        errors: float32 [row blocks, 3, columns], gain, offset and bow of converters, or None.
        curve: float32 [points], deviation of the transfer curve in codes, or None.
        plane_weight: float64 [planes].
        column_weight: float64 [stored columns].
        signs: float64 [row groups, stored columns, n_out] of complements, or None.
        gain: float64 [row blocks, n_out] digital gain of drift compensation, or None.
        unit_gain: float64 [row blocks, units] the same of unit columns, or None.
        unit_coefficient: float64 [row groups, n_out] what a level on a unit column counts.
        block_of_output: int64 [n_out].
        coefficient: float64 [n_out], what a fed unit counts digitally.
        shift_share: float64 [n_out], share of shifted inputs.
        column_scale: float32 [n_out], weight of one LSB.
        input_scale: static scale of inputs, a float32; 0 where each token has its own.
    """

    tile: Tile
    formats: Formats
    words: tuple[int, int, int]
    values: Tensor
    squares: Tensor | None
    grid: float
    step_levels: float
    bounds: tuple[int, int]
    noise: FreshNoise
    draws: bool
    errors: Tensor | None
    curve: Tensor | None
    plane_weight: Tensor
    column_weight: Tensor
    signs: Tensor | None
    gain: Tensor | None
    unit_gain: Tensor | None
    unit_coefficient: Tensor
    block_of_output: Tensor
    coefficient: Tensor
    shift_share: Tensor
    column_scale: Tensor
    input_scale: float

    def read_key(self, read_seed: int, replica: int) -> Key:
        """Return the key of the fresh noise of one copy."""
        return derive_key(read_seed, _PURPOSE_READ, *self.words, replica)


def refuse_data_dependent(tile: Tile) -> None:
    """Refuse a tile whose conversions the data decide.

    Raises:
        CimsimError: it names the knob.
    """
    asked = {
        "tile.dac.recovery_bits": (tile.dac.recovery_bits, None),
        "tile.input.skip_zeros": (tile.input.skip_zeros, False),
        "tile.adc.search": (tile.adc.search, "binary"),
    }
    for key, (value, allowed) in asked.items():
        if value != allowed and tile.crossbar.kind == "analog":
            raise CimsimError(
                "the torch backend converts every column of every read once, and counts nothing",
                key=key,
                value=value,
                allowed="null" if allowed is None else str(allowed).lower(),
                hint="run it with run.backend=numba",
            )


def hold(programmed: ProgrammedMatrix, device: torch.device) -> Held:
    """Return what products with a programmed matrix need, on a device.

    Raises:
        CimsimError: as `refuse_data_dependent`.
    """
    refuse_data_dependent(programmed.tile)

    def on(array: NDArray[np.generic] | np.generic) -> Tensor:
        return torch.tensor(array, device=device)

    formats, cells, conversion = programmed.formats, programmed.cells, programmed.conversion
    columns, blocks = programmed.columns, range(len(formats.tiling.row_blocks))
    errors = signs = gain = unit_gain = squares = None
    if cells.converters is not None:
        errors = on(np.stack([cells.converters.of(b) for b in blocks]))
    if formats.encoding == "isaac":
        stored = [columns.sign(g) for g in range(len(formats.groups))]
        signs = on(np.stack(stored).astype(np.float64))
    if cells.gain is not None:
        gain, unit_gain = on(np.stack([programmed.output_gain(b) for b in blocks])), on(cells.gain)
    if cells.squares is not None:
        kept = np.float32 if cells.squares.dtype == np.int16 else cells.squares.dtype
        squares = on(cells.squares.astype(kept))
    units, curve = columns.unit_coefficient, curve_of(programmed.tile.adc)
    return Held(
        tile=programmed.tile,
        formats=formats,
        words=matrix_words(programmed.matrix),
        values=on(cells.wide()),
        squares=squares,
        grid=cells.grid,
        step_levels=programmed.step_levels,
        bounds=(conversion.low, conversion.high),
        noise=conversion.noise,
        draws=conversion.has_fresh_noise,
        errors=errors,
        curve=on(curve) if curve.size else None,
        plane_weight=on(formats.plane_weight),
        column_weight=on(columns.weight),
        signs=signs,
        gain=gain,
        unit_gain=unit_gain,
        unit_coefficient=on(np.stack(units) if units else np.zeros((0, formats.n_out))),
        block_of_output=on(columns.block_of_output),
        coefficient=on(columns.coefficient),
        shift_share=on(columns.shift_share),
        column_scale=on(programmed.encoded.scale),
        input_scale=static_scale(programmed.tile, programmed.adc_range),
    )


@dataclass(frozen=True)
class HeldFolded:
    """The folded form of one programmed matrix (`cimsim.mac.folded`).

    Attributes:
        values: float64 [n_in, n_out], whole multiples of `grid` whose sums are exact.
        grid: a unit of `values` in W_q.
        constant: float64 [n_out], of the converters' offsets.
        variance: float64 [n_out], of conversions, in W_q squared.
        read: float64 [n_in, n_out], variance of read noise a squared input, or None.
    """

    values: Tensor
    grid: float
    constant: Tensor
    variance: Tensor
    read: Tensor | None


class HostCells:
    """A matrix written by `cimsim.mac`, on a device.

    Args:
        programmed: the matrix.
        device: where products run.
    """

    def __init__(self, programmed: ProgrammedMatrix, device: torch.device) -> None:
        self._programmed, self._device = programmed, device
        self.held, self.mean_fraction = hold(programmed, device), programmed.cells.mean_fraction

    def folded(self) -> HeldFolded | None:
        """Return the folded form, None where it is not faithful."""
        return hold_faithful(self._programmed, self._device)


def without_cells(held: Held) -> Held:
    """Return what is left once a kernel has cells of its own."""
    return replace(held, values=held.values.new_empty((0, held.values.shape[1])))


def hold_faithful(programmed: ProgrammedMatrix, device: torch.device) -> HeldFolded | None:
    """Return the folded form of a programmed matrix on a device, None if it is not faithful."""
    if not programmed.folds:
        return None
    held = hold_folded(programmed, device)
    programmed.forget_folded()
    return held


def for_kernels(held: Held) -> Held:
    """Return what is left once a kernel has cells, signs and unit columns in forms of its own."""
    none = held.unit_coefficient.new_empty((0, held.formats.n_out))
    return replace(without_cells(held), signs=None, unit_coefficient=none)


@dataclass(frozen=True)
class HeldIdeal:
    """A matrix on exact integer arithmetic (`cimsim.mac.ideal`).

    Attributes:
        matrix: its name.
        values: W_q [n_in, n_out], float32 or float64, in which every sum is exact.
        scale: float32 [n_out], weight of one LSB.
        input_bits: bits of inputs.
        input_scale: static scale of inputs, a float32; 0 where each token has its own.
        mean_fraction: mean stored magnitude over the greatest.
    """

    matrix: MatrixId
    values: Tensor
    scale: Tensor
    input_bits: int
    input_scale: float
    mean_fraction: float


def hold_ideal(ideal: IdealMatrix, device: torch.device) -> HeldIdeal:
    """Return what exact products with a matrix need, on a device."""
    return HeldIdeal(
        matrix=ideal.matrix,
        values=torch.tensor(ideal._wq, device=device),
        scale=torch.tensor(ideal._scale, device=device),
        input_bits=ideal._input_bits,
        input_scale=float(np.float32(ideal._input_scale)),
        mean_fraction=ideal._mean_fraction,
    )


def hold_folded(programmed: ProgrammedMatrix, device: torch.device) -> HeldFolded:
    """Return the folded form of a programmed matrix on a device.

    Raises:
        CimsimError: if it is not faithful to the detailed form.
    """
    folded = programmed.folded
    if folded is None:
        raise CimsimError(
            f"matrix {programmed.matrix} clips or rounds too much to be folded faithfully",
            hint="use its detailed form",
        )
    return HeldFolded(
        values=torch.tensor(folded._values, device=device),
        grid=folded._grid,
        constant=torch.tensor(folded._constant, device=device),
        variance=torch.tensor(folded._variance, device=device),
        read=None if folded._read is None else torch.tensor(folded._read, device=device),
    )
