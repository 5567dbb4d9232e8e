"""What carries out a run in torch: `cimsim.stages.compute.Compute` on a CPU or a CUDA device."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cimsim.backends.torch.arrays import TorchBackend
from cimsim.backends.torch.copies import Reading, TorchCopy, TorchIdeal
from cimsim.backends.torch.device_cells import (
    DeviceCells,
    ideal_on_device,
    range_on_device,
    writes_on_device,
)
from cimsim.backends.torch.held import HostCells, hold_ideal
from cimsim.backends.torch.programming import Writer
from cimsim.backends.torch.tile import Precision
from cimsim.config import Tile
from cimsim.errors import CimsimError
from cimsim.mac import (
    AdcRange,
    IdealMatrix,
    Writing,
    calibrate_range,
    ideal_integer,
    program_matrix,
)
from cimsim.workload.matrix import MatrixId

__all__ = ["TorchCompute"]

_KEPT_BYTES = 2 << 30  # copies of a chip on the host


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
        self.backend = TorchBackend(device)
        self._device = torch.device(device)
        self._reading = Reading(self._device, precision, seed)
        self._folds: dict[tuple[Writing, int, float], bool] = {}  # what is faithful is found once

    @property
    def kept_bytes(self) -> int:
        """Copies of matrices that one chip keeps: of a device half of its free memory."""
        if self._device.type == "cpu":
            return _KEPT_BYTES
        cuda = torch.cuda
        unused = cuda.memory_reserved(self._device) - cuda.memory_allocated(self._device)
        return (cuda.mem_get_info(self._device)[0] + unused) // 2

    def calibrate(self, weight: Any, matrix: MatrixId, tile: Tile, inputs: Any) -> AdcRange:
        """Find the converter range of a matrix on inputs, as `cimsim.mac.calibrate_range`."""
        if self._device.type == "cuda":
            stored = self.backend.array(weight.T)
            found = range_on_device(stored, matrix, tile, self.backend.array(inputs))
            if found is not None:
                return found
        return calibrate_range(self._host(weight), matrix, tile, self._host(inputs))

    def write(
        self, weight: Any, tile: Tile, writing: Writing, adc_range: AdcRange
    ) -> TorchCopy | TorchIdeal:
        """Write a weight matrix [n_in, n_out] into crossbars, as `cimsim.mac.program_matrix`."""
        n_in, n_out = weight.shape
        if self._device.type == "cuda":
            writer = writes_on_device(tile, writing, n_in, n_out)
            if writer is not None:
                write = partial(self._on_device, weight, writer, adc_range)
                return TorchCopy(writing.matrix, write, self._reading)
            if tile.crossbar.kind == "digital":
                return self.ideal(weight, tile, writing.matrix, adc_range)
        programmed = program_matrix(self._host(weight), tile, writing, adc_range)
        if isinstance(programmed, IdealMatrix):
            return TorchIdeal(hold_ideal(programmed, self._device))
        return TorchCopy(
            writing.matrix, partial(HostCells, programmed, self._device), self._reading
        )

    def ideal(self, weight: Any, tile: Tile, matrix: MatrixId, adc_range: AdcRange) -> TorchIdeal:
        """Return the exact integer product, as `cimsim.mac.ideal_integer`."""
        if self._device.type == "cuda" and tile.weight.bits > 1:
            stored = self.backend.array(weight.T)
            return TorchIdeal(ideal_on_device(stored, tile, matrix, adc_range))
        ideal = ideal_integer(self._host(weight), tile, matrix=matrix, adc_range=adc_range)
        return TorchIdeal(hold_ideal(ideal, self._device))

    def _on_device(self, weight: Any, writer: Writer, adc_range: AdcRange) -> DeviceCells:
        """Write weights on the device."""
        stored = self.backend.array(weight.T)
        return DeviceCells.write(stored, writer, adc_range, self._folds)

    def _host(self, weight: Any) -> NDArray[np.float32]:
        """Return weights as `cimsim.mac` takes them."""
        if isinstance(weight, torch.Tensor):
            weight = weight.float().cpu().numpy()
        return np.ascontiguousarray(weight)


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
