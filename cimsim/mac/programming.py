"""`program_matrix`: one copy of a weight matrix on named crossbars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.mac.adc import AdcRange
from cimsim.mac.ideal import IdealMatrix
from cimsim.mac.matrix import ProgrammedMatrix
from cimsim.mac.program import encode, write_cells
from cimsim.workload.program import MatrixId

__all__ = ["program_matrix"]


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

    Returns:
        The programmed matrix; on digital crossbars the exact integer product.

    Raises:
        CimsimError: if formats, device and converter do not go together, a weight is not
            finite, or the numbers of crossbars do not fit.
    """
    if tile.crossbar.kind == "digital":
        return IdealMatrix(weight, tile, matrix, adc_range)
    encoded = encode(weight, matrix, tile)
    epochs = [epoch] * len(crossbars) if isinstance(epoch, int) else epoch
    cells = write_cells(
        encoded,
        tile,
        chip_seed=chip_seed,
        crossbars=crossbars,
        epochs=epochs,
        age_s=tile.device.age_s if age_s is None else age_s,
    )
    del temperature_c
    return ProgrammedMatrix(matrix, tile, encoded, cells, adc_range)
