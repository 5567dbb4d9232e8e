"""`program_matrix`: one copy of a weight matrix on crossbars."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.errors import CimsimError
from cimsim.mac.adc import AdcRange
from cimsim.mac.encode import encode
from cimsim.mac.formats import formats_of
from cimsim.mac.ideal import IdealMatrix
from cimsim.mac.matrix import ProgrammedMatrix
from cimsim.mac.program import write_cells
from cimsim.mac.writing import Writing
from cimsim.workload.matrix import MatrixId

__all__ = ["program_matrix"]

_MEMORY_LIMIT_BYTES = 4 << 30


def program_matrix(
    weight: NDArray[np.float32],
    tile: Tile,
    writing: Writing,
    adc_range: AdcRange,
    *,
    memory_limit_bytes: int = _MEMORY_LIMIT_BYTES,
) -> ProgrammedMatrix | IdealMatrix:
    """Write a weight matrix into crossbars.

    Args:
        weight: float32 [n_in, n_out], n_in on rows.
        tile: the tile that repeats over the chip.
        writing: which copy of which matrix on which chip, how old and how warm; keys all noise.
        adc_range: from `calibrate_range`.
        memory_limit_bytes: most that one matrix may take.

    Returns:
        The programmed matrix; on digital crossbars the exact integer product.

    Raises:
        CimsimError: if formats, device and converter do not go together, or a weight is not
            finite.
    """
    matrix = writing.matrix
    if tile.crossbar.kind == "digital":
        return IdealMatrix(weight, tile, matrix, adc_range)
    _check_memory(weight, matrix, tile, memory_limit_bytes)
    age = tile.device.age_s if writing.age_s is None else writing.age_s
    if not (isfinite(age) and age >= 0.0):
        raise CimsimError("an age is a time since programming", value=age, allowed=">= 0 s")
    encoded = encode(weight, matrix, tile)
    aged = replace(writing, age_s=age)
    return ProgrammedMatrix(tile, encoded, write_cells(encoded, tile, aged), adc_range, aged)


def _check_memory(
    weight: NDArray[np.float32], matrix: MatrixId, tile: Tile, limit_bytes: int
) -> None:
    """Refuse, before anything is allocated, a matrix that would not fit."""
    if weight.ndim != 2 or weight.size == 0:
        return  # refused with its own message
    formats = formats_of(matrix, weight.shape[0], weight.shape[1], tile)
    needed = 3 * 4 * formats.n_in * formats.columns
    if needed > limit_bytes:
        raise CimsimError(
            f"matrix {matrix} would take {needed} bytes of conductances",
            key="memory_limit_bytes",
            value=needed,
            allowed=f"at most {limit_bytes}",
            hint="raise the limit, or split the matrix",
        )
