"""A cell of the study and everything that was measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from romer.study.cells import Cell

__all__ = ["CellMeasurement"]

Record = dict[str, Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CellMeasurement:
    """A cell and its measurements.

    Attributes:
        cell: what was measured.
        shared: figures that all chips have in common.
        noisy: one record per chip, untreated.
        treated: one record per chip, in the same order.
        windows: which windows of TEST text count, or None for all.
    """

    cell: Cell
    shared: Record
    noisy: tuple[Record, ...]
    treated: tuple[Record, ...]
    windows: tuple[bool, ...] | None = None

    @property
    def nll_clean(self) -> float:
        """Loss of the clean model, nats per token."""
        return float(self.clean_windows().mean())

    def clean_windows(self) -> Floats:
        """Return the clean model's loss of every window that counts, [windows]."""
        return self._counted(np.asarray(self.shared["nll_clean_windows"], dtype=np.float64))

    def nll_windows(self, *, treated: bool) -> Floats:
        """Return the loss of every chip and window that counts, [chips, windows]."""
        records = self.treated if treated else self.noisy
        values = np.array([r["nll_windows"] for r in records], dtype=np.float64)
        return self._counted(values)

    def nll(self, *, treated: bool) -> Floats:
        """Return the loss of every chip, [chips]; windows are equally long."""
        return np.asarray(self.nll_windows(treated=treated).mean(axis=1))

    def names(self) -> dict[str, Any]:
        """Return the columns that say which cell this is, in every table alike."""
        cell = self.cell
        return {
            "role": cell.role,
            "compared": cell.compared,
            "model": cell.model,
            "scope": cell.scope,
            "sigma_lsb": cell.sigma,
            "level_l": cell.level_l,
            "scale": cell.quantiser,
            "tile_mode": cell.tile_mode,
            "calibrator": cell.calibrator,
            "guarded": cell.guarded,
            "calibration_tokens": cell.tokens,
            "noise_mismatch": cell.mismatch,
        }

    def _counted(self, values: Floats) -> Floats:
        if self.windows is None:
            return values
        return values[..., np.asarray(self.windows, dtype=np.bool_)]
