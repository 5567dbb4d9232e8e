"""Compiled conversion: column sums become codes, shifted and added.

One pass over the sums of a row group, each read once. The plain twin that follows the
equations of `cimsim.mac.adc` is `cimsim.testing.slow_product.codes`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cimsim.kernel_cache import cached
from cimsim.rng import fill_normals

__all__ = [
    "BLOCK",
    "add_codes",
    "convert",
    "convert_noisy",
    "convert_units",
    "finish",
    "histogram",
    "read_columns",
]

BLOCK = 512  # columns at a time: their numbers stay in the first-level cache


@cached
@njit(error_model="numpy")
def convert(sums, acc, plane_weight, column_weight, signs, inverse, low, high):  # type: ignore[no-untyped-def]
    """Convert sums without fresh noise or converter errors and add them up.

    Args:
        sums: float [>= n x planes, >= columns], whole multiples of the grid.
        acc: float [n, n_out], codes added here, weighed.
        plane_weight: float64 [planes].
        column_weight: float64 [stored columns].
        signs: float32 [stored columns x n_out] +1 or -1 (complements), or [0].
        inverse: codes a grid unit.
        low: lowest code.
        high: highest code.

    Returns:
        Number of clipped conversions.
    """
    n, n_out = acc.shape
    planes = plane_weight.size
    inv = sums.dtype.type(inverse)
    lo = sums.dtype.type(low)
    hi = sums.dtype.type(high)
    clipped = 0
    for t in range(n):
        for k in range(planes):
            for c in range(column_weight.size):
                row = sums[t * planes + k, c * n_out : (c + 1) * n_out]
                out = acc[t]
                weight = acc.dtype.type(plane_weight[k] * column_weight[c])
                count = np.int32(0)  # vectorises, where a 64-bit count would not
                if signs.size > 0:
                    sign = signs[c * n_out : (c + 1) * n_out]
                    for j in range(n_out):
                        code = np.rint(row[j] * inv)
                        kept = min(max(code, lo), hi)
                        count += np.int32(code != kept)
                        out[j] += acc.dtype.type(kept * sign[j]) * weight
                else:
                    for j in range(n_out):
                        code = np.rint(row[j] * inv)
                        kept = min(max(code, lo), hi)
                        count += np.int32(code != kept)
                        out[j] += acc.dtype.type(kept) * weight
                clipped += int(count)
    return clipped


@cached
@njit(error_model="numpy")
def _codes_of_row(  # type: ignore[no-untyped-def]
    codes, values, squares, shared, noise, errors, first, bounds, address, z, bits
):
    """Fill codes of one conversion of some columns; return how many were clipped."""
    low, high = bounds[0], bounds[1]
    read_columns(codes, values, squares, shared, noise, errors, first, bounds, address, z, bits)
    count = np.int32(0)  # vectorises, where a 64-bit count would not
    for c in range(codes.size):
        code = np.rint(codes[c])
        kept = min(max(code, low), high)
        count += np.int32(code != kept)
        codes[c] = kept
    return count


@cached
@njit(error_model="numpy")
def read_columns(  # type: ignore[no-untyped-def]
    codes, values, squares, shared, noise, errors, first, bounds, address, z, bits
):
    """Fill what the converters of some columns see, in codes before rounding.

    Every operation is in the precision of the sums and in this order.
    """
    inverse, slope, square_scale, fresh = noise
    low, high, span, curve = bounds
    group_plane, position, sequence, k0, k1 = address
    columns = codes.size
    for c in range(columns):
        codes[c] = values[c] * inverse
    if curve.size > 0:
        _bend(codes, low, high, span, curve)
    if errors.shape[1] > 0:
        one = codes.dtype.type(1.0)
        for c in range(columns):
            v = codes[c]
            u = (v - low) * span
            bow = codes.dtype.type(errors[2, first + c]) * (u * (one - u))
            v = v * codes.dtype.type(errors[0, first + c])
            v = v + codes.dtype.type(errors[1, first + c])
            codes[c] = v + bow
    if fresh:
        fill_normals(z, bits, first, group_plane, position, sequence, k0, k1)
        zero = codes.dtype.type(0.0)
        if squares.size > 0:
            for c in range(columns):
                variance = max((squares[c] * square_scale + values[c] * slope) + shared, zero)
                codes[c] += np.sqrt(variance) * codes.dtype.type(z[c])
        else:
            for c in range(columns):
                variance = max(values[c] * slope + shared, zero)
                codes[c] += np.sqrt(variance) * codes.dtype.type(z[c])


@cached
@njit(error_model="numpy")
def _bend(codes, low, high, span, curve):  # type: ignore[no-untyped-def]
    """Move codes along a transfer curve: its deviation in codes, linear between its points."""
    f = codes.dtype.type
    pieces = f(curve.size - 1)
    for c in range(codes.size):
        place = (min(max(codes[c], low), high) - low) * span * pieces
        i = min(np.int64(place), curve.size - 2)
        first = f(curve[i])
        codes[c] += first + (f(curve[i + 1]) - first) * (place - f(i))


# Long: what it takes is described line by line; the loop itself is short.
@cached
@njit(error_model="numpy")
def convert_noisy(  # type: ignore[no-untyped-def]
    sums,
    squares,
    acc,
    units,
    plane_weight,
    column_weight,
    signs,
    scales,
    row_variance,
    errors,
    driven,
    sequence,
    position,
    group,
    k0,
    k1,
):
    """Convert sums with fresh noise and frozen converter errors and add them up.

    Args:
        sums: float [>= n x planes, >= columns].
        squares: float [>= n x planes, >= columns], second product for level-dependent noise, or
            [0, 0] without.
        acc: float [n, n_out].
        units: float64 [n, units], codes of unit columns, weighed; set.
        plane_weight: float64 [planes].
        column_weight: float64 [stored columns].
        signs: float32 [stored columns x n_out], or [0].
        scales: (codes a grid unit, lowest code, highest code, variance a grid unit of the sum
            in codes^2, variance a unit of the second product in codes^2, whether fresh,
            deviation of the transfer curve as `cimsim.mac.curves` gives it).
        row_variance: float32 [n x planes], variance that all columns share, codes^2.
        errors: float32 [3, columns] gain, offset and bow of the converters, or [3, 0].
        driven: bool [n x planes], which planes are converted, or [0]: all.
        sequence: int64 [n].
        position: int64 [n].
        group: row group.
        k0: first word of the noise key.
        k1: second word of the noise key.

    Returns:
        Number of clipped conversions.
    """
    n, n_out = acc.shape
    planes = plane_weight.size
    columns = column_weight.size * n_out + units.shape[1]
    f = sums.dtype.type
    noise = (f(scales[0]), f(scales[3]), f(scales[4]), scales[5])
    bounds = (f(scales[1]), f(scales[2]), f(1.0) / (f(scales[2]) - f(scales[1])), scales[6])
    z = np.zeros(BLOCK, np.float32)
    bits = np.empty(BLOCK, np.uint32)
    codes = np.empty(BLOCK, sums.dtype)
    clipped = 0
    for t in range(n):
        units[t, :] = 0.0
        for k in range(planes):
            row = t * planes + k
            if driven.size > 0 and not driven[row]:
                continue
            second = squares[row] if squares.size > 0 else squares[:0, 0]
            address = (group * 64 + k, position[t], sequence[t], k0, k1)
            for first in range(0, columns, BLOCK):
                last = min(first + BLOCK, columns)
                padded = ((last - first + 63) // 64) * 64
                part = codes[: last - first]
                count = _codes_of_row(
                    part, sums[row, first:last], second[first:last], f(row_variance[row]), noise,
                    errors, first, bounds, address, z[:padded], bits[:padded],
                )  # fmt: skip
                clipped += int(count)
                add_codes(part, first, plane_weight[k], column_weight, signs, acc[t], units[t])
    return clipped


@cached
@njit(error_model="numpy")
def add_codes(codes, first, plane_weight, column_weight, signs, out, units):  # type: ignore[no-untyped-def]
    """Weigh the codes of the columns from `first` on and add them to outputs and units."""
    n_out = out.size
    last = first + codes.size
    place = first
    while place < min(last, column_weight.size * n_out):
        c = place // n_out
        stop = min(last, (c + 1) * n_out)
        part = codes[place - first : stop - first]
        to = out[place - c * n_out : stop - c * n_out]
        weight = out.dtype.type(plane_weight * column_weight[c])
        if signs.size > 0:
            sign = signs[place:stop]
            for j in range(part.size):
                to[j] += out.dtype.type(part[j] * sign[j]) * weight
        else:
            for j in range(part.size):
                to[j] += out.dtype.type(part[j]) * weight
        place = stop
    for at in range(place, last):
        units[at - column_weight.size * n_out] += np.float64(codes[at - first]) * plane_weight


@cached
@njit(error_model="numpy")
def convert_units(sums, units, first, plane_weight, inverse, low, high):  # type: ignore[no-untyped-def]
    """Convert the unit columns, which start at column `first`, without noise."""
    planes = plane_weight.size
    f = sums.dtype.type
    inv, lo, hi = f(inverse), f(low), f(high)
    clipped = 0
    for t in range(units.shape[0]):
        for u in range(units.shape[1]):
            total = 0.0
            for k in range(planes):
                code = np.rint(sums[t * planes + k, first + u] * inv)
                kept = min(max(code, lo), hi)
                clipped += 1 if code != kept else 0
                total += np.float64(kept) * plane_weight[k]
            units[t, u] = total
    return clipped


@cached
@njit(error_model="numpy")
def add_units(extra, units, coefficient, block_of_output, scale):  # type: ignore[no-untyped-def]
    """Add the digital share of unit columns: extra += (units x scale) x coefficient."""
    for t in range(extra.shape[0]):
        for j in range(extra.shape[1]):
            extra[t, j] += (units[t, block_of_output[j]] * scale) * coefficient[j]


@cached
@njit(error_model="numpy")
def flush(total, acc, gain):  # type: ignore[no-untyped-def]
    """Move one row block's codes to the total with its digital gain, and clear them."""
    for t in range(acc.shape[0]):
        for j in range(acc.shape[1]):
            total[t, j] += np.float64(acc[t, j]) * gain[j]
            acc[t, j] = 0.0


