"""Writing a matrix into crossbars: weights to integers, to levels, to noisy conductances.

What a chip seed freezes is keyed by the physical crossbar, its programming epoch and the
cell, so that two copies of a matrix differ and a rewrite draws anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log2

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.config.device import IdealDevice
from cimsim.errors import CimsimError
from cimsim.mac.adc import Converters, converters_of
from cimsim.mac.cells import CellTables, cell_tables
from cimsim.mac.formats import Formats, formats_of
from cimsim.mac.quantize import quantize_weights
from cimsim.mac.write import column_bound, flip_columns, to_grid, write_crossbar
from cimsim.rng import derive_key
from cimsim.workload.program import MatrixId

__all__ = ["Cells", "Encoded", "encode", "write_cells", "write_ideal"]

_PURPOSE_CELL = 1
_GRID_BITS = 12  # finest grid: 2**-12 of a level
_COARSEST_SINGLE = 6  # below this grid float32 gives way to float64
Real = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class Encoded:
    """Integers of one matrix, before anything physical.

    Attributes:
        formats: its formats.
        wq: int16 [n_in, n_out].
        scale: float32 [n_out], weight of one LSB.
        offset: int64 [n_out], added to W_q before slicing.
        flip: bool [groups, slices, n_out], complements of ISAAC's encoding, else [1, 1, 1].
        starts: int64 [groups], first rows of the row groups.
        stops: int64 [groups], one past their last rows.
    """

    formats: Formats
    wq: NDArray[np.int16]
    scale: NDArray[np.float32]
    offset: NDArray[np.int64]
    flip: NDArray[np.bool_]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]


@dataclass(frozen=True)
class Cells:
    """Conductances of one copy of a matrix.

    Attributes:
        values: float32 or float64 [n_in, columns], whole multiples of the grid.
        grid: value of one grid unit in levels, a power of two.
        squares: like `values`, read variance in `square_grid` levels^2, None if not needed.
        square_grid: value of one unit of `squares` in levels^2.
        tables: the cells' tables.
        mean_fraction: mean conductance over g_max of all cells.
        converters: frozen errors of the converters, None without.
    """

    values: Real
    grid: float
    squares: Real | None
    square_grid: float
    tables: CellTables
    mean_fraction: float
    converters: Converters | None


def encode(weight: NDArray[np.float32], matrix: MatrixId, tile: Tile) -> Encoded:
    """Quantise and encode a weight matrix [n_in, n_out]."""
    q_max = (1 << (tile.weight.bits - 1)) - 1
    wq, scale = quantize_weights(weight, q_max, per_column=tile.weight.scale == "per_column")
    formats = formats_of(matrix, wq.shape[0], wq.shape[1], tile)
    starts = np.array([g.start for g in formats.groups], dtype=np.int64)
    stops = np.array([g.stop for g in formats.groups], dtype=np.int64)
    offset = np.zeros(formats.n_out, dtype=np.int64)
    flip = np.zeros((1, 1, 1), dtype=np.bool_)
    if formats.encoding in {"offset", "isaac"}:
        offset[:] = q_max + 1
    elif formats.encoding == "center":
        offset[:] = -wq.min(axis=0).astype(np.int64)
    if formats.encoding == "isaac":
        flip = np.zeros((starts.size, formats.slices, formats.n_out), dtype=np.bool_)
        flip_columns(wq, offset, starts, stops, formats.slices, formats.cell_bits, flip)
    return Encoded(formats, wq, scale, offset, flip, starts, stops)


def write_cells(
    encoded: Encoded,
    tile: Tile,
    *,
    chip_seed: int,
    crossbars: Sequence[int],
    epochs: Sequence[int],
    age_s: float,
) -> Cells:
    """Write an encoded matrix into crossbars and age it.

    Raises:
        CimsimError: if the numbers of crossbars or epochs do not fit the matrix.
    """
    formats = encoded.formats
    tables = cell_tables(tile, formats.slices, age_s)
    places = _checked("crossbars", crossbars, formats)
    ages = _checked("epochs", epochs, formats)
    variance, power = read_variance(tile, formats, tables)
    values: Real = np.zeros((formats.n_in, formats.columns), dtype=np.float32)
    squares: Real = np.zeros(values.shape if power else (1, 1), dtype=np.float32)
    cell_tuple = (
        tables.target, tables.bias, tables.sigma, tables.nu_mean, tables.nu_sigma,
        tables.log_time, tables.flicker, tables.stuck_low, tables.stuck_high, tables.g_min,
    )  # fmt: skip
    draws = (
        bool(tables.sigma.any() or tables.bias.any()),
        tables.log_time > 0.0,
        bool(tables.flicker.any()),
        tables.stuck_low + tables.stuck_high > 0,
        bool(tables.weight_sigma.any()),
    )
    layout = (
        formats.slices, formats.cell_bits, formats.pair, formats.analog_difference,
        formats.units > 0, encoded.flip.size > 1 or formats.encoding == "isaac",
    )  # fmt: skip
    key = derive_key(chip_seed, _PURPOSE_CELL)
    total = 0.0
    for fragment, block in enumerate(_blocks(formats)):
        address = (int(places[fragment]), int(ages[fragment]), key[0], key[1])
        total += write_crossbar(
            values, squares, encoded.wq, encoded.offset, encoded.flip, block, layout, cell_tuple,
            tables.weight_sigma, draws, (tables.to_levels, tables.base, variance),
            address, power,
        )  # fmt: skip
    values, grid = _on_grid(values, encoded, formats.max_code, _GRID_BITS)
    square_grid = 0.0
    if power:
        squares, square_grid = _on_grid(squares, encoded, greatest_power(tile, formats), 60)
    return Cells(
        values=values,
        grid=grid,
        squares=squares if power else None,
        square_grid=square_grid,
        tables=tables,
        mean_fraction=total / formats.tiling.cells,
        converters=converters_of(tile, formats, places, chip_seed),
    )


def write_ideal(encoded: Encoded, tile: Tile) -> tuple[Real, float]:
    """Return conductances of error-free cells (values and grid), as `write_cells` would."""
    exact = tile.device.model_dump(include=set(IdealDevice.model_fields) - {"kind", "age_s"})
    exact |= {"stuck_low": 0.0, "stuck_high": 0.0, "read_noise": {}}
    clean = tile.model_copy(update={"device": IdealDevice.model_validate(exact)})
    crossbars = range(encoded.formats.tiling.crossbars)
    zeros = [0] * len(crossbars)
    cells = write_cells(encoded, clean, chip_seed=0, crossbars=crossbars, epochs=zeros, age_s=0.0)
    return cells.values, cells.grid


def read_variance(tile: Tile, formats: Formats, tables: CellTables) -> tuple[float, int]:
    """Return the variance of a read at g_max in levels^2 and the power of G to store.

    The power is 0 where no second product is needed: sigma is the same for all cells, or
    the variance is proportional to G and the column sum itself is its measure (one-bit
    codes on single cells).
    """
    noise = tile.device.read_noise
    unit = {
        "cell_level": 1.0,
        "us": tables.to_levels / tile.device.g_max_us,
        "frac_gmax": tables.to_levels,
    }[noise.sigma_unit]
    variance = (noise.sigma * unit) ** 2
    if variance == 0.0 or noise.scaling == "constant":
        return variance, 0
    if noise.scaling == "proportional":
        return variance, 2
    whole = formats.analog_difference or formats.max_code > 1 or tables.weight_sigma.any()
    return variance, 1 if whole else 0


def greatest_power(tile: Tile, formats: Formats) -> float:
    """Return the greatest sum of squared weighed codes that one input can reach."""
    if not tile.pe.accumulate_cycles:
        return float(formats.max_code**2)
    steps = -(-tile.input.bits // tile.dac.bits)
    code = (1 << tile.dac.bits) - 1
    return float(sum((code << (tile.dac.bits * k)) ** 2 for k in range(steps)))


def _checked(name: str, numbers: Sequence[int], formats: Formats) -> NDArray[np.int64]:
    needed = formats.tiling.crossbars
    if len(numbers) != needed:
        raise CimsimError(
            f"a matrix on {needed} crossbars needs as many {name}",
            value=len(numbers),
            allowed=str(needed),
        )
    return np.array(numbers, dtype=np.int64)


def _blocks(formats: Formats) -> list[tuple[int, int, int, int, int, int, int]]:
    """Return rows, columns, column block, first group and rows a group of each crossbar."""
    blocks = []
    row = 0
    group = 0
    active = formats.rows_at_once
    for block, rows in enumerate(formats.tiling.row_blocks):
        column = 0
        for index, width in enumerate(formats.tiling.column_blocks):
            blocks.append((row, row + rows, column, column + width, index, group, active))
            column += width
        row += rows
        group += formats.tiling.row_groups[block]
    return blocks


def _on_grid(
    values: Real, encoded: Encoded, greatest_code: float, finest: int
) -> tuple[Real, float]:
    """Round values to a grid on which every column sum is exact.

    Args:
        values: float32 [n_in, columns]; rounded in place or replaced.
        encoded: gives the rows that are summed.
        greatest_code: greatest absolute value a row is multiplied with.
        finest: most bits below one level.

    Returns:
        Values in grid units and the size of a unit.
    """
    bound = column_bound(values, encoded.starts, encoded.stops) * greatest_code
    rounding = 0.5 * encoded.formats.rows_at_once * greatest_code
    bits = finest if bound == 0.0 else min(finest, floor(log2((2.0**24 - rounding) / bound)))
    if rounding >= 2.0**23 or bits < _COARSEST_SINGLE:
        values = values.astype(np.float64)
        bits = finest if bound == 0.0 else min(finest, floor(log2((2.0**53 - rounding) / bound)))
    to_grid(values, 2.0**bits)
    return values, 2.0**-bits
