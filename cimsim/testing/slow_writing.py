"""The slow twin of writing: levels, conductances and column values in plain NumPy.

Row by row and cell by cell after the equations of `cimsim.mac.cells`, as the oracle of
`cimsim.mac.write`. It shares the addresses of random numbers and the tables of the cells. It
knows crossbars only where they matter: for complements and unit columns of ISAAC's encoding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.elementary_arrays import exp_of
from cimsim.mac.cells import FLICKER_STEPS, CellTables, cell_tables
from cimsim.mac.encode import Encoded
from cimsim.mac.formats import Formats
from cimsim.mac.writing import DRIFT, FLICKER, REWRITE, WRITE, Key, Writing
from cimsim.rng import normals_at, uniform_bits_at

__all__ = ["column_values", "conductance_of_lines", "level_matrix"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def level_matrix(encoded: Encoded) -> Ints:
    """Return the levels of all cells of weights, [n_in, n_out x cells per weight]."""
    formats = encoded.formats
    w = encoded.wq.astype(np.int64)
    top = formats.levels - 1
    columns: list[Ints] = []
    for j in range(formats.n_out):
        for s in range(formats.slices):
            place = formats.cell_bits * s
            if formats.pair:
                columns.append(np.where(w[:, j] > 0, w[:, j], 0) >> place & top)
                columns.append(np.where(w[:, j] < 0, -w[:, j], 0) >> place & top)
                continue
            stored = (w[:, j] + encoded.offset[j]) // formats.weight_step
            level = stored >> place & top
            if formats.encoding == "isaac":
                for g, group in enumerate(formats.groups):
                    rows = slice(group.start, group.stop)
                    if encoded.flip[g, s, j]:
                        level[rows] = formats.top_level - level[rows]
            columns.append(level)
    return np.stack(columns, axis=1)


def conductance_of_lines(
    level: Ints, tables: CellTables, keys: tuple[Key, Key]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return conductances over g_max and stuck cells, line by line after `cimsim.mac.cells`.

    Args:
        level: [lines, cells]; line i has address i, its cells 0, 1, ...
        tables: of the cells.
        keys: of writes and of silicon, see `cimsim.mac.writing`.
    """
    key, silicon = keys
    g = tables.target[level]
    stuck = np.zeros(level.shape, dtype=np.bool_)
    count = level.shape[1]
    for i in range(level.shape[0]):
        row = level[i]
        z0, z1, z2 = (
            normals_at(count, (i, draw, 0), key).astype(np.float64)
            for draw in (WRITE, DRIFT, FLICKER)
        )
        if tables.sigma.any() or tables.bias.any():
            g[i] = np.maximum(0.0, g[i] + (tables.bias[row] + tables.sigma[row] * z0))
            for attempt in range(1, tables.attempts):
                missed = np.abs(g[i] - tables.target[row]) > tables.tolerance
                if not missed.any():
                    break
                z = normals_at(count, (i, REWRITE - 1 + attempt, 0), key).astype(np.float64)
                again = tables.target[row] + (tables.bias[row] + tables.sigma[row] * z)
                g[i] = np.where(missed, np.maximum(0.0, again), g[i])
        written = g[i].copy()
        if tables.log_time > 0.0:
            nu = np.abs(tables.nu_mean[row] + tables.nu_sigma[row] * z1)
            g[i] = g[i] * exp_of(-(nu * tables.log_time))
        if tables.flicker.any():
            place = np.minimum(written * FLICKER_STEPS, tables.flicker.size - 1.5)
            at = place.astype(np.int64)
            q = tables.flicker[at] + (tables.flicker[at + 1] - tables.flicker[at]) * (place - at)
            g[i] = np.maximum(0.0, g[i] + g[i] * q * z2)
        u = uniform_bits_at(count, (i, 0, 0), silicon).astype(np.int64)
        low, high = u < tables.stuck_low, u < tables.stuck_low + tables.stuck_high
        g[i] = np.where(low, tables.g_min, np.where(high, 1.0, g[i]))
        stuck[i] = high | low
    return g, stuck


