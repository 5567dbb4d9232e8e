"""Codes of a model for chips whose cells err, with the converter ranges of those codes."""

from __future__ import annotations

from threading import Lock

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import LogicalCopies
from cimsim.config import ChipConfig
from cimsim.model import Decoder
from cimsim.stages.compute import Compute
from cimsim.stages.ranges import measure_ranges
from cimsim.stages.recoded import Recoded, clipped_columns

__all__ = ["Recoding"]


class Recoding:
    """The codes that all chips of a kind can be written in; those asked for last are kept.

    A head that is tied to the embedding gets scales by column and keeps its weights.

    Args:
        config: the chip.
        decoder: the model.
        holds: which matrices are analog.
        profile: calibration text for ranges, int64 [windows, context].
        compute: finds the ranges.
    """

    def __init__(
        self,
        config: ChipConfig,
        decoder: Decoder,
        holds: LogicalCopies,
        profile: NDArray[np.int64],
        compute: Compute,
    ) -> None:
        self._config, self._decoder, self._holds = config, decoder, holds
        self._profile, self._compute = profile, compute
        self._lock = Lock()
        self._last: tuple[float, Recoded] | None = None

    @property
    def possible(self) -> bool:
        """Whether a weight has more than a sign, and its cells a value that errs."""
        tile = self._config.tile
        return tile.crossbar.kind == "analog" and tile.weight.bits > 1

    def for_error(self, error_lsb: float) -> Recoded:
        """Return the codes for weights that are off by some LSB when they are stored."""
        with self._lock:
            if self._last is None or self._last[0] != error_lsb:
                self._last = (error_lsb, self._measure(error_lsb))
            return self._last[1]

    def _measure(self, error_lsb: float) -> Recoded:
        config = self._config
        weight = config.tile.weight.model_copy(update={"scale": "per_column"})
        tile = config.tile.model_copy(update={"weight": weight})
        stored = clipped_columns(self._decoder.checkpoint, error_lsb, weight.bits)
        ranging = Decoder(stored, self._decoder.backend)
        changed = config.model_copy(update={"tile": tile})
        ranges = measure_ranges(changed, ranging, self._holds, self._profile, compute=self._compute)
        return Recoded(tile, stored, ranges)
