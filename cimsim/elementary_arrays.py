"""Compiled twins of `cimsim.elementary`: in kernels on one number, and on whole arrays.

The same operations in the same order, hence the same bits; exp has no branches, so that loops
over it vectorise.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import ArrayLike, NDArray

from cimsim.elementary import LN2_HIGH, LN2_LOW, LOG2E, RANGE, ROUND, exp_polynomial, log
from cimsim.kernel_cache import cached

__all__ = ["exp_number", "exp_of", "log_number", "log_of"]

Floats = NDArray[np.float64]

_LOW, _HIGH = RANGE


def _emit_power(_context: Any, _exponent: Any) -> Any:
    """Emit 2^k of an integer k from -1022 to 1023 by writing the exponent's bits."""

    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        biased = builder.add(arguments[0], ir.Constant(word, 1023))
        return builder.bitcast(builder.shl(biased, ir.Constant(word, 52)), ir.DoubleType())

    return types.float64(types.int64), generate


def _emit_bits(_context: Any, _value: Any) -> Any:
    """Emit the 64 bits of a float64."""

    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


_power_of_two: Any = intrinsic(_emit_power)
_bits_of: Any = intrinsic(_emit_bits)
_polynomial: Any = cached(njit(error_model="numpy", inline="always")(exp_polynomial))
_ROUND_BITS = int(np.float64(ROUND).view(np.int64))


@cached
@njit(error_model="numpy")
def exp_number(x):  # type: ignore[no-untyped-def]
    """Return `exp` of a float64 in a kernel, without branches, so that loops vectorise."""
    y = min(_HIGH, max(_LOW, x))
    t = y * LOG2E + ROUND
    k = t - ROUND
    p = _polynomial((y - k * LN2_HIGH) - k * LN2_LOW)
    whole = _bits_of(t) - _ROUND_BITS
    half = whole >> 1
    value = p * _power_of_two(half) * _power_of_two(whole - half)
    return x if math.isnan(x) else value


log_number = cached(njit(error_model="numpy")(log))


@cached
@njit(error_model="numpy")
def _exp_into(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = exp_number(x[i])


@cached
@njit(error_model="numpy")
def _log_into(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = log_number(x[i])


def exp_of(x: ArrayLike) -> Floats:
    """Return `exp` of every element, float64 of the same shape."""
    flat = np.array(x, dtype=np.float64, order="C")
    out = np.empty_like(flat)
    _exp_into(flat.reshape(-1), out.reshape(-1))
    return out


def log_of(x: ArrayLike) -> Floats:
    """Return `log` of every element, float64 of the same shape."""
    flat = np.array(x, dtype=np.float64, order="C")
    out = np.empty_like(flat)
    _log_into(flat.reshape(-1), out.reshape(-1))
    return out
