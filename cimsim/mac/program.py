"""Writing an encoded matrix into crossbars: integers to levels, to noisy conductances.

What a chip seed freezes is keyed by what is written, and not by where (`cimsim.mac.writing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.config.device import IdealDevice
from cimsim.elementary import whole_log2
from cimsim.errors import CimsimError
from cimsim.mac.cells import CellTables, cell_tables
from cimsim.mac.converters import Converters, converters_of
from cimsim.mac.encode import Encoded
from cimsim.mac.formats import FEED, Formats
from cimsim.mac.grid import cell_bounds, on_grid
from cimsim.mac.merge import merge_columns
from cimsim.mac.wires import drop_along_wires
from cimsim.mac.write import conductances, store_columns
from cimsim.mac.writing import Writing
from cimsim.workload.matrix import MatrixId

__all__ = ["Cells", "write_cells", "write_ideal"]

# Cells that are written together: within a second-level cache, and few cells at the borders
# whose random numbers are drawn twice. No result depends on it.
_STRIP_CELLS = 1 << 16
_SQUARE_BITS = 6  # of the 15 of the greatest variance that may be lost to exact sums
Real = NDArray[np.float32] | NDArray[np.float64]
Table = NDArray[np.float64]
Strip = tuple[int, int, int, int, int, int, int]
WriterTables = tuple[Table, Table, Table, Table, Table, float, Table, int, int, float, float, int]


@dataclass(frozen=True)
class Cells:
    """Conductances of one copy of a matrix.

    Attributes:
        values: float32 or float64 [n_in, columns], whole multiples of the grid; int16 once
            they are packed for dot products.
        grid: value of one grid unit in levels, a power of two.
        squares: like `values`, read variance in `square_grid` levels^2, None if not needed.
        square_grid: value of one unit of `squares` in levels^2.
        tables: the cells' tables.
        variance: variance of a read of a cell at g_max in levels^2.
        mean_fraction: mean conductance over g_max of all cells.
        gain: [row blocks, column blocks] digital gain of drift compensation, None without.
        converters: frozen errors of the converters, None without.
    """

    values: Real | NDArray[np.int16]
    grid: float
    squares: Real | NDArray[np.int16] | None
    square_grid: float
    tables: CellTables
    variance: float
    mean_fraction: float
    gain: NDArray[np.float64] | None
    converters: Converters | None

    def wide(self) -> Real:
        """Return the values as floating numbers, [n_in, columns]."""
        if self.values.dtype == np.int16:
            return self.values.astype(np.float32)
        return cast("Real", self.values)


def write_cells(
    encoded: Encoded, tile: Tile, writing: Writing, tables: CellTables | None = None
) -> Cells:
    """Write an encoded matrix into crossbars and age it.

    Args:
        encoded: the matrix.
        tile: the tile.
        writing: which copy, how old and how warm.
        tables: of the cells at that age, if they are known.
    """
    formats = encoded.formats
    age_s = tile.device.age_s if writing.age_s is None else writing.age_s
    if tables is None:
        tables = cell_tables(tile, formats.slices, age_s, writing.temperature_c)
    variance, power = read_variance(tile, formats, tables, writing.temperature_c)
    columns = formats.written_columns * formats.n_out + formats.units
    values: Real = np.zeros((formats.n_in, columns), dtype=np.float32)
    squares: Real = np.zeros(values.shape if power else (1, 1), dtype=np.float32)
    gain = np.ones((len(formats.tiling.row_blocks), len(formats.tiling.column_blocks)))
    compensate = tile.device.drift_compensation == "global"
    fresh = cell_tables(tile, formats.slices, 0.0) if compensate else tables
    total = 0.0
    for row_block, strip in _strips(formats):
        g, stuck = _conductances(encoded, tile, tables, writing, strip)
        total += float(g.sum())
        if compensate:
            first, _ = _conductances(encoded, tile, fresh, writing, strip)
            for block, at in _crossbars(formats, strip):
                # The mean is that of a read with every row driven, without read noise (global
                # drift compensation of aihwkit, whose read-out is also floored).
                now, written = float(np.mean(g[:, at])), float(np.mean(first[:, at]))
                gain[row_block, block] = compensation_gain(
                    written - tables.g_min, now - tables.g_min
                )
        store_columns(
            values, squares, g, stuck, encoded.wq, encoded.flip, strip, _layout(encoded),
            (tables.weight_sigma, tables.weight_shift),
            (tables.to_levels, tables.base, variance, tile.device.read_noise.knee), power,
            writing.cell_keys[0],
        )  # fmt: skip
    if formats.merged:
        values, squares = merge_columns(values, squares if power else None, tile, formats, writing)
    stored = squares if power else None
    values, grid, stored, square_grid = _gridded(values, stored, encoded, tile)
    return Cells(
        values=values,
        grid=grid,
        squares=stored,
        square_grid=square_grid,
        tables=tables,
        variance=variance,
        mean_fraction=total / formats.tiling.cells,
        gain=gain if compensate else None,
        converters=converters_of(tile, formats, writing),
    )


def _gridded(
    values: Real, squares: Real | None, encoded: Encoded, tile: Tile
) -> tuple[Real, float, Real | None, float]:
    """Return columns and read variances on the grids on which their sums are exact, with both."""
    formats = encoded.formats
    finest, coarsest = cell_bounds(values, formats.column_bits)
    values, grid = on_grid(values, encoded, formats.max_code, finest, coarsest)
    if squares is None:
        return values, grid, None, 0.0
    most = whole_log2(2.0**15 / float(squares.max())) if squares.any() else 0
    code = greatest_power(tile, formats)
    squares, square_grid = on_grid(squares, encoded, code, most, most - _SQUARE_BITS)
    return values, grid, squares, square_grid


def _conductances(
    encoded: Encoded, tile: Tile, tables: CellTables, writing: Writing, strip: Strip
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return effective conductances over g_max of neighbouring crossbars, and stuck cells.

    Both are [rows, cells of weights, then one unit cell of each crossbar].
    """
    formats = encoded.formats
    first, end = strip[2:4]
    units = len(_crossbars(formats, strip)) if formats.units else 0
    g = np.empty((strip[1] - strip[0], (end - first) * formats.cells_per_weight + units))
    stuck = np.empty(g.shape, dtype=np.bool_)
    (w, s), (u, v) = writing.cell_keys, writing.unit_keys
    conductances(
        g, stuck, encoded.wq, encoded.offset, encoded.flip, strip, _layout(encoded),
        writer_tables(tables), writer_draws(tables), (w + s, u + v),
    )  # fmt: skip
    if tables.temperature_factor != 1.0:
        g *= max(tables.temperature_factor, 0.0)
    if tile.crossbar.wire_ohm > 0.0:
        for _, at in _crossbars(formats, strip):
            crossbar = g[:, at]
            drop_along_wires(crossbar, tile.crossbar.wire_ohm * tile.device.g_max_us * 1e-6)
            g[:, at] = crossbar
        if g.min() < 0.0:
            raise CimsimError(
                "the wires drop more than a cell's whole voltage, where the first-order model of "
                "voltage drop no longer holds",
                key="tile.crossbar.wire_ohm",
                value=tile.crossbar.wire_ohm,
                hint="lower it or tile.device.g_max_us, or make the crossbar smaller",
            )
    return g, stuck