def column_values(encoded: Encoded, tile: Tile, writing: Writing) -> NDArray[np.float32]:
    """Return column values in levels, float32 [n_in, columns], before they go on a grid."""
    formats = encoded.formats
    age_s = tile.device.age_s if writing.age_s is None else writing.age_s
    tables = cell_tables(tile, formats.slices, age_s, writing.temperature_c)
    g, stuck = conductance_of_lines(level_matrix(encoded), tables, writing.cell_keys)
    # A line of unit cells runs down a column block.
    level = np.full((formats.units, formats.n_in), formats.unit_level, dtype=np.int64)
    unit, _ = conductance_of_lines(level, tables, writing.unit_keys)
    if tables.temperature_factor != 1.0:
        g, unit = g * tables.temperature_factor, unit * tables.temperature_factor
    v = g * tables.to_levels - tables.base
    if tables.weight_sigma.size > 1:
        _add_weight_errors(v, stuck, encoded, tables, writing.cell_keys[0])
    columns = formats.written_columns * formats.n_out + formats.units
    values = np.zeros((formats.n_in, columns), dtype=np.float32)
    _store(values, v, formats)
    if formats.merged:
        return _merged(values, encoded, tile, writing)
    if formats.units:
        values[:, formats.stored_columns * formats.n_out :] = (
            unit.T * tables.to_levels - tables.base
        )
    return values


def _add_weight_errors(
    v: Floats, stuck: NDArray[np.bool_], encoded: Encoded, tables: CellTables, key: Key
) -> None:
    top = tables.weight_shift.size // 2
    group_of_row = np.concatenate(
        [np.full(g.stop - g.start, n) for n, g in enumerate(encoded.formats.groups)]
    )
    side = 2 if encoded.formats.pair else 1
    for i in range(v.shape[0]):
        z = normals_at(v.shape[1], (i, WRITE, 0), key).astype(np.float64)
        for j in range(encoded.formats.n_out):
            w = int(encoded.wq[i, j])
            shift = tables.weight_shift[w + top]
            if encoded.formats.encoding == "isaac":
                complement = encoded.flip[group_of_row[i], 0, j]
                shift = -shift if complement else shift
            error = tables.weight_sigma[abs(w)] * z[j * side] + shift
            if side == 2 and w < 0:
                v[i, 2 * j + 1] -= 0.0 if stuck[i, 2 * j + 1] else error
            else:
                v[i, side * j] += 0.0 if stuck[i, side * j] else error


def _merged(
    values: NDArray[np.float32], encoded: Encoded, tile: Tile, writing: Writing
) -> NDArray[np.float32]:
    """Sum slices by their place, each by the ratio that its silicon has (`cimsim.mac.merge`)."""
    formats, merge = encoded.formats, tile.pe.merge
    slices, sides, n_out = formats.slices, formats.sides, formats.n_out
    sigma = merge.model_dump().get("sigma", 0.0)
    found = np.zeros((formats.n_in, sides * n_out), dtype=np.float32)
    starts = formats.tiling.row_starts
    for i in range(formats.n_in):
        block = max(b for b in range(len(starts) - 1) if starts[b] <= i)
        z = normals_at(slices * sides * n_out, (block, 0, 0), writing.merge_key)
        for side in range(sides):
            for j in range(n_out):
                total = 0.0
                for s in range(slices):
                    place = 2.0 ** (formats.cell_bits * s)
                    own = [float(z[(k * sides + side) * n_out + j]) for k in range(slices)]
                    ratio = place * (1.0 + sigma * own[s] / np.sqrt(place))
                    if merge.kind == "c2c":
                        ratio = place
                        for k in range(slices - 1, s, -1):
                            ratio *= 1.0 + sigma * own[k]
                    total += float(values[i, (s * sides + side) * n_out + j]) * ratio
                found[i, side * n_out + j] = total
    return found


def _store(values: NDArray[np.float32], v: Floats, formats: Formats) -> None:
    n_out = formats.n_out
    for j in range(n_out):
        for s in range(formats.slices):
            at = (j * formats.slices + s) * (2 if formats.pair else 1)
            if formats.analog_difference:
                values[:, s * n_out + j] = v[:, at] - v[:, at + 1]
            elif formats.pair:
                values[:, 2 * s * n_out + j] = v[:, at]
                values[:, (2 * s + 1) * n_out + j] = v[:, at + 1]
            else:
                values[:, s * n_out + j] = v[:, at]