@cached
@njit(error_model="numpy")
def finish(out, total, extra, fed, step, coefficient, shift_share, token_scale, column_scale):  # type: ignore[no-untyped-def]
    """Turn codes into outputs: digital offset, then the scales.

    y = (total step + coefficient fed - shift_share + extra) x (token_scale column_scale).

    Args:
        out: float32 [n, n_out], filled.
        total: float [n, n_out], weighed codes.
        extra: float64 [n, n_out], share of unit columns, or [0, 0].
        fed: float64 [n], sums of the fed inputs.
        step: levels per code.
        coefficient: float64 [n_out], what a fed unit counts digitally.
        shift_share: float64 [n_out], share of shifted inputs.
        token_scale: float32 [n].
        column_scale: float32 [n_out].
    """
    for t in range(out.shape[0]):
        for j in range(out.shape[1]):
            y = np.float64(total[t, j]) * step + coefficient[j] * fed[t] - shift_share[j]
            if extra.size > 0:
                y += extra[t, j]
            scale = np.float64(token_scale[t]) * np.float64(column_scale[j])
            out[t, j] = np.float32(y * scale)


@cached
@njit(error_model="numpy")
def histogram(sums, columns, inverse_width, counts):  # type: ignore[no-untyped-def]
    """Count absolute sums by bins of equal width; the last bin takes the rest.

    Args:
        sums: float [rows, >= columns].
        columns: how many of the columns to count.
        inverse_width: bins per unit of the sum.
        counts: int64 [bins], added to.
    """
    last = counts.size - 1
    for r in range(sums.shape[0]):
        for c in range(columns):
            bin_of = np.int64(np.rint(abs(np.float64(sums[r, c])) * inverse_width))
            counts[min(bin_of, last)] += 1
