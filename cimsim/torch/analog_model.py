"""What `analogize` put into a model: its slots, and how they are programmed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cimsim.backends.torch.compute import TorchCompute
from cimsim.config import ChipConfig
from cimsim.errors import CimsimError
from cimsim.mac import AdcRange, Mode, Writing
from cimsim.model import GivenWeight
from cimsim.torch.modules import Slot
from cimsim.torch.products import TileProduct
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
        compute: what writes and reads crossbars: torch, on the device of the model.
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
    compute: TorchCompute
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
        self.compute.forget()  # cells of the chip before would take the room of this one's
        temperature_c = self.chip.technology.temperature_c
        for matrix, slot in self.slots.items():
            writing = Writing(chip_seed, matrix, temperature_c=temperature_c)
            weight = GivenWeight(columns_of(slot))
            copy = self.compute.write(weight, self.chip.tile, writing, self.ranges[matrix])
            slot.product = TileProduct(copy, self.mode, self.read_seed)
            if self.mode == "folded" and not copy.folds:
                self.unfolded.append(matrix)
