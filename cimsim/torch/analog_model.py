"""What `analogize` put into a model: its slots, and how they are programmed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cimsim.backends.torch.folded import FoldedTile
from cimsim.backends.torch.tile import TorchTile
from cimsim.config import ChipConfig
from cimsim.errors import CimsimError
from cimsim.mac import AdcRange, IdealMatrix, Mode, Writing, program_matrix
from cimsim.torch.modules import Slot
from cimsim.torch.products import HostTile, OneCopy, TileProduct
from cimsim.torch.tokens import TokenTracker
from cimsim.workload.matrix import MatrixId

__all__ = ["AnalogModel", "columns_of"]

Floats = NDArray[np.float32]


def columns_of(slot: Slot) -> Floats:
    """Return the clean weight of a slot as crossbars hold it, float32 [n_in, n_out]."""
    weight: Floats = slot.weight().detach().float().T.contiguous().cpu().numpy()
    return weight


@dataclass
class AnalogModel:
    """Handle of a model on tiles: ``model.analog``.

    Attributes:
        model: the module.
        chip: whose tiles.
        mode: detailed or folded.
        slots: every matrix on tiles.
        ranges: converter range and input scale of each.
        tokens: which tokens the model sees; `first_sequence` numbers the first of a batch, so
            that windows scored in several calls have the noise that they have in one.
        digital: paths of the linear layers that stay as they are.
        read_seed: of fresh noise.
        chip_seed: which chip is programmed.
        unfolded: matrices that cannot be folded faithfully and are computed in detail.
    """

    model: nn.Module
    chip: ChipConfig
    mode: Mode
    slots: Mapping[MatrixId, Slot]
    ranges: Mapping[MatrixId, AdcRange]
    tokens: TokenTracker
    digital: tuple[str, ...]
    read_seed: int
    chip_seed: int = -1
    unfolded: list[MatrixId] = field(default_factory=list)

    @torch.no_grad()
    def reprogram(self, chip_seed: int) -> None:
        """Write the clean weights into the cells of a chip.

        Args:
            chip_seed: which draw of the frozen randomness; at least 0.

        Raises:
            CimsimError: if there is no such chip, or a weight is not finite.
        """
        if chip_seed < 0:
            raise CimsimError("is no chip", key="chip_seed", value=chip_seed, allowed="0 or more")
        self.chip_seed = chip_seed
        self.unfolded.clear()
        for slot in self.slots.values():
            slot.product = TileProduct(self._tile(slot), self.read_seed)

    def _tile(self, slot: Slot) -> OneCopy:
        """Write one matrix; detailed where a folded form would not be faithful."""
        temperature_c = self.chip.technology.temperature_c
        device = slot.weight().device
        programmed = program_matrix(
            columns_of(slot),
            self.chip.tile,
            Writing(self.chip_seed, slot.matrix, temperature_c=temperature_c),
            self.ranges[slot.matrix],
        )
        if isinstance(programmed, IdealMatrix):
            return HostTile(programmed)
        if self.mode == "folded" and programmed.folded is not None:
            return FoldedTile(programmed, device=device)
        if self.mode == "folded":
            self.unfolded.append(slot.matrix)
        return TorchTile(programmed, device=device)
