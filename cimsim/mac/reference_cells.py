"""The slow twin of writing: levels, conductances and column values in plain NumPy.

Row by row and cell by cell after the equations of `cimsim.mac.cells`, as the oracle of
`cimsim.mac.write`. It shares the addresses of random numbers and the tables of the cells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.mac.cells import DRAW, FLICKER_STEPS, CellTables, cell_tables
from cimsim.mac.encode import Encoded
from cimsim.mac.formats import Formats
from cimsim.mac.program import Deployment
from cimsim.rng import derive_key, normals_at, uniform_bits_at

__all__ = ["column_values", "conductance_of_crossbar", "level_matrix"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_PURPOSE_CELL = 1


def level_matrix(encoded: Encoded, r0: int, r1: int, c0: int, c1: int) -> Ints:
    """Return the levels of the physical columns of one crossbar, [rows, columns]."""
    formats = encoded.formats
    w = encoded.wq[r0:r1, c0:c1].astype(np.int64)
    top = formats.levels - 1
    columns: list[Ints] = []
    for j in range(c1 - c0):
        for s in range(formats.slices):
            place = formats.cell_bits * s
            if formats.pair:
                columns.append(np.where(w[:, j] > 0, w[:, j], 0) >> place & top)
                columns.append(np.where(w[:, j] < 0, -w[:, j], 0) >> place & top)
                continue
            stored = (w[:, j] + encoded.offset[c0 + j]) // formats.weight_step
            level = stored >> place & top
            if formats.encoding == "isaac":
                for g, group in enumerate(formats.groups):
                    rows = slice(max(group.start, r0) - r0, max(min(group.stop, r1) - r0, 0))
                    if encoded.flip[g, s, c0 + j] and group.stop > r0 and group.start < r1:
                        level[rows] = formats.top_level - level[rows]
            columns.append(level)
    if formats.units:
        columns.append(np.full(r1 - r0, formats.unit_level, dtype=np.int64))
    return np.stack(columns, axis=1)


def _exp_minus(x: Floats) -> Floats:
    k = np.floor(x * 1.4426950408889634 + 0.5)
    r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10
    coefficients = (
        2.755731922398589e-07, -2.7557319223985893e-06, 2.48015873015873e-05,
        -1.984126984126984e-04, 1.3888888888888889e-03, -8.333333333333333e-03,
        4.1666666666666664e-02, -1.6666666666666666e-01, 0.5, -1.0, 1.0,
    )  # fmt: skip
    value = np.full_like(r, -2.505210838544172e-08)
    for c in coefficients:
        value = value * r + c
    return value * np.ldexp(1.0, -k.astype(np.int64))


def conductance_of_crossbar(
    level: Ints, tables: CellTables, crossbar: int, epoch: int, key: tuple[int, int]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return conductances over g_max and stuck cells, row by row after `cimsim.mac.cells`."""
    g = tables.target[level]
    stuck = np.zeros(level.shape, dtype=np.bool_)
    count = level.shape[1]
    for i in range(level.shape[0]):
        row = level[i]
        z0, z1, z2 = (
            normals_at(count, (i | d << 16, crossbar, epoch), key).astype(np.float64)
            for d in range(3)
        )
        if tables.sigma.any() or tables.bias.any():
            g[i] = np.maximum(0.0, g[i] + (tables.bias[row] + tables.sigma[row] * z0))
            for attempt in range(1, tables.attempts):
                missed = np.abs(g[i] - tables.target[row]) > tables.tolerance
                if not missed.any():
                    break
                place = (i | (DRAW["rewrite"] - 1 + attempt) << 16, crossbar, epoch)
                z = normals_at(count, place, key).astype(np.float64)
                again = tables.target[row] + (tables.bias[row] + tables.sigma[row] * z)
                g[i] = np.where(missed, np.maximum(0.0, again), g[i])
        written = g[i].copy()
        if tables.log_time > 0.0:
            nu = np.abs(tables.nu_mean[row] + tables.nu_sigma[row] * z1)
            g[i] = g[i] * _exp_minus(nu * tables.log_time)
        if tables.flicker.any():
            place = np.minimum(written * FLICKER_STEPS, tables.flicker.size - 1.5)
            at = place.astype(np.int64)
            q = tables.flicker[at] + (tables.flicker[at + 1] - tables.flicker[at]) * (place - at)
            g[i] = np.maximum(0.0, g[i] + g[i] * q * z2)
        u = uniform_bits_at(count, (i | 3 << 16, crossbar, 0), key).astype(np.int64)
        low, high = u < tables.stuck_low, u < tables.stuck_low + tables.stuck_high
        g[i] = np.where(low, tables.g_min, np.where(high, 1.0, g[i]))
        stuck[i] = high | low
    return g, stuck


