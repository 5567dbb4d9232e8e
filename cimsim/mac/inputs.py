"""What goes into a product: inputs and their addresses, checked at the border."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.errors import CimsimError
from cimsim.mac.adc import AdcRange
from cimsim.workload.matrix import TokenKeys

__all__ = ["Tokens", "checked_inputs", "static_scale"]


@dataclass(frozen=True)
class Tokens:
    """Quantised inputs of one product, and the addresses of its fresh noise.

    Attributes:
        q: int32 [n, n_in].
        scale: float32 [n], value of one LSB.
        sequence: int64 [n].
        position: int64 [n].
        key: of the noise: seed, matrix and copy.
    """

    q: NDArray[np.int32]
    scale: NDArray[np.float32]
    sequence: NDArray[np.int64]
    position: NDArray[np.int64]
    key: tuple[int, int]

    def part(self, rows: slice) -> Tokens:
        """Return some of the tokens."""
        return Tokens(
            self.q[rows], self.scale[rows], self.sequence[rows], self.position[rows], self.key
        )


def static_scale(tile: Tile, adc_range: AdcRange | None) -> float:
    """Return the static input scale of a tile, 0 where every token has its own.

    Raises:
        CimsimError: if the tile has a static scale and calibration found none.
    """
    if tile.input.scale == "per_token":
        return 0.0
    scale = None if adc_range is None else adc_range.input_scale
    if scale is None or not scale > 0.0:
        raise CimsimError(
            "a static input scale is found on calibration inputs",
            key="tile.input.scale",
            value=scale,
            hint="calibrate the range with inputs, or use per_token",
        )
    return float(np.float32(scale))


def checked_inputs(
    x: NDArray[np.float32], keys: TokenKeys, n_in: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return contiguous inputs, sequences and positions.

    Raises:
        CimsimError: if shapes do not fit.
    """
    if x.ndim != 2 or x.shape[1] != n_in:
        raise CimsimError(
            "inputs do not fit the matrix", value=x.shape, allowed=f"[tokens, {n_in}]"
        )
    sequence = np.ascontiguousarray(keys.sequence, dtype=np.int64)
    position = np.ascontiguousarray(keys.position, dtype=np.int64)
    if sequence.shape != (x.shape[0],) or position.shape != (x.shape[0],):
        raise CimsimError(
            "every token needs one address",
            value=(sequence.shape, position.shape),
            allowed=f"sequence and position of {x.shape[0]} tokens",
        )
    return np.ascontiguousarray(x, dtype=np.float32), sequence, position
