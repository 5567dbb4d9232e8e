"""Writing an encoded matrix into crossbars: integers to levels, to noisy conductances.

What a chip seed freezes is keyed by the physical crossbar, its programming epoch and the
cell, so that two copies of a matrix differ and a rewrite draws anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log2
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.config.device import IdealDevice
from cimsim.errors import CimsimError
from cimsim.mac.adc import Converters, converters_of
from cimsim.mac.cells import CellTables, cell_tables
from cimsim.mac.encode import Encoded
from cimsim.mac.formats import FEED, Formats
from cimsim.mac.grid import cell_bounds, on_grid
from cimsim.mac.wires import drop_along_wires
from cimsim.mac.write import conductances, store_columns
from cimsim.rng import derive_key

__all__ = ["Cells", "Deployment", "write_cells", "write_ideal"]

_PURPOSE_CELL = 1
_SQUARE_BITS = 6  # of the 15 of the greatest variance that may be lost to exact sums
Real = NDArray[np.float32] | NDArray[np.float64]
Table = NDArray[np.float64]
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


@dataclass(frozen=True)
class Deployment:
    """Where, when and how warm a copy of a matrix sits on a chip.

    Attributes:
        chip_seed: seed of everything that is frozen.
        crossbars: global number of the crossbar of each fragment.
        epochs: how often each had been written before.
        age_s: seconds since they were written.
        temperature_c: temperature of the chip.
    """

    chip_seed: int
    crossbars: tuple[int, ...]
    epochs: tuple[int, ...]
    age_s: float
    temperature_c: float = 25.0


def write_cells(
    encoded: Encoded, tile: Tile, deployment: Deployment, tables: CellTables | None = None
) -> Cells:
    """Write an encoded matrix into crossbars and age it.

    Args:
        encoded: the matrix.
        tile: the tile.
        deployment: where and when.
        tables: of the cells at the deployment's age, if they are known.

    Raises:
        CimsimError: if the numbers of crossbars or epochs do not fit the matrix.
    """
    formats = encoded.formats
    _check_count("crossbars", deployment.crossbars, formats)
    _check_count("epochs", deployment.epochs, formats)
    if tables is None:
        tables = cell_tables(tile, formats.slices, deployment.age_s, deployment.temperature_c)
    variance, power = read_variance(tile, formats, tables, deployment.temperature_c)
    values: Real = np.zeros((formats.n_in, formats.columns), dtype=np.float32)
    squares: Real = np.zeros(values.shape if power else (1, 1), dtype=np.float32)
    gain = np.ones((len(formats.tiling.row_blocks), len(formats.tiling.column_blocks)))
    compensate = tile.device.drift_compensation == "global"
    fresh = cell_tables(tile, formats.slices, 0.0) if compensate else tables
    total = 0.0
    for fragment, block in enumerate(_blocks(formats)):
        g, stuck = _conductances(encoded, tile, tables, deployment, fragment, block)
        total += float(g.sum())
        if compensate:
            first, _ = _conductances(encoded, tile, fresh, deployment, fragment, block)
            place = divmod(fragment, gain.shape[1])
            gain[place] = _compensation(first, g, tables.g_min)
        store_columns(
            values, squares, g, stuck, encoded.wq, encoded.flip, block, _layout(encoded),
            (tables.weight_sigma, tables.weight_shift),
            (tables.to_levels, tables.base, variance, tile.device.read_noise.knee), power,
            _address(deployment, fragment),
        )  # fmt: skip
    finest, coarsest = cell_bounds(values, formats.cell_bits)
    values, grid = on_grid(values, encoded, formats.max_code, finest, coarsest)
    square_grid = 0.0
    if power:
        most = floor(log2(2.0**15 / float(squares.max()))) if squares.any() else 0
        code = greatest_power(tile, formats)
        squares, square_grid = on_grid(squares, encoded, code, most, most - _SQUARE_BITS)
    places = np.array(deployment.crossbars, dtype=np.int64)
    return Cells(
        values=values,
        grid=grid,
        squares=squares if power else None,
        square_grid=square_grid,
        tables=tables,
        variance=variance,
        mean_fraction=total / formats.tiling.cells,
        gain=gain if compensate else None,
        converters=converters_of(tile, formats, places, deployment.chip_seed),
    )


def _conductances(
    encoded: Encoded,
    tile: Tile,
    tables: CellTables,
    deployment: Deployment,
    fragment: int,
    block: tuple[int, int, int, int, int, int, int],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return effective conductances over g_max of one crossbar, and which cells are stuck."""
    formats = encoded.formats
    columns = (block[3] - block[2]) * formats.cells_per_weight + (1 if formats.units else 0)
    g = np.empty((block[1] - block[0], columns))
    stuck = np.empty(g.shape, dtype=np.bool_)
    conductances(
        g, stuck, encoded.wq, encoded.offset, encoded.flip, block, _layout(encoded),
        writer_tables(tables), writer_draws(tables), _address(deployment, fragment),
    )  # fmt: skip
    if tables.warmth != 1.0:
        g *= max(tables.warmth, 0.0)
    if tile.crossbar.wire_ohm > 0.0:
        drop_along_wires(g, tile.crossbar.wire_ohm * tile.device.g_max_us * 1e-6)
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


def _address(deployment: Deployment, fragment: int) -> tuple[int, int, int, int]:
    key = derive_key(deployment.chip_seed, _PURPOSE_CELL)
    return deployment.crossbars[fragment], deployment.epochs[fragment], key[0], key[1]


def _compensation(first: NDArray[np.float64], now: NDArray[np.float64], g_min: float) -> float:
    """Return the gain that restores the mean conductance above g_min of a crossbar.

    The mean is that of a read with every row driven, without read noise (global drift
    compensation of aihwkit, whose read-out is also floored).
    """
    return compensation_gain(float(np.mean(first)) - g_min, float(np.mean(now)) - g_min)


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
    zeros = (0,) * encoded.formats.tiling.crossbars
    cells = write_cells(encoded, clean, Deployment(0, zeros, zeros, 0.0))
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
        return variance, 0
    if noise.scaling in {"proportional", "saturating"}:
        return variance, 2 if noise.scaling == "proportional" else 3
    bits = formats.max_code == 1 and formats.feed != FEED["value"]  # values may be -1
    whole = formats.analog_difference or not bits or tables.whole_errs
    return variance, 1 if whole else 0


def greatest_power(tile: Tile, formats: Formats) -> float:
    """Return the greatest sum of squared weighed codes that one input can reach."""
    if not tile.pe.accumulate_cycles:
        return float(formats.max_code**2)
    steps = -(-tile.input.bits // tile.dac.bits)
    code = (1 << tile.dac.bits) - 1
    return float(sum((code << (tile.dac.bits * k)) ** 2 for k in range(steps)))


def _check_count(name: str, numbers: Sequence[int], formats: Formats) -> None:
    needed = formats.tiling.crossbars
    if len(numbers) != needed:
        raise CimsimError(
            f"a matrix on {needed} crossbars needs as many {name}",
            value=len(numbers),
            allowed=str(needed),
        )


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