def column_values(encoded: Encoded, tile: Tile, deployment: Deployment) -> NDArray[np.float32]:
    """Return column values in levels, float32 [n_in, columns], before they go on a grid."""
    formats = encoded.formats
    tables = cell_tables(tile, formats.slices, deployment.age_s, deployment.temperature_c)
    key = derive_key(deployment.chip_seed, _PURPOSE_CELL)
    values = np.zeros((formats.n_in, formats.columns), dtype=np.float32)
    fragment, r0 = 0, 0
    for rows in formats.tiling.row_blocks:
        c0 = 0
        for block, width in enumerate(formats.tiling.column_blocks):
            crossbar, epoch = deployment.crossbars[fragment], deployment.epochs[fragment]
            level = level_matrix(encoded, r0, r0 + rows, c0, c0 + width)
            g, stuck = conductance_of_crossbar(level, tables, crossbar, epoch, key)
            if tables.warmth != 1.0:
                g = g * tables.warmth
            v = g * tables.to_levels - tables.base
            if tables.weight_sigma.size > 1:
                _add_weight_errors(v, stuck, encoded, tables, (r0, c0, width), crossbar, epoch, key)
            _store(values, v, formats, (r0, c0, width, block))
            fragment += 1
            c0 += width
        r0 += rows
    return values


def _add_weight_errors(
    v: Floats,
    stuck: NDArray[np.bool_],
    encoded: Encoded,
    tables: CellTables,
    place: tuple[int, int, int],
    crossbar: int,
    epoch: int,
    key: tuple[int, int],
) -> None:
    r0, c0, width = place
    top = tables.weight_shift.size // 2
    group_of_row = np.concatenate(
        [np.full(g.stop - g.start, n) for n, g in enumerate(encoded.formats.groups)]
    )
    side = 2 if encoded.formats.pair else 1
    for i in range(v.shape[0]):
        z = normals_at(v.shape[1], (i, crossbar, epoch), key).astype(np.float64)
        for j in range(width):
            w = int(encoded.wq[r0 + i, c0 + j])
            shift = tables.weight_shift[w + top]
            if encoded.formats.encoding == "isaac":
                complement = encoded.flip[group_of_row[r0 + i], 0, c0 + j]
                shift = -shift if complement else shift
            error = tables.weight_sigma[abs(w)] * z[j * side] + shift
            if side == 2 and w < 0:
                v[i, 2 * j + 1] -= 0.0 if stuck[i, 2 * j + 1] else error
            else:
                v[i, side * j] += 0.0 if stuck[i, side * j] else error


def _store(
    values: NDArray[np.float32], v: Floats, formats: Formats, place: tuple[int, int, int, int]
) -> None:
    r0, c0, width, block = place
    rows = slice(r0, r0 + v.shape[0])
    for j in range(width):
        for s in range(formats.slices):
            at = (j * formats.slices + s) * (2 if formats.pair else 1)
            if formats.analog_difference:
                values[rows, s * formats.n_out + c0 + j] = v[:, at] - v[:, at + 1]
            elif formats.pair:
                values[rows, 2 * s * formats.n_out + c0 + j] = v[:, at]
                values[rows, (2 * s + 1) * formats.n_out + c0 + j] = v[:, at + 1]
            else:
                values[rows, s * formats.n_out + c0 + j] = v[:, at]
    if formats.units:
        values[rows, formats.stored_columns * formats.n_out + block] = v[:, -1]
