"""Compiled writing of one crossbar: quantised weights become conductances in levels.

The plain twin that follows the equations is `cimsim.mac.reference.write_crossbar`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cimsim.mac.cells import FLICKER_STEPS
from cimsim.rng import fill_bits, fill_normals

__all__ = ["column_bound", "exp_minus", "flip_columns", "to_grid", "write_crossbar"]

_LOG2E = 1.4426950408889634
_LN2_HIGH = 0.693147180369123816490
_LN2_LOW = 1.90821492927058770002e-10


@njit(cache=True, error_model="numpy")
def exp_minus(x):  # type: ignore[no-untyped-def]
    """Return exp(-x) for x >= 0 with + - * / only, so that every path has the same bits.

    exp(-x) = 2^-k exp(-r) with r = x - k ln 2 in +-ln(2)/2 and a Taylor polynomial of
    degree 13 (relative error below 1e-16).
    """
    k = np.floor(x * _LOG2E + 0.5)
    r = -((x - k * _LN2_HIGH) - k * _LN2_LOW)
    value = 1.0
    for i in range(13, 0, -1):
        value = 1.0 + value * r / i
    scale = 1.0
    for _ in range(int(k)):
        scale = scale * 0.5
    return value * scale


@njit(cache=True, error_model="numpy")
def flip_columns(wq, offset, starts, stops, slices, cell_bits, flip):  # type: ignore[no-untyped-def]
    """Mark columns of ISAAC's encoding that are stored as complements.

    A column is flipped if its levels sum to more than half of rows x (levels - 1), so that
    no sum exceeds half of the range.

    Args:
        wq: int16 [n_in, n_out].
        offset: int64 [n_out], added before slicing.
        starts: int64 [groups], first rows.
        stops: int64 [groups], one past the last rows.
        slices: cells a weight.
        cell_bits: bits a cell.
        flip: bool [groups, slices, n_out], filled.
    """
    top = (1 << cell_bits) - 1
    for g in range(starts.size):
        for s in range(slices):
            for j in range(wq.shape[1]):
                total = 0
                for i in range(starts[g], stops[g]):
                    total += ((wq[i, j] + offset[j]) >> (cell_bits * s)) & top
                flip[g, s, j] = 2 * total > (stops[g] - starts[g]) * top


@njit(cache=True, error_model="numpy")
def _levels_of_row(level, w, offset, flip, group, first, layout):  # type: ignore[no-untyped-def]
    """Fill the levels of the physical columns of one row of a crossbar."""
    slices, cell_bits, pair, _, unit, flipped = layout
    top = (1 << cell_bits) - 1
    cells = 2 * slices if pair else slices
    for j in range(w.size):
        if pair:
            positive = w[j] if w[j] > 0 else 0
            negative = -w[j] if w[j] < 0 else 0
            for s in range(slices):
                level[j * cells + 2 * s] = (positive >> (cell_bits * s)) & top
                level[j * cells + 2 * s + 1] = (negative >> (cell_bits * s)) & top
        else:
            stored = w[j] + offset[j]
            for s in range(slices):
                value = (stored >> (cell_bits * s)) & top
                if flipped and flip[group, s, first + j]:
                    value = top - value
                level[j * cells + s] = value
    if unit:
        level[w.size * cells] = max(1, top // 2)


@njit(cache=True, error_model="numpy")
def _conductances_of_row(  # type: ignore[no-untyped-def]  # noqa: PLR0912
    g, stuck, level, count, t, draws, row, crossbar, epoch, k0, k1, bits, z
):
    """Fill conductances over g_max of the physical columns of one row."""
    target, bias, sigma, nu_mean, nu_sigma, log_time, flicker, low, high, g_min = t
    has_write, has_drift, has_flicker, has_stuck = draws
    if has_write:
        fill_normals(z, bits, 0, row, crossbar, epoch, k0, k1)
    for c in range(count):
        value = target[level[c]]
        if has_write:
            value = max(0.0, value + bias[level[c]] + sigma[level[c]] * np.float64(z[c]))
        g[c] = value
    if has_drift or has_flicker:
        if has_drift:
            fill_normals(z, bits, 0, row | (1 << 16), crossbar, epoch, k0, k1)
        for c in range(count):
            written = g[c]
            factor = 1.0
            if has_drift:
                nu = abs(nu_mean[level[c]] + nu_sigma[level[c]] * np.float64(z[c]))
                factor = exp_minus(nu * log_time)
            g[c] = written * factor
            stuck[c] = written  # scratch until the stuck cells are known
        if has_flicker:
            fill_normals(z, bits, 0, row | (2 << 16), crossbar, epoch, k0, k1)
            for c in range(count):
                place = min(stuck[c] * FLICKER_STEPS, flicker.size - 1.5)
                i = int(place)
                q = flicker[i] + (flicker[i + 1] - flicker[i]) * (place - i)
                g[c] = max(0.0, g[c] + g[c] * q * np.float64(z[c]))
    for c in range(count):
        stuck[c] = 0.0
    if has_stuck:
        fill_bits(bits, 0, row | (3 << 16), crossbar, epoch, k0, k1)
        for c in range(count):
            u = np.int64(bits[c])
            if u < low:
                g[c] = g_min
                stuck[c] = 1.0
            elif u < low + high:
                g[c] = 1.0
                stuck[c] = 1.0


@njit(cache=True, error_model="numpy")
def write_crossbar(  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0915
    values,
    squares,
    wq,
    offset,
    flip,
    block,
    layout,
    tables,
    weight_sigma,
    draws,
    scales,
    address,
    power,
):
    """Write the weights of one crossbar and store its column values.

    Args:
        values: float32 or float64 [n_in, columns], levels; this crossbar's part is filled.
        squares: like `values`, variance of a read over its scale; [1, 1] if not needed.
        wq: int16 [n_in, n_out].
        offset: int64 [n_out].
        flip: bool [groups, slices, n_out], or [1, 1, 1] without flipped columns.
        block: (first row, last row + 1, first column, last column + 1, column block, first
            group, rows a group).
        layout: (slices, bits a cell, pair, analog difference, has unit column, has flipped
            columns).
        tables: tables of the cells, as `write_arguments` orders them.
        weight_sigma: float64 [weight_max + 1] or [1].
        draws: which of write, drift, flicker, stuck happen, and whether weights err whole.
        scales: (levels a g_max, lowest level's conductance in levels, variance of a read at
            g_max in levels^2).
        address: (crossbar, epoch, k0, k1).
        power: how the variance of a read grows with G: 0 none stored, 1 as G, 2 as G^2.

    Returns:
        Sum of conductances over g_max of all cells.
    """
    r0, r1, c0, c1, column_block, first_group, group_rows = block
    slices, _, pair, difference, unit, _ = layout
    to_levels, base, read_variance = scales
    crossbar, epoch, k0, k1 = address
    n_out = wq.shape[1]
    cells = 2 * slices if pair else slices
    count = (c1 - c0) * cells + (1 if unit else 0)
    padded = ((count + 63) // 64) * 64
    level = np.zeros(count, np.int64)
    g = np.zeros(count, np.float64)
    stuck = np.zeros(count, np.float64)
    bits = np.empty(padded, np.uint32)
    z = np.empty(padded, np.float32)
    whole = draws[4]
    total = 0.0
    for i in range(r0, r1):
        row = i - r0
        group = first_group + row // group_rows
        _levels_of_row(level, wq[i, c0:c1], offset[c0:c1], flip, group, c0, layout)
        _conductances_of_row(
            g,
            stuck,
            level,
            count,
            tables,
            (draws[0], draws[1], draws[2], draws[3]),
            row,
            crossbar,
            epoch,
            k0,
            k1,
            bits,
            z,
        )
        if whole:
            fill_normals(z, bits, 0, row, crossbar, epoch, k0, k1)
        for c in range(count):
            total += g[c]
        for j in range(c0, c1):
            for s in range(slices):
                c = (j - c0) * cells + (2 * s if pair else s)
                positive = g[c] * to_levels - base
                negative = g[c + 1] * to_levels - base if pair else 0.0
                if whole:
                    w = wq[i, j]
                    error = weight_sigma[abs(w)] * np.float64(z[c])
                    if pair and w < 0:
                        negative -= error if stuck[c + 1] == 0.0 else 0.0
                    else:
                        positive += error if stuck[c] == 0.0 else 0.0
                if pair and not difference:
                    values[i, (2 * s) * n_out + j] = positive
                    values[i, (2 * s + 1) * n_out + j] = negative
                else:
                    values[i, s * n_out + j] = positive - negative
                if power > 0:
                    p = g[c] if power == 1 else g[c] * g[c]
                    n = 0.0
                    if pair:
                        n = g[c + 1] if power == 1 else g[c + 1] * g[c + 1]
                    if pair and not difference:
                        squares[i, (2 * s) * n_out + j] = p * read_variance
                        squares[i, (2 * s + 1) * n_out + j] = n * read_variance
                    else:
                        squares[i, s * n_out + j] = (p + n) * read_variance
        if unit:
            c = (c1 - c0) * cells
            at = slices * n_out + column_block
            values[i, at] = g[c] * to_levels - base
            if power > 0:
                p = g[c] if power == 1 else g[c] * g[c]
                squares[i, at] = p * read_variance
    return total


@njit(cache=True, error_model="numpy")
def column_bound(values, starts, stops):  # type: ignore[no-untyped-def]
    """Return the greatest sum of absolute values over the rows of a group in a column."""
    greatest = 0.0
    sums = np.zeros(values.shape[1], np.float64)
    for g in range(starts.size):
        sums[:] = 0.0
        for i in range(starts[g], stops[g]):
            for j in range(values.shape[1]):
                sums[j] += abs(np.float64(values[i, j]))
        for j in range(values.shape[1]):
            greatest = max(greatest, sums[j])
    return greatest


@njit(cache=True, error_model="numpy")
def to_grid(values, scale):  # type: ignore[no-untyped-def]
    """Round values to whole multiples of 1 / scale, in units of that."""
    factor = values.dtype.type(scale)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            values[i, j] = np.rint(values[i, j] * factor)
