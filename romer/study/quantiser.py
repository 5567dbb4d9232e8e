"""Better quantisers: the baseline that needs no calibration, only other stored codes.

Errors of cells are in LSB of the stored code, so whoever makes an LSB smaller makes the
error smaller: one scale per column instead of a matrix, or a scale from clipped weights,

    |W| <= c rms(W), per matrix, with c = 2, 2.5, 3 or 4

where the few weights beyond err by being clipped and all others by less noise. A clipped
matrix may have one scale or one per column. The whole model is written again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.model import Checkpoint
from cimsim.model.changed_checkpoint import ChangedCheckpoint, changed
from cimsim.workload.matrix import MatrixId

__all__ = ["PLAIN", "Quantiser", "clipped", "quantiser_of"]

PLAIN = "per_matrix"
_NAME = re.compile(r"(per_matrix|per_column)(?:_clip_(\d+(?:\.\d+)?))?")


@dataclass(frozen=True)
class Quantiser:
    """How weights become stored codes.

    Attributes:
        scale: per_matrix or per_column.
        clip_rms: greatest weight that is stored, in units of the matrix's rms; None clips none.
    """

    scale: str
    clip_rms: float | None


def quantiser_of(name: str) -> Quantiser:
    """Return a quantiser by name: SCALE or SCALE_clip_NUMBER.

    Raises:
        CimsimError: if the name is none.
    """
    found = _NAME.fullmatch(name)
    if found is None or (found[2] and float(found[2]) <= 0.0):
        raise CimsimError(
            "is not a quantiser",
            key="quantisers",
            value=name,
            allowed="per_matrix or per_column, alone or with _clip_NUMBER (in rms of a matrix)",
        )
    return Quantiser(found[1], float(found[2]) if found[2] else None)


@dataclass(frozen=True)
class _Clipped(ChangedCheckpoint):
    """A checkpoint whose matrices are clipped when they are asked for."""

    clip_rms: float = field(kw_only=True)

    def matrix(self, matrix: MatrixId) -> NDArray[np.float32]:
        """Return a weight matrix, clipped."""
        weight = self.plain.matrix(matrix)
        bound = np.float32(self.clip_rms * np.sqrt(np.mean(np.square(weight, dtype=np.float64))))
        return np.clip(weight, -bound, bound)


def clipped(checkpoint: Checkpoint, quantiser: Quantiser) -> Checkpoint:
    """Return the checkpoint as a quantiser stores it; the same one if it clips nothing."""
    if quantiser.clip_rms is None:
        return checkpoint
    values = changed(checkpoint, f"clipped at {quantiser.clip_rms!r} rms")
    return _Clipped(**values, clip_rms=quantiser.clip_rms)
