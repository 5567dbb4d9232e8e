"""What carries out a run in torch: `cimsim.stages.compute.Compute` on a CPU or a CUDA device."""

from __future__ import annotations

import re
from typing import Any

import torch

from cimsim.backends.torch.arrays import TorchBackend
from cimsim.backends.torch.copies import Reading, TorchCopy, TorchIdeal
from cimsim.backends.torch.held import hold, hold_faithful, hold_ideal
from cimsim.backends.torch.tile import Precision
from cimsim.config import Tile
from cimsim.errors import CimsimError
from cimsim.mac import AdcRange, IdealMatrix, Writing, ideal_integer, program_matrix
from cimsim.model.array_backend import ArrayBackend
from cimsim.workload.matrix import MatrixId

__all__ = ["TorchCompute"]


class TorchCompute:
    """Tensors on one device, and crossbars read there.

    Args:
        device: cpu, cuda or cuda:N.
        precision: exact or fast (`cimsim.backends.torch`).
        seed: of fresh noise.

    Attributes:
        backend: does the digital arithmetic.
        seeds_at_once: torch has threads of its own, and a device one memory.

    Raises:
        CimsimError: if torch sees no such device.
    """

    seeds_at_once = False

    def __init__(self, device: str, precision: Precision, seed: int) -> None:
        check_device(device)
        self.backend: ArrayBackend = TorchBackend(device)
        self._device = torch.device(device)
        self._reading = Reading(self._device, precision, seed)

    def write(
        self, weight: Any, tile: Tile, writing: Writing, adc_range: AdcRange
    ) -> TorchCopy | TorchIdeal:
        """Write a weight matrix [n_in, n_out] into crossbars, as `cimsim.mac.program_matrix`."""
        programmed = program_matrix(weight, tile, writing, adc_range)
        if isinstance(programmed, IdealMatrix):
            return TorchIdeal(hold_ideal(programmed, self._device))
        return TorchCopy(
            writing.matrix,
            hold(programmed, self._device),
            programmed.cells.mean_fraction,
            lambda: hold_faithful(programmed, self._device),
            self._reading,
        )

    def ideal(self, weight: Any, tile: Tile, matrix: MatrixId, adc_range: AdcRange) -> TorchIdeal:
        """Return the exact integer product, as `cimsim.mac.ideal_integer`."""
        ideal = ideal_integer(weight, tile, matrix=matrix, adc_range=adc_range)
        return TorchIdeal(hold_ideal(ideal, self._device))


def check_device(device: str) -> None:
    """Refuse a device that torch does not see.

    Raises:
        CimsimError: it says which devices there are.
    """
    if device == "cpu":
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise CimsimError(
            "torch sees no CUDA device",
            key="run.device",
            value=device,
            allowed="cpu",
            hint="use a machine with a GPU and a torch built for CUDA, or run.device=cpu",
        )
    number = re.fullmatch(r"cuda:(\d+)", device)
    if number and int(number[1]) >= count:
        raise CimsimError(
            "torch sees no such CUDA device",
            key="run.device",
            value=device,
            allowed=f"cuda:0 to cuda:{count - 1}",
        )
