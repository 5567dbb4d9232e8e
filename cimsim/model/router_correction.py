"""What calibration does to the logits of one router, in the order in which it is applied.

1. affine per expert; 2. monotone quantile map per expert; 3. clamp per token (reading R1
of ROMER); 4. rank margin per token (reading R2); 5. copies of router rows. All of it is
digital arithmetic on the experts' logits of one token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import copy_of_token
from cimsim.workload.matrix import TokenKeys

__all__ = ["CopyGroup", "QuantileMap", "RouterCorrection", "Sharing"]

Array = NDArray[np.float32]

# What becomes of a token that chooses an expert whose router row stands in several slots:
# split: it visits one of them, slots taking turns over the token's address;
# average: it visits the source; the Linear averages the slots' outputs;
# both: the slots compete with equal logits, so both may be chosen and fewer distinct
# experts are.
Sharing = Literal["split", "average", "both"]


@dataclass(frozen=True)
class QuantileMap:
    """A monotone piecewise-linear map per expert; beyond its knots it has slope 1.

    Attributes:
        x: float32 [experts, knots], strictly increasing.
        y: float32 [experts, knots], not decreasing.
    """

    x: Array
    y: Array

    def apply(self, logits: Array) -> Array:
        """Return the mapped logits, float32 [n, experts]."""
        out = np.empty_like(logits)
        for e in range(logits.shape[1]):
            z, x, y = logits[:, e], self.x[e], self.y[e]
            inside = np.interp(z, x, y)
            below, above = np.minimum(z - x[0], 0), np.maximum(z - x[-1], 0)
            out[:, e] = inside + below + above
        return out


@dataclass(frozen=True)
class CopyGroup:
    """Slots that hold one router row.

    Attributes:
        slots: the source expert first, then its copies.
        sharing: what a token that chooses the expert does.
    """

    slots: tuple[int, ...]
    sharing: Sharing


@dataclass(frozen=True)
class RouterCorrection:
    """Corrections of one router's logits; None switches a step off.

    Attributes:
        scale: float32 [experts].
        offset: float32 [experts], added after scaling.
        quantiles: monotone map per expert.
        clamp: lambda of z' = clip(z, Q1 - lambda IQR, Q3 + lambda IQR) over a token's logits.
        margin: lambda of +lambda IQR for ranks up to k, -lambda IQR below.
        copies: slots that share a router row.
    """

    scale: Array | None = None
    offset: Array | None = None
    quantiles: QuantileMap | None = None
    clamp: float | None = None
    margin: float | None = None
    copies: tuple[CopyGroup, ...] = ()

    @property
    def is_identity(self) -> bool:
        """Whether no step is switched on."""
        steps = (self.scale, self.offset, self.quantiles, self.clamp, self.margin)
        return not self.copies and all(step is None for step in steps)

    def apply(self, logits: Array, top_k: int) -> Array:
        """Return the logits on which experts are chosen, float32 [n, experts].

        Args:
            logits: float32 [n, experts].
            top_k: experts per token, the rank at which the margin changes sign.
        """
        z = logits
        if self.scale is not None:
            z = z * self.scale
        if self.offset is not None:
            z = z + self.offset
        if self.quantiles is not None:
            z = self.quantiles.apply(z)
        if self.clamp is not None:
            low, high = _quartiles(z)
            reach = np.float32(self.clamp) * (high - low)
            z = np.clip(z, low - reach, high + reach)
        if self.margin is not None:
            low, high = _quartiles(z)
            shift = np.float32(self.margin) * (high - low)
            order = np.argsort(-z, axis=1, kind="stable")
            rank = np.argsort(order, axis=1, kind="stable")
            z = np.where(rank < top_k, z + shift, z - shift)
        return self._apply_copies(z)

    def _apply_copies(self, logits: Array) -> Array:
        if not self.copies:
            return logits
        z = logits.copy()
        for group in self.copies:
            copies = list(group.slots[1:])
            # One row, one share of the softmax: copies are masked unless they compete.
            z[:, copies] = z[:, group.slots[:1]] if group.sharing == "both" else -np.inf
        return z

    def assign_copies(self, experts: NDArray[np.int16], tokens: TokenKeys) -> NDArray[np.int16]:
        """Send tokens that chose a split expert to one of its slots, by their address."""
        out = experts
        for group in self.copies:
            if group.sharing != "split":
                continue
            slots = np.array(group.slots, dtype=np.int16)
            turn = copy_of_token(tokens.sequence, tokens.position, len(slots))
            out = np.where(out == slots[0], slots[turn][:, None], out)
        return out


def _quartiles(z: Array) -> tuple[Array, Array]:
    """Return lower and upper quartile of each row [n, 1], linear between order statistics."""
    ordered = np.sort(z, axis=1)
    last = z.shape[1] - 1
    result = []
    for share in (0.25, 0.75):
        place = share * last
        below = int(place)
        weight = np.float32(place - below)
        high = ordered[:, min(below + 1, last), None]
        low = ordered[:, below, None]
        result.append(low + weight * (high - low))
    return result[0], result[1]