def writer_tables(tables: CellTables) -> WriterTables:
    """Return the tables of cells as the compiled writer takes them."""
    return (
        tables.target, tables.bias, tables.sigma, tables.nu_mean, tables.nu_sigma,
        tables.log_time, tables.flicker, tables.stuck_low, tables.stuck_high, tables.g_min,
        tables.tolerance, tables.attempts,
    )  # fmt: skip


def writer_draws(tables: CellTables) -> tuple[bool, bool, bool, bool]:
    """Return which of write, drift, flicker and stuck draw random numbers."""
    return (
        bool(tables.sigma.any() or tables.bias.any()),
        tables.log_time > 0.0,
        bool(tables.flicker.any()),
        tables.stuck_low + tables.stuck_high > 0,
    )


def _layout(encoded: Encoded) -> tuple[int, int, bool, bool, int, bool, int, bool]:
    formats = encoded.formats
    flipped = formats.encoding == "isaac"
    return (
        formats.slices, formats.cell_bits, formats.pair, formats.analog_difference,
        formats.unit_level if flipped else 0, flipped, formats.top_level, formats.halved_weights,
    )  # fmt: skip


def compensation_gain(reference: float, found: float) -> float:
    """Return the gain from mean conductance above g_min as written and as it is now.

    1 where nothing, or nearly nothing, is left to compensate by.
    """
    return reference / found if found > 1e-4 * abs(reference) and reference > 0.0 else 1.0


