"""The exact integer product: the tile without any analog error.

Weights and inputs are quantised as on the tile; products and sums are exact. It is the
model of a digital crossbar (adder trees, no converter) and the reference that a run calls
`ppl_ideal_int`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.mac.adc import AdcRange
from cimsim.mac.inputs import checked_inputs, static_scale
from cimsim.mac.matrix import Mode
from cimsim.mac.quantize import greatest_integer, quantize_weights, quantized_inputs
from cimsim.mac.statistics import MacStatistics, MatrixCounts, exact_share
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["IdealMatrix", "ideal_integer"]

_NAMELESS = MatrixId(0, "matrix")


class IdealMatrix:
    """A weight matrix on exact integer arithmetic.

    Args:
        weight: float32 [n_in, n_out].
        tile: formats of weights and inputs.
        matrix: its name in statistics.
        adc_range: gives the static input scale, if the tile has one.
    """

    def __init__(
        self,
        weight: NDArray[np.float32],
        tile: Tile,
        matrix: MatrixId = _NAMELESS,
        adc_range: AdcRange | None = None,
    ) -> None:
        bits = tile.weight.bits
        wq, self._scale = quantize_weights(
            weight, bits, per_column=tile.weight.scale == "per_column"
        )
        self.matrix = matrix
        self._input_bits = tile.input.bits
        self._input_scale = static_scale(tile, adc_range)
        greatest = int(np.abs(wq, dtype=np.int64).sum(axis=0).max())
        greatest *= greatest_integer(self._input_bits)
        # Sums of whole numbers are exact in any order up to the width of the significand.
        self._wq = wq.astype(np.float32 if greatest <= 2**24 else np.float64)
        # A stored bit of +-1 is a one in the share of +1.
        stored = wq > 0 if bits == 1 else np.abs(wq, dtype=np.int64)
        self._mean_fraction = float(stored.mean()) / greatest_integer(bits)

    @property
    def folds(self) -> bool:
        """Exact arithmetic is the same in both modes."""
        return True

    @property
    def held_bytes(self) -> int:
        """Bytes that it takes."""
        return self._wq.nbytes

    def forget_folded(self) -> None:
        """Do nothing: there is no second form."""

    def multiply(
        self,
        x: NDArray[np.float32],
        keys: TokenKeys,
        *,
        read_seed: int = 0,
        mode: Mode = "detailed",
        replica: int = 0,
        statistics: MacStatistics | None = None,
    ) -> NDArray[np.float32]:
        """Return the exact product of quantised tokens, float32 [n, n_out].

        The seed, the mode and the replica are accepted as every tile's are, and change nothing:
        there is no noise.

        Raises:
            CimsimError: if the shape is wrong or an input is not finite.
        """
        del read_seed, mode, replica
        x, _, _ = checked_inputs(x, keys, self._wq.shape[0])
        n = x.shape[0]
        if n == 0:
            return np.empty((0, self._wq.shape[1]), dtype=np.float32)
        q, scale = quantized_inputs(x, self._input_bits, self._input_scale, self.matrix)
        exact = q.astype(self._wq.dtype) @ self._wq
        if statistics is not None:
            mask = (1 << self._input_bits) - 1
            fed = q >> 1 if self._input_bits == 1 else q  # +-1 are fed as their sign bit
            ones = np.unpackbits((fed & mask).astype(np.uint16).view(np.uint8)).sum(dtype=np.int64)
            counts = MatrixCounts(vectors=n, code_sum=int(ones))
            counts.code_slots = q.size * self._input_bits
            counts.level_fraction_sum = n * exact_share(self._mean_fraction)
            statistics.add(self.matrix, counts)
        scales = scale[:, None].astype(np.float64) * self._scale.astype(np.float64)
        return np.asarray(exact.astype(np.float64) * scales, dtype=np.float32)


def ideal_integer(
    weight: NDArray[np.float32],
    tile: Tile,
    *,
    matrix: MatrixId = _NAMELESS,
    adc_range: AdcRange | None = None,
) -> IdealMatrix:
    """Return a weight matrix on exact integer arithmetic in the formats of a tile."""
    return IdealMatrix(weight, tile, matrix, adc_range)
