"""Compiled feeding: integers become planes of DAC codes, one per conversion."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cimsim.kernel_cache import cached
from cimsim.mac.formats import Formats

__all__ = ["cycle_power", "driven_planes", "fed_planes", "recovery_planes", "row_power"]

Planes = NDArray[np.int16] | NDArray[np.float32] | NDArray[np.float64]


def cycle_power(q: NDArray[np.int32], formats: Formats) -> NDArray[np.float64]:
    """Return sum_k (w_k code_k)^2 of every input q [n, n_in] over its cycles of DAC codes.

    w_k is 1 in the lowest cycle, also of one bit, where it counts `input_step`.
    """
    power = np.empty(q.shape, dtype=np.float64)
    _code_power(
        q, power, formats.two_phase, formats.dac_bits, formats.input_shift,
        formats.halved_inputs, formats.cycles_of_a_sign,
    )  # fmt: skip
    return power


def fed_planes(
    q: NDArray[np.int32],
    formats: Formats,
    planes: Planes,
) -> tuple[NDArray[np.float64], int]:
    """Cut inputs q [n, n_in] into planes [>= n x planes of a token, >= n_in], which are filled.

    Returns:
        The sum of each token's fed inputs, [n], and that of all absolute codes.
    """
    fed = np.empty(q.shape[0], dtype=np.float64)
    ones = _feed_planes(
        q, planes, formats.planes, formats.feed, formats.dac_bits, formats.input_shift,
        formats.halved_inputs, max(1, formats.planes // 2), fed,
    )  # fmt: skip
    return fed, int(ones)


def recovery_planes(planes: Planes, n: int, formats: Formats, out: Planes) -> int:
    """Cut the planes of n tokens into those of recovery cycles.

    Args:
        planes: [>= n x planes of a token, >= n_in].
        n: tokens.
        formats: of the matrix.
        out: [>= n x recovery cycles of a token, >= n_in], filled.

    Returns:
        The sum of all their codes.
    """
    ones = _cut_again(planes, n, formats.n_in, formats.first_recovery, formats.recovery_bits, out)
    return int(ones)


@cached
@njit(error_model="numpy")
def _cut_again(planes, n, n_in, first, bits, out):  # type: ignore[no-untyped-def]
    """Cut the codes of each plane into narrower ones, lowest bits first; return their sum."""
    count, again = first.size - 1, first[first.size - 1]
    mask = (1 << bits) - 1
    total = 0
    for t in range(n):
        for k in range(count):
            row = planes[t * count + k]
            for i in range(first[k], first[k + 1]):
                place = bits * (i - first[k])
                narrow = out[t * again + i]
                for j in range(n_in):
                    code = (np.int64(row[j]) >> place) & mask
                    narrow[j] = code
                    total += code
    return total


@cached
@njit(error_model="numpy")
def driven_planes(planes, start, stop, driven):  # type: ignore[no-untyped-def]
    """Fill whether each plane drives a row of a group.

    Args:
        planes: number [>= rows, >= stop].
        start: first row of the group.
        stop: one past its last row.
        driven: bool [rows], filled.
    """
    for r in range(driven.size):
        found = False
        for i in range(start, stop):
            if planes[r, i] != 0:
                found = True
                break
        driven[r] = found


@cached
@njit(error_model="numpy")
def _feed_planes(q, planes, count, feed, dac_bits, shift, halved, per_phase, sums):  # type: ignore[no-untyped-def]
    """Cut inputs into planes.

    Args:
        q: int32 [n, n_in].
        planes: number [>= n x count, >= n_in], filled; the planes of a token lie together.
        count: planes of a token.
        feed: a value of `formats.FEED`.
        dac_bits: bits of a code.
        shift: added to every input before it is fed.
        halved: inputs are +-1, of one bit, and half of the shifted input is fed.
        per_phase: planes of one sign (two_phase), else all planes.
        sums: float64 [n], filled with sum of the shifted inputs, not halved.

    Returns:
        Sum of the absolute values of all codes, which the bit density counts.
    """
    mask = (1 << dac_bits) - 1
    down = 1 if halved else 0
    total = 0
    for t in range(q.shape[0]):
        fed = 0
        for i in range(q.shape[1]):
            fed += q[t, i] + shift
        sums[t] = fed
        for k in range(count):
            row = planes[t * count + k]
            ones = 0
            if feed in (0, 2):
                for i in range(q.shape[1]):
                    code = ((q[t, i] + shift) >> (dac_bits * k + down)) & mask
                    row[i] = code
                    ones += code
            elif feed == 1:  # magnitudes of one sign
                sign = 1 if k < per_phase else -1
                place = dac_bits * (k % per_phase)
                for i in range(q.shape[1]):
                    code = (max(sign * q[t, i], 0) >> place) & mask
                    row[i] = code
                    ones += code
            else:  # the value itself: charge accumulates over its cycles
                for i in range(q.shape[1]):
                    code = (q[t, i] + shift) >> down
                    row[i] = code
                    ones += abs(code)
            total += ones
    return total


@cached
@njit(error_model="numpy")
def _code_power(q, power, two_phase, dac_bits, shift, halved, per_phase):  # type: ignore[no-untyped-def]
    """Fill sum_k (w_k code_k)^2 of every input: what fresh noise of its cycles weighs.

    Args:
        q: int32 [n, n_in].
        power: float64 [n, n_in], filled.
        two_phase: magnitudes are fed, else shifted inputs.
        dac_bits: bits of a code.
        shift: added to every input before it is fed.
        halved: inputs are +-1, of one bit, and half of the shifted input is fed.
        per_phase: cycles of one sign.
    """
    mask = (1 << dac_bits) - 1
    down = 1 if halved else 0
    for t in range(q.shape[0]):
        for i in range(q.shape[1]):
            value = abs(q[t, i]) if two_phase else (q[t, i] + shift) >> down
            total = 0.0
            for k in range(per_phase):
                code = np.float64((value >> (dac_bits * k)) & mask)
                weight = np.float64(1 << (dac_bits * k))
                total += (code * weight) * (code * weight)
            power[t, i] = total


@cached
@njit(error_model="numpy")
def row_power(power, start, stop, variance, shared, out):  # type: ignore[no-untyped-def]
    """Fill shared + variance x sum of squared codes of the driven rows, one a plane.

    Args:
        power: float [planes of all tokens, n_in], squared codes.
        start: first driven row.
        stop: one past the last driven row.
        variance: of one cell and unit code, codes of the converter squared.
        shared: variance of the conversion itself.
        out: float32 [planes of all tokens], filled.
    """
    for r in range(out.size):
        total = 0.0
        if variance > 0.0:
            for i in range(start, stop):
                total += np.float64(power[r, i])
        out[r] = np.float32(total * variance + shared)
