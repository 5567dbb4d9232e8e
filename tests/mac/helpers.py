"""Tiles, matrices and token addresses that the tests of the functional tile share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.mac import (
    AdcRange,
    ProgrammedMatrix,
    Writing,
    calibrate_range,
    program_matrix,
    register_curve,
)
from cimsim.workload.matrix import MatrixId, TokenKeys

MATRIX = MatrixId(1, "gate", 3)
FIRST = Writing(0, MATRIX)


@register_curve("tests_bent")
def bent(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """A converter whose steps shorten towards the top."""
    return place + 0.2 * place * (1.0 - place)


def make_tile(**sections: Any) -> Tile:
    """A tile whose sections differ from the defaults as given; its range needs no inputs."""
    adc = sections.pop("adc", {"kind": "isaac"})
    if isinstance(adc, dict):
        adc = {"kind": "isaac", "range": {"kind": "full"}, **adc}
    return Tile.model_validate({**sections, "adc": adc})


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
    adc_range: AdcRange | None = None,
    writing: Writing = FIRST,
) -> ProgrammedMatrix:
    """The matrix written into crossbars, the first time on chip 0 unless said otherwise."""
    found = adc_range or calibrate_range(weight, MATRIX, tile, inputs)
    programmed = program_matrix(weight, tile, writing, found)
    assert isinstance(programmed, ProgrammedMatrix)
    return programmed
