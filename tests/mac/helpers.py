"""Tiles, matrices and token addresses that the tests of the functional tile share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.mac import AdcRange, ProgrammedMatrix, calibrate_range, program_matrix
from cimsim.workload.program import MatrixId, TokenKeys

MATRIX = MatrixId(1, "gate", 3)


def make_tile(**sections: Any) -> Tile:
    """A tile whose sections differ from the defaults as given."""
    return Tile.model_validate(sections)


def keys_of(n: int) -> TokenKeys:
    """Addresses of n tokens of one sequence."""
    return TokenKeys(np.zeros(n, dtype=np.int64), np.arange(n, dtype=np.int64))


def normal(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Standard normals in float32."""
    return rng.standard_normal(shape).astype(np.float32)


def program(
    weight: NDArray[np.float32],
    tile: Tile,
    inputs: NDArray[np.float32] | None = None,
    *,
    chip_seed: int = 0,
    adc_range: AdcRange | None = None,
    first_crossbar: int = 0,
    epoch: int = 0,
    age_s: float | None = None,
    temperature_c: float = 25.0,
) -> ProgrammedMatrix:
    """The matrix on crossbars first_crossbar, first_crossbar + 1, ..."""
    from cimsim.chip import tile_matrix
    from cimsim.workload.program import Matrix

    found = adc_range or calibrate_range(weight, MATRIX, tile, inputs)
    count = tile_matrix(Matrix(MATRIX, weight.shape[0], weight.shape[1]), tile).crossbars
    programmed = program_matrix(
        weight,
        MATRIX,
        tile,
        chip_seed=chip_seed,
        crossbars=range(first_crossbar, first_crossbar + count),
        epoch=epoch,
        age_s=age_s,
        temperature_c=temperature_c,
        adc_range=found,
    )
    assert isinstance(programmed, ProgrammedMatrix)
    return programmed
