"""Compiled writing of crossbars: quantised weights become conductances in levels.

Three steps: the conductance of every cell (`conductances`), the voltage drop of the wires of
each crossbar (`cimsim.mac.wires`), and column values in levels (`store_columns`). The plain
twins that follow the equations are in `cimsim.testing.slow_writing`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cimsim.elementary_arrays import exp_number
from cimsim.kernel_cache import cached
from cimsim.mac.cells import FLICKER_STEPS
from cimsim.mac.writing import DRIFT, FLICKER, REWRITE, WRITE
from cimsim.rng import CHUNK, fill_bits, fill_normals

__all__ = [
    "conductances",
    "flip_columns",
    "read_share",
    "store_columns",
]


@cached
@njit(error_model="numpy")
def flip_columns(wq, offset, starts, stops, slices, cell_bits, top_level, halved, flip):  # type: ignore[no-untyped-def]
    """Mark columns of ISAAC's encoding that are stored as complements.

    A column is flipped if its levels sum to more than half of rows x the highest level that a
    weight can store, so that no sum exceeds half of the range.

    Args:
        wq: int16 [n_in, n_out].
        offset: int64 [n_out], added before slicing.
        starts: int64 [groups], first rows.
        stops: int64 [groups], one past the last rows.
        slices: cells per weight.
        cell_bits: bits per cell.
        top_level: highest level that a weight can store.
        halved: weights are +-1, of one bit, and half of the offset weight is stored.
        flip: bool [groups, slices, n_out], filled.
    """
    mask = (1 << cell_bits) - 1
    down = 1 if halved else 0
    for g in range(starts.size):
        for s in range(slices):
            for j in range(wq.shape[1]):
                total = 0
                for i in range(starts[g], stops[g]):
                    total += ((wq[i, j] + offset[j]) >> (cell_bits * s + down)) & mask
                flip[g, s, j] = 2 * total > (stops[g] - starts[g]) * top_level


@cached
@njit(error_model="numpy")
def _levels_of_row(level, w, offset, flip, group, first, layout):  # type: ignore[no-untyped-def]
    """Fill the levels of the cells of the weights of one row."""
    slices, cell_bits, pair, _, _, flipped, top_level, halved = layout
    mask = (1 << cell_bits) - 1
    down = 1 if halved else 0
    cells = 2 * slices if pair else slices
    for j in range(w.size):
        if pair:
            positive = w[j] if w[j] > 0 else 0
            negative = -w[j] if w[j] < 0 else 0
            for s in range(slices):
                level[j * cells + 2 * s] = (positive >> (cell_bits * s)) & mask
                level[j * cells + 2 * s + 1] = (negative >> (cell_bits * s)) & mask
        else:
            stored = (w[j] + offset[j]) >> down
            for s in range(slices):
                value = (stored >> (cell_bits * s)) & mask
                if flipped and flip[group, s, first + j]:
                    value = top_level - value
                level[j * cells + s] = value


@cached
@njit(error_model="numpy")
def _write_line(g, level, tables, address, bits, z):  # type: ignore[no-untyped-def]
    """Write the cells of one line, and again those that a verifying read does not accept."""
    target, bias, sigma = tables[:3]
    tolerance, attempts = tables[10], tables[11]
    first, place, k0, k1 = address[:4]
    skip = first % CHUNK
    fill_normals(z, bits, first - skip, place, WRITE, 0, k0, k1)
    for c in range(g.size):
        error = bias[level[c]] + sigma[level[c]] * np.float64(z[skip + c])
        g[c] = max(0.0, target[level[c]] + error)
    low, high = 0, g.size  # all cells outside are accepted
    for attempt in range(1, attempts):
        while low < high and abs(g[low] - target[level[low]]) <= tolerance:
            low += 1
        while low < high and abs(g[high - 1] - target[level[high - 1]]) <= tolerance:
            high -= 1
        if low == high:
            return
        start = (skip + low) // CHUNK * CHUNK
        stop = (skip + high + CHUNK - 1) // CHUNK * CHUNK
        draw = REWRITE - 1 + attempt
        at = first - skip + start
        fill_normals(z[start:stop], bits[start:stop], at, place, draw, 0, k0, k1)
        for c in range(low, high):
            if abs(g[c] - target[level[c]]) > tolerance:
                error = bias[level[c]] + sigma[level[c]] * np.float64(z[skip + c])
                g[c] = max(0.0, target[level[c]] + error)


@cached
@njit(error_model="numpy")
def _age_line(g, level, tables, draws, address, bits, z, written):  # type: ignore[no-untyped-def]
    """Let the written cells of one line drift and add their accumulated 1/f noise."""
    _, _, _, nu_mean, nu_sigma, log_time, flicker = tables[:7]
    first, place, k0, k1 = address[:4]
    skip = first % CHUNK
    if draws[1]:
        fill_normals(z, bits, first - skip, place, DRIFT, 0, k0, k1)
    for c in range(g.size):
        written[c] = g[c]
        if draws[1]:
            nu = abs(nu_mean[level[c]] + nu_sigma[level[c]] * np.float64(z[skip + c]))
            g[c] = g[c] * exp_number(-(nu * log_time))
    if draws[2]:
        fill_normals(z, bits, first - skip, place, FLICKER, 0, k0, k1)
        for c in range(g.size):
            at = min(written[c] * FLICKER_STEPS, flicker.size - 1.5)
            i = int(at)
            q = flicker[i] + (flicker[i + 1] - flicker[i]) * (at - i)
            g[c] = max(0.0, g[c] + g[c] * q * np.float64(z[skip + c]))


@cached
@njit(error_model="numpy")
def _fill_line(g, stuck, level, tables, draws, address, scratch):  # type: ignore[no-untyped-def]
    """Fill the conductances of a line of cells whose addresses follow each other.

    Args:
        g: float64 [cells], over g_max; filled.
        stuck: bool [cells]; filled.
        level: int64 [cells].
        tables: as `conductances` takes it.
        draws: as `conductances` takes it.
        address: (address of the first cell, that of the line, key of writes, key of silicon).
        scratch: uint32 and float32 [cells from the last multiple of CHUNK to the next], float64
            [cells].
    """
    target, low, high, g_min = tables[0], tables[7], tables[8], tables[9]
    bits, z, written = scratch
    for c in range(g.size):
        g[c] = target[level[c]]
    if draws[0]:
        _write_line(g, level, tables, address, bits, z)
    if draws[1] or draws[2]:
        _age_line(g, level, tables, draws, address, bits, z, written)
    stuck[:] = False
    if draws[3]:
        # The same cells are stuck after every write.
        first, place, _, _, s0, s1 = address
        skip = first % CHUNK
        fill_bits(bits, first - skip, place, 0, 0, s0, s1)
        for c in range(g.size):
            u = np.int64(bits[skip + c])
            if u < low + high:
                g[c] = g_min if u < low else 1.0
                stuck[c] = True


@cached
@njit(error_model="numpy")
def _scratch(first, count):  # type: ignore[no-untyped-def]
    """Return the scratch of a line of `count` cells from address `first` on."""
    padded = (first % CHUNK + count + CHUNK - 1) // CHUNK * CHUNK
    return np.empty(padded, np.uint32), np.zeros(padded, np.float32), np.empty(count, np.float64)


@cached
@njit(error_model="numpy")
def conductances(conductance, stuck, wq, offset, flip, block, layout, tables, draws, keys):  # type: ignore[no-untyped-def]
    """Fill the conductances of neighbouring crossbars of one row block.

    Args:
        conductance: float64 [rows, cells of weights, then one unit cell per crossbar], over
            g_max; filled.
        stuck: bool, like `conductance`; filled.
        wq: int16 [n_in, n_out].
        offset: int64 [n_out].
        flip: bool [groups, slices, n_out], or [1, 1, 1] without flipped columns.
        block: (first row, last row + 1, first column, last column + 1, first column block,
            first group, rows per group).
        layout: (slices, bits per cell, pair, analog difference, level of the unit column or 0,
            has flipped columns, highest level that a weight can store, half of the offset
            weight is stored).
        tables: tables of the cells, as `Writer` orders them.
        draws: which of write, drift, flicker, stuck happen.
        keys: of the cells of weights and of the unit cells, each (two words of the key of
            writes, two of that of silicon), see `cimsim.mac.writing`.
    """
    r0, r1, c0, c1, column_block, first_group, group_rows = block
    slices, _, pair, _, unit = layout[:5]
    cells = 2 * slices if pair else slices
    count = (c1 - c0) * cells
    level = np.zeros(count, np.int64)
    scratch = _scratch(c0 * cells, count)
    for row in range(r1 - r0):
        group = first_group + row // group_rows
        _levels_of_row(level, wq[r0 + row, c0:c1], offset[c0:c1], flip, group, c0, layout)
        address = (c0 * cells, r0 + row) + keys[0]
        g, fixed = conductance[row, :count], stuck[row, :count]
        _fill_line(g, fixed, level, tables, draws, address, scratch)
    if unit > 0:
        rows = r1 - r0
        level = np.full(rows, unit, np.int64)
        scratch = _scratch(r0, rows)
        g, fixed = np.empty(rows, np.float64), np.empty(rows, np.bool_)
        for u in range(conductance.shape[1] - count):
            address = (r0, column_block + u) + keys[1]
            _fill_line(g, fixed, level, tables, draws, address, scratch)
            conductance[:, count + u] = g
            stuck[:, count + u] = fixed


@cached
@njit(error_model="numpy")
def read_share(g, power, knee):  # type: ignore[no-untyped-def]
    """Return the variance of a read of a cell over that of the greatest sigma.

    Args:
        g: conductance over g_max, >= 0.
        power: 1 or 2 of g, or 3 for (1 - exp(-g / knee))^2 (SONOS cells).
        knee: of the saturating form.
    """
    if power == 3:
        rest = 1.0 - exp_number(-(g / knee))
        return rest * rest
    return g**power


# Long: pairs, slices, errors of whole weights and squares in one pass over the cells of a row.
@cached
@njit(error_model="numpy")
def store_columns(  # type: ignore[no-untyped-def]  # noqa: PLR0912
    values, squares, conductance, stuck, wq, flip, block, layout, whole, scales, power, key
):
    """Store the columns of neighbouring crossbars in levels, pairs subtracted where that is analog.

    Args:
        values: float32 [n_in, columns], levels; the part of these crossbars is filled.
        squares: like `values`, variance of a read in levels^2; [1, 1] if `power` is 0.
        conductance: as `conductances` fills it.
        stuck: as `conductances` fills it.
        wq: int16 [n_in, n_out].
        flip: as `conductances` takes it.
        block: as `conductances` takes it.
        layout: as `conductances` takes it.
        whole: errors of whole weights: sigma, float64 [weight_max + 1] or [1] of 0, and mean,
            float64 [2 weight_max + 1] or [1] of 0.
        scales: (levels per g_max, lowest level's conductance in levels, variance of a read at
            the greatest sigma in levels^2, knee of saturating noise over g_max).
        power: how the variance of a read grows with G: 0 none stored, else of `read_share`.
        key: of writes, two words.
    """
    r0, r1, c0, c1, column_block, first_group, group_rows = block
    slices, _, pair, difference, unit, flipped, _, _ = layout
    weight_sigma, weight_shift = whole
    to_levels, base, read_variance, knee = scales
    n_out = wq.shape[1]
    side = 2 if pair else 1
    apart = pair and not difference
    count = (c1 - c0) * slices * side
    first = c0 * slices * side
    skip = first % CHUNK
    bits, z, _ = _scratch(first, count)
    errs, top = weight_sigma.size > 1, weight_shift.size // 2
    for i in range(r0, r1):
        g = conductance[i - r0]
        fixed = stuck[i - r0]
        group = first_group + (i - r0) // group_rows
        if errs:
            fill_normals(z, bits, first - skip, i, WRITE, 0, key[0], key[1])
        for j in range(c0, c1):
            for s in range(slices):
                c = ((j - c0) * slices + s) * side
                positive = g[c] * to_levels - base
                negative = g[c + 1] * to_levels - base if pair else 0.0
                if errs:
                    shift = weight_shift[wq[i, j] + top]
                    if flipped and flip[group, s, j]:
                        shift = -shift
                    error = weight_sigma[abs(wq[i, j])] * np.float64(z[skip + c]) + shift
                    if pair and wq[i, j] < 0:
                        negative -= 0.0 if fixed[c + 1] else error
                    else:
                        positive += 0.0 if fixed[c] else error
                if apart:
                    values[i, 2 * s * n_out + j] = positive
                    values[i, (2 * s + 1) * n_out + j] = negative
                else:
                    values[i, s * n_out + j] = positive - negative
                if power > 0:
                    p = read_share(g[c], power, knee) * read_variance
                    n = read_share(g[c + 1], power, knee) * read_variance if pair else 0.0
                    if apart:
                        squares[i, 2 * s * n_out + j] = p
                        squares[i, (2 * s + 1) * n_out + j] = n
                    else:
                        squares[i, s * n_out + j] = p + n
        if unit > 0:
            for u in range(g.size - count):
                at = slices * n_out + column_block + u
                values[i, at] = g[count + u] * to_levels - base
                if power > 0:
                    squares[i, at] = read_share(g[count + u], power, knee) * read_variance
