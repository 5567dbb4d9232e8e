"""What a folded matrix is written from: its weights, the tile, which copy."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cimsim.backends.torch.programming import Writer
from cimsim.mac import AdcRange
from cimsim.mac.adc import step_of
from cimsim.model import Weight

__all__ = ["Order", "is_lossless", "stored_together"]

_READERS = 8  # threads that read weights


@dataclass(frozen=True)
class Order:
    """What one matrix is written from; equal orders give equal cells.

    Attributes:
        weight: gives the weights [n_in, n_out].
        writer: the tile, and which copy.
        adc_range: range of the converters.
        device: where it is written.
    """

    weight: Weight
    writer: Writer
    adc_range: AdcRange
    device: torch.device

    def stored(self) -> Tensor:
        """Return the weights as they are stored, [n_out, n_in]."""
        return torch.as_tensor(self.weight().T).to(self.device).contiguous()

    @cached_property
    def _hash(self) -> int:
        return hash((self.weight, self.writer.writing))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Order):
            return False
        mine, its = self.writer, other.writer
        same = mine.writing == its.writing and mine.tile is its.tile
        return same and self.weight == other.weight and self.adc_range == other.adc_range


def is_lossless(order: Order) -> bool:
    """Whether the conversions of a matrix round nothing."""
    tile, writer = order.writer.tile, order.writer
    step = step_of(tile, writer.formats, order.adc_range)
    return writer.tables.ideal and np.float32(step) == 1.0


def stored_together(orders: Sequence[Order]) -> Tensor:
    """Return the weights of matrices as they are stored, [matrices, n_out, n_in]."""
    if len(orders) == 1:
        return orders[0].stored()[None]
    with ThreadPoolExecutor(min(_READERS, len(orders))) as pool:
        return torch.stack(list(pool.map(Order.stored, orders)))