def write_ideal(encoded: Encoded, tile: Tile) -> tuple[Real, float]:
    """Return conductances of error-free cells (values and grid), as `write_cells` would."""
    exact = {"cell_bits": tile.device.cell_bits, "g_max_us": tile.device.g_max_us}
    crossbar = tile.crossbar.model_copy(update={"wire_ohm": 0.0})
    clean = tile.model_copy(
        update={"device": IdealDevice.model_validate(exact), "crossbar": crossbar}
    )
    cells = write_cells(encoded, clean, Writing(0, MatrixId(0, "ideal"), age_s=0.0))
    return cells.wide(), cells.grid


def read_variance(
    tile: Tile, formats: Formats, tables: CellTables, temperature_c: float
) -> tuple[float, int]:
    """Return the variance of a read at g_max in levels^2 and the power of G to store.

    The power is 0 where no second product is needed: sigma is the same for all cells, or
    the variance is proportional to G and the column sum itself is its measure (codes 0 and 1
    on single cells). A power of 3 stands for the saturating form of `read_share`.
    """
    noise = tile.device.read_noise
    unit = {
        "cell_level": 1.0,
        "us": tables.to_levels / tile.device.g_max_us,
        "frac_gmax": tables.to_levels,
    }[noise.sigma_unit]
    hotter = 1.0 + tile.device.temperature.read_noise_per_c * (temperature_c - 25.0)
    variance = (noise.sigma * unit * max(hotter, 0.0)) ** 2
    if variance == 0.0 or noise.scaling == "constant":
        # A merged column holds a cell of every slice, whose place its noise is weighed by.
        return variance * (float(np.sum(formats.places**2)) if formats.merged else 1.0), 0
    if noise.scaling in {"proportional", "saturating"}:
        return variance, 2 if noise.scaling == "proportional" else 3
    bits = formats.max_code == 1 and formats.feed != FEED["value"]  # values may be -1
    whole = formats.analog_difference or not bits or tables.whole_errs or formats.merged
    return variance, 1 if whole else 0


def greatest_power(tile: Tile, formats: Formats) -> float:
    """Return the greatest sum of squared weighed codes that one input can reach."""
    if not tile.pe.accumulate_cycles:
        return float(formats.max_code**2)
    steps = -(-tile.input.bits // tile.dac.bits)
    code = (1 << tile.dac.bits) - 1
    return float(sum((code << (tile.dac.bits * k)) ** 2 for k in range(steps)))


def _strips(formats: Formats) -> list[tuple[int, Strip]]:
    """Return row block and place of the crossbars that are written together.

    A place is (first row, last row + 1, first column, last column + 1, first column block,
    first row group, rows per group).
    """
    strips: list[tuple[int, Strip]] = []
    tiling, group = formats.tiling, 0
    starts = tiling.column_starts
    for block, rows in enumerate(tiling.row_blocks):
        row = tiling.row_starts[block]
        widest = tiling.column_blocks[0] * formats.cells_per_weight
        together = max(1, _STRIP_CELLS // (rows * widest))
        for at in range(0, len(starts) - 1, together):
            end = min(at + together, len(starts) - 1)
            place = (row, row + rows, starts[at], starts[end], at, group, formats.rows_at_once)
            strips.append((block, place))
        group += tiling.row_groups[block]
    return strips


def _crossbars(formats: Formats, strip: Strip) -> list[tuple[int, NDArray[np.int64]]]:
    """Return column block and columns of each crossbar of a strip; its unit column is the last."""
    _, _, first, end, block, _, _ = strip
    each = formats.cells_per_weight
    unit = (end - first) * each
    starts = [s for s in formats.tiling.column_starts[block:] if s <= end]
    found = []
    for number, (start, stop) in enumerate(pairwise(starts)):
        columns = np.arange((start - first) * each, (stop - first) * each)
        if formats.units:
            columns = np.append(columns, unit + number)
        found.append((block + number, columns))
    return found
