"""Speculation and recovery: columns out of range are converted again in narrower input cycles.

A speculative cycle feeds the code x_k of `dac.bits` bits. A column whose code of it lies at an end
of the range (the lowest one where sums have both signs) is taken to be out of it. The recovery
cycles of x_k then feed `dac.recovery_bits` at a time, lowest first, and only such columns are
converted in them, by the same converters with the same step::

    x_k = sum_r 2^(a r) x_kr              a = recovery_bits
    code_k -> sum_r 2^(a r) code_kr       where code_k is at an end of the range

each conversion with noise of its own. Recovery cycles always run, so they take the same time
whatever the data, and rows are driven in them; energy of conversions counts those that are made.
What is out of the range in a recovery cycle too is clipped.

Source: RAELLA, Andrulis, Emer and Sze, ISCA 2023, doi 10.1145/3579371.3589062: input slices of 2 to
4 bits, a success flag a column, recovery in slices of one bit, of failed columns alone, at 11/8 of
the cycles (as modelled by its authors in CiMLoop, macro raella_isca_2023).

The same kernel counts the comparisons of converters that search from 0 (`cimsim.mac.search`).

The plain twin is `cimsim.testing.slow_product.codes`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cimsim.kernel_cache import cached
from cimsim.mac.convert import BLOCK, add_codes, read_columns

__all__ = ["convert_recovered"]


# Long: what it takes is described line by line.
@cached
@njit(error_model="numpy")
def convert_recovered(  # type: ignore[no-untyped-def]
    sums,
    squares,
    row_variance,
    driven,
    acc,
    units,
    plane_weight,
    column_weight,
    signs,
    scales,
    errors,
    comparisons,
    first_recovery,
    share,
    sequence,
    position,
    group,
    k0,
    k1,
):
    """Convert sums, those out of range again by recovery cycles, and add the codes up.

    Args:
        sums: of planes and of recovery cycles, float [>= n x planes, >= columns] and
            [>= n x recoveries, >= columns].
        squares: second products of both, or [0, 0].
        row_variance: of both, float32 [n x planes] and [n x recoveries].
        driven: of both, bool, which are converted at all, or [0]: all.
        acc: float [n, n_out].
        units: float64 [n, units], codes of unit columns, weighed; set.
        plane_weight: float64 [planes].
        column_weight: float64 [stored columns].
        signs: float32 [stored columns x n_out], or [0].
        scales: as `cimsim.mac.convert.convert_noisy`.
        errors: float32 [3, columns], or [3, 0].
        comparisons: int64 [codes], what the search of each code takes, or [0]: not counted.
        first_recovery: int64 [planes + 1]; without recovery cycles all 0, and what is theirs is
            not read.
        share: float64 [recoveries], what a code of a recovery cycle counts in its plane.
        sequence: int64 [n].
        position: int64 [n].
        group: row group.
        k0: first word of the noise key.
        k1: second word of the noise key.

    Returns:
        How many codes clipped for good, how many conversions recovery took, and all comparisons.
    """
    n, n_out = acc.shape
    planes = plane_weight.size
    columns = column_weight.size * n_out + units.shape[1]
    f = sums[0].dtype.type
    noise = (f(scales[0]), f(scales[3]), f(scales[4]), scales[5])
    low, high = f(scales[1]), f(scales[2])
    bounds = (low, high, f(1.0) / (high - low), scales[6])
    z = np.zeros(BLOCK, np.float32)
    bits = np.empty(BLOCK, np.uint32)
    codes = np.empty(BLOCK, sums[0].dtype)
    again = np.empty(BLOCK, sums[0].dtype)
    failed, everyone = np.empty(BLOCK, np.bool_), np.ones(BLOCK, np.bool_)
    clipped = made = searched = 0
    recovers = first_recovery[planes] > 0
    for t in range(n):
        units[t, :] = 0.0
        for k in range(planes):
            row = t * planes + k
            if driven[0].size > 0 and not driven[0][row]:
                continue
            second = squares[0][row] if squares[0].size > 0 else squares[0][:0, 0]
            for first in range(0, columns, BLOCK):
                last = min(first + BLOCK, columns)
                padded = ((last - first + 63) // 64) * 64
                part, draws = codes[: last - first], (z[:padded], bits[:padded])
                repeated = again[: last - first]
                address = (group * 64 + k, position[t], sequence[t], k0, k1)
                read_columns(
                    part, sums[0][row, first:last], second[first:last], f(row_variance[0][row]),
                    noise, errors, first, bounds, address, draws[0], draws[1],
                )  # fmt: skip
                searched += _search(part, everyone, low, high, comparisons)
                lost, beyond = _flag(part, failed, low, high, recovers)
                clipped += beyond
                if lost > 0:
                    for i in range(first_recovery[k], first_recovery[k + 1]):
                        at = t * first_recovery[planes] + i
                        if driven[1].size > 0 and not driven[1][at]:
                            continue
                        second_again = squares[1][:0, 0]
                        if squares[1].size > 0:
                            second_again = squares[1][at]
                        address = (group * 64 + planes + i, position[t], sequence[t], k0, k1)
                        read_columns(
                            repeated, sums[1][at, first:last],
                            second_again[first:last], f(row_variance[1][at]),
                            noise, errors, first, bounds, address, draws[0], draws[1],
                        )  # fmt: skip
                        searched += _search(repeated, failed, low, high, comparisons)
                        clipped += _recover(part, repeated, failed, f(share[i]), low, high)
                        made += lost
                add_codes(part, first, plane_weight[k], column_weight, signs, acc[t], units[t])
    return clipped, made, searched


@cached
@njit(error_model="numpy")
def _search(codes, asked, low, high, comparisons):  # type: ignore[no-untyped-def]
    """Return what the search of the codes of some columns takes in comparisons."""
    total = 0
    if comparisons.size > 0:
        for c in range(codes.size):
            if asked[c]:
                kept = min(max(np.rint(codes[c]), low), high)
                total += comparisons[np.int64(kept - low)]
    return total


@cached
@njit(error_model="numpy")
def _flag(codes, failed, low, high, recovers):  # type: ignore[no-untyped-def]
    """Round codes and flag those at an end of the range, which become 0.

    Returns:
        How many failed, and how many others were clipped: below 0 where no sum is negative.
    """
    lost = beyond = 0
    for c in range(codes.size):
        code = np.rint(codes[c])
        kept = min(max(code, low), high)
        failed[c] = recovers and (kept == high or (low < 0 and kept == low))
        if failed[c]:
            lost += 1
            kept = codes.dtype.type(0.0)
        elif code != kept:
            beyond += 1
        codes[c] = kept
    return lost, beyond


@cached
@njit(error_model="numpy")
def _recover(codes, again, failed, share, low, high):  # type: ignore[no-untyped-def]
    """Add the codes of a recovery cycle to failed columns; return how many of them clipped."""
    clipped = 0
    for c in range(codes.size):
        if failed[c]:
            code = np.rint(again[c])
            kept = min(max(code, low), high)
            clipped += 1 if code != kept else 0
            codes[c] += kept * share
    return clipped
