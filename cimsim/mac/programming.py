"""`program_matrix`: one copy of a weight matrix on named crossbars."""

from __future__ import annotations

from collections.abc import Sequence
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
from cimsim.mac.program import Deployment, write_cells
from cimsim.workload.program import MatrixId

__all__ = ["program_matrix"]

_MEMORY_LIMIT_BYTES = 4 << 30


def program_matrix(
    weight: NDArray[np.float32],
    matrix: MatrixId,
    tile: Tile,
    *,
    temperature_c: float = 25.0,
    chip_seed: int,
    crossbars: Sequence[int],
    epoch: int | Sequence[int] = 0,
    age_s: float | None = None,
    adc_range: AdcRange,
    memory_limit_bytes: int = _MEMORY_LIMIT_BYTES,
) -> ProgrammedMatrix | IdealMatrix:
    """Write a weight matrix into crossbars.

    Args:
        weight: float32 [n_in, n_out], n_in on rows.
        matrix: its name; keys fresh noise.
        tile: the tile that repeats over the chip.
        temperature_c: temperature of the chip; multiplies named quantities relative to 25 C.
        chip_seed: which chip: seed of everything frozen.
        crossbars: global number of the crossbar of each fragment, row block by row block.
        epoch: how often a crossbar has been written before, for all or for each.
        age_s: seconds since the crossbars were written; None takes `tile.device.age_s`.
        adc_range: from `calibrate_range`.
        memory_limit_bytes: most that one matrix may take.

    Returns:
        The programmed matrix; on digital crossbars the exact integer product.

    Raises:
        CimsimError: if formats, device and converter do not go together, a weight is not
            finite, or the numbers of crossbars do not fit.
    """
    if tile.crossbar.kind == "digital":
        return IdealMatrix(weight, tile, matrix, adc_range)
    _check_memory(weight, matrix, tile, memory_limit_bytes)
    age = tile.device.age_s if age_s is None else age_s
    if not (isfinite(age) and age >= 0.0):
        raise CimsimError("an age is a time since programming", value=age, allowed=">= 0 s")
    encoded = encode(weight, matrix, tile)
    epochs = (epoch,) * len(crossbars) if isinstance(epoch, int) else tuple(epoch)
    deployment = Deployment(chip_seed, tuple(crossbars), epochs, age, temperature_c)
    cells = write_cells(encoded, tile, deployment)
    return ProgrammedMatrix(matrix, tile, encoded, cells, adc_range, deployment)


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
