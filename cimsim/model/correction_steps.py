"""The single steps that a calibrator may take, as plain frozen records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.model.router_correction import Sharing
from cimsim.workload.matrix import AnalogPart

__all__ = [
    "TRIM_VECTORS",
    "ColumnCorrection",
    "ColumnTrim",
    "LowRank",
    "Replica",
    "RouterRefit",
    "SlotRewrite",
]

TRIM_VECTORS = 160
"""Vectors that a chip's bring-up multiplies by every copy of a matrix, dark ones included."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class ColumnCorrection:
    """Digital scale and offset of a matrix's outputs: y' = scale * y + offset.

    Attributes:
        scale: float32 [n_out].
        offset: float32 [n_out].
    """

    scale: Array
    offset: Array


@dataclass(frozen=True)
class ColumnTrim:
    """Digital gain and offset behind the converters of every copy: y' = gain y + offset m.

    m is the greatest magnitude of a token's inputs, to which its codes are scaled; with static
    scales that of the calibration text. A gain error acts on what shifted inputs and the weights
    add up to as well, so that registers are found again whenever a slot is rewritten.

    Attributes:
        gain: float32 [copies, n_out].
        offset: float32 [copies, n_out], in units of m.
    """

    gain: Array
    offset: Array


@dataclass(frozen=True)
class LowRank:
    """Digital correction of a matrix's outputs: y' = y + (x U) V.

    Attributes:
        u: float32 [n_in, rank].
        v: float32 [rank, n_out].
    """

    u: Array
    v: Array


@dataclass(frozen=True)
class RouterRefit:
    """New weights of a router.

    Attributes:
        weight: float32 [d_model, experts].
        where: digital (the product runs on a digital unit) or reprogrammed (into cells).
    """

    weight: Array
    where: Literal["digital", "reprogrammed"]


@dataclass(frozen=True)
class SlotRewrite:
    """An expert's cells are programmed with another expert's weights.

    Attributes:
        layer: decoder layer.
        slot: expert whose cells are rewritten.
        source: expert whose weights are written.
        copy_router: whether the slot takes over the source's router row (reading E2 of
            ROMER) instead of keeping its own (E1).
        sharing: how tokens share source and slot if the row is copied.
    """

    layer: int
    slot: int
    source: int
    copy_router: bool = False
    sharing: Sharing = "split"


@dataclass(frozen=True)
class Replica:
    """A unit stored `copies` times in all, its outputs averaged.

    Attributes:
        layer: decoder layer.
        expert: routed expert, or -1 for a part that no router selects.
        copies: copies in all, the first included.
        part: part of the model that is stored several times.
    """

    layer: int
    expert: int
    copies: int
    part: AnalogPart = "experts"
