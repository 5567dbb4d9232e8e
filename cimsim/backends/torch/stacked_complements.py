"""Complements and unit columns of several matrices of ISAAC's encoding, as they are folded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cimsim.backends.torch.order import Order
from cimsim.backends.torch.programming import (
    Integers,
    Writer,
    signs_of,
    unit_coefficients,
    unit_levels,
)
from cimsim.backends.torch.sending import constant

__all__ = ["StackedComplements"]


@dataclass(frozen=True)
class StackedComplements:
    """What ISAAC's encoding adds: columns stored as complements, and unit columns.

    Attributes:
        signs: float32 [matrices, groups, stored columns, n_out], -1 of complements.
        counts: float32 [matrices, groups, n_out], what a level on a unit column counts.
        units: float32 [matrices, column blocks, n_in], what unit columns hold in levels.
        block_of_output: int64 [n_out].
    """

    signs: Tensor
    counts: Tensor
    units: Tensor
    block_of_output: Tensor

    @classmethod
    def of(
        cls, orders: Sequence[Order], integers: Integers, device: torch.device
    ) -> StackedComplements | None:
        """Return what integers of several matrices ask for, None with other encodings."""
        formats, flip = orders[0].writer.formats, integers.flip
        if flip is None:
            return None
        return cls(
            signs_of(flip).float(),
            unit_coefficients(flip, formats).float(),
            _unit_levels(orders, device),
            constant(formats.tiling.block_of_output, device),
        )

    def mean_fraction(self, levels: Tensor, writer: Writer) -> Tensor:
        """Return the mean conductance of cells as they were written, [matrices]."""
        total = levels.sum((1, 2, 3), dtype=torch.float64)
        total += self.units.sum((1, 2), dtype=torch.float64)
        cells = levels[0].numel() + self.units[0].numel()
        tables = writer.tables
        return (total / cells + tables.base) / tables.to_levels


def _unit_levels(orders: Sequence[Order], device: torch.device) -> Tensor:
    """Return what unit columns hold in levels, float32 [matrices, column blocks, n_in]."""
    if device.type == "cuda":
        from cimsim.backends.torch.written import kernels_of  # noqa: PLC0415 - Triton

        keys = [order.writer.writing.unit_keys[0] for order in orders]
        return kernels_of(orders[0].writer, device).unit_columns(keys, digits=0, bits=0)[:, 0]
    return torch.stack([unit_levels(order.writer, device) for order in orders])
