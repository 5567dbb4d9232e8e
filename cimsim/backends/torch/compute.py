"""What carries out a run in torch: `cimsim.stages.compute.Compute` on a CPU or a CUDA device."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from cimsim.backends.torch import stack
from cimsim.backends.torch.arrays import TorchBackend
from cimsim.backends.torch.copies import Reading, TorchCopy, WrittenCells
from cimsim.backends.torch.device_cells import (
    DeviceCells,
    writes_on_device,
)
from cimsim.backends.torch.digital_forms import Known, ideal_on_device, range_on_device
from cimsim.backends.torch.forms import Forms
from cimsim.backends.torch.held import HostCells, hold_ideal, refuse_data_dependent
from cimsim.backends.torch.host_copy import HostCopy
from cimsim.backends.torch.ideal import TorchIdeal
from cimsim.backends.torch.later import Later
from cimsim.backends.torch.memory import DeviceMemory, Kept
from cimsim.backends.torch.order import Order
from cimsim.backends.torch.programming import Writer
from cimsim.backends.torch.tile import Precision
from cimsim.backends.torch.verdicts import Verdicts
from cimsim.config import Tile
from cimsim.errors import CimsimError
from cimsim.mac import (
    AdcRange,
    ProgrammedMatrix,
    Writing,
    calibrate_range,
    ideal_integer,
    program_matrix,
)
from cimsim.mac.formats import formats_of
from cimsim.model import Weight
from cimsim.workload.matrix import MatrixId

__all__ = ["TorchCompute"]


class TorchCompute:
    """Tensors on one device, and crossbars read there.

    Args:
        device: cpu, cuda or cuda:N.
        precision: exact or fast (`cimsim.backends.torch`).
        seed: of fresh noise.
        device_gb: memory of the device to do with, None for all that is free.

    Attributes:
        backend: does the digital arithmetic.
        seeds_at_once: torch has threads of its own, and a device one memory.

    Raises:
        CimsimError: if torch sees no such device.
    """

    seeds_at_once = False

    def __init__(
        self, device: str, precision: Precision, seed: int, device_gb: float | None = None
    ) -> None:
        check_device(device)
        self._device = torch.device(device)
        self.enter()
        memory = DeviceMemory(self._device, None if device_gb is None else int(device_gb * 1e9))
        self._later = Later(waits=self._on_cuda)
        forms = Forms(Kept(memory.form_bytes), self._later)
        self._reading = Reading(
            self._device, precision, seed, forms, memory, Kept(memory.copy_bytes), self._later
        )
        self.backend = TorchBackend(device, self._reading)
        self._writers: dict[tuple[int, int, float | None, float], tuple[Tile, Writer | None]] = {}
        self._error_free: Known = {}
        self._verdicts = Verdicts()

    def enter(self) -> None:
        """Make its device the one that kernels of this thread are launched on."""
        if self._device.index is not None:
            torch.cuda.set_device(self._device)

    def forget(self) -> None:
        """Let go of written matrices; what a device had for them is there for other processes."""
        self._reading.forms.clear()
        self._reading.tiles.clear()
        self._reading.feeds.clear()
        if self._on_cuda:
            torch.cuda.empty_cache()

    @property
    def kept_bytes(self) -> int:
        """Copies of matrices that one chip keeps."""
        return self._reading.memory.copy_bytes()

    @property
    def device_bytes(self) -> int | None:
        """Memory of a CUDA device for weights and written matrices; None on a processor."""
        memory = self._reading.memory
        return (memory.limit_bytes or memory.free_bytes()) if self._on_cuda else None

    def calibrate(self, weight: Any, matrix: MatrixId, tile: Tile, inputs: Any) -> AdcRange:
        """Find the converter range of a matrix on inputs, as `cimsim.mac.calibrate_range`.

        Raises:
            CimsimError: if data decide what the tile converts.
        """
        refuse_data_dependent(tile)
        if self._device.type == "cuda":
            stored = self.backend.array(weight.T)
            seen = self.backend.array(inputs)
            found = range_on_device(stored, matrix, tile, seen, self._error_free)
            if found is not None:
                return found
        return calibrate_range(self._host(weight), matrix, tile, self._host(inputs))

    def write(
        self, weight: Weight, tile: Tile, writing: Writing, adc_range: AdcRange
    ) -> TorchCopy | TorchIdeal | HostCopy:
        """Write a weight matrix [n_in, n_out] into crossbars, on a device when it is first read.

        Raises:
            CimsimError: if data decide what the tile converts.
        """
        refuse_data_dependent(tile)
        if tile.crossbar.kind == "digital":
            return self.ideal(weight(), tile, writing.matrix, adc_range)
        fast = self._reading.precision == "fast"
        if self.compiled and not fast:
            return HostCopy(program_matrix(self._host(weight()), tile, writing, adc_range))
        writer = self._writer(tile, writing, weight.shape) if fast or self._on_cuda else None
        write: Callable[[], WrittenCells]
        if writer is None or not self._on_cuda:
            formats = formats_of(writing.matrix, *weight.shape, tile)
            write = partial(self._on_host, weight, tile, writing, adc_range)
        else:
            formats = writer.formats
            write = partial(self._on_device, weight, writer, adc_range)
        order = direct = None
        if fast and writer is not None:
            written_from = Order(weight, writer, adc_range, self._device)
            order = written_from if stack.serves(writer, adc_range) else None
            direct = written_from if self._on_cuda else None
        return TorchCopy(writing.matrix, formats, write, self._reading, order, direct)

    @property
    def _on_cuda(self) -> bool:
        return self._device.type == "cuda"

    @property
    def compiled(self) -> bool:
        """Whether exact products are those of the compiled tile: on a processor."""
        return not self._on_cuda

    def _writer(self, tile: Tile, writing: Writing, shape: tuple[int, int]) -> Writer | None:
        """Return what writes a matrix on the device; its tables are those of the last of a shape.

        None if `cimsim.mac` alone writes such cells.
        """
        key = (*shape, writing.age_s, writing.temperature_c)
        if key not in self._writers or self._writers[key][0] is not tile:
            self._writers[key] = tile, writes_on_device(tile, writing, *shape)
        writer = self._writers[key][1]
        if writer is None:
            return None
        formats = formats_of(writing.matrix, *shape, tile)
        return replace(writer, writing=writing, formats=formats, later=self._later)

    def ideal(
        self, weight: Any, tile: Tile, matrix: MatrixId, adc_range: AdcRange
    ) -> TorchIdeal | HostCopy:
        """Return the exact integer product, as `cimsim.mac.ideal_integer`."""
        if self._on_cuda and tile.weight.bits > 1:
            stored = self.backend.array(weight.T)
            return TorchIdeal(ideal_on_device(stored, tile, matrix, adc_range))
        ideal = ideal_integer(self._host(weight), tile, matrix=matrix, adc_range=adc_range)
        return HostCopy(ideal) if self.compiled else TorchIdeal(hold_ideal(ideal, self._device))

    def _on_host(
        self, weight: Weight, tile: Tile, writing: Writing, adc_range: AdcRange
    ) -> HostCells:
        """Write weights by `cimsim.mac`."""
        programmed = program_matrix(self._host(weight()), tile, writing, adc_range)
        return HostCells(cast(ProgrammedMatrix, programmed), self._device)

    def _on_device(self, weight: Weight, writer: Writer, adc_range: AdcRange) -> DeviceCells:
        """Write weights on the device."""
        stored = self.backend.array(weight().T)
        return DeviceCells.write(stored, writer, adc_range, self._verdicts.of(writer.tile))

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
