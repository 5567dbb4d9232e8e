"""Several devices that share one pass: each computes some of the layers, weights and tiles with it.

Layers go to devices in order, as evenly as they divide; what comes before the first is with the
first device, the head with the last. Between two devices the residual stream moves, and nothing
else: keys, values, weights and cells of a layer lie where it is computed. Every product has the
shapes that it has on one device, so that `exact` has its bits on devices of one kind. Where text
is scored in several batches (`TorchBackend.batch_tokens`) devices work at once, each on another
batch (`cimsim.model.side_by_side`); in one batch they wait for each other, and memory alone is
shared out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from cimsim.backends.torch.arrays import TorchBackend
from cimsim.backends.torch.compute import TorchCompute
from cimsim.backends.torch.copies import TorchCopy
from cimsim.backends.torch.host_copy import HostCopy
from cimsim.backends.torch.ideal import TorchIdeal
from cimsim.config import Tile
from cimsim.mac import AdcRange, Writing
from cimsim.model import Checkpoint, Weight
from cimsim.workload.matrix import MatrixId

__all__ = ["SpreadBackend", "SpreadCompute"]


class SpreadBackend(TorchBackend):
    """Tensors of several devices; what belongs to no layer lies on the first.

    Args:
        parts: the devices, in order of layers.
        layers: of the model.
    """

    def __init__(self, parts: Sequence[TorchBackend], layers: int) -> None:
        super().__init__(parts[0].device)
        self.batch_tokens = parts[0].batch_tokens
        self._parts, self._layers = tuple(parts), layers

    def of_layer(self, layer: int) -> TorchBackend:
        """Return what computes a layer; kernels of this thread are launched there from now on."""
        part = self._parts[place_of(layer, self._layers, len(self._parts))]
        if part.device.index is not None:
            torch.cuda.set_device(part.device)
        return part

    def weight(self, checkpoint: Checkpoint, matrix: MatrixId) -> Any:
        """Return the weights of a matrix where its layer is computed."""
        return self.of_layer(matrix.layer).weight(checkpoint, matrix)


class SpreadCompute:
    """Several devices as one: crossbars are written and read where their layer is computed.

    Args:
        parts: the devices, in order of layers.
        layers: of the model.

    Attributes:
        backend: does the digital arithmetic.
        seeds_at_once: as for one device.
    """

    seeds_at_once = False

    def __init__(self, parts: Sequence[TorchCompute], layers: int) -> None:
        self._parts, self._layers = tuple(parts), layers
        self.backend = SpreadBackend([part.backend for part in parts], layers)

    @property
    def kept_bytes(self) -> int:
        """Copies that one chip keeps: so many that a device could hold all of them."""
        return min(part.kept_bytes for part in self._parts)

    @property
    def device_bytes(self) -> int | None:
        """Memory of the smallest device; None on a processor."""
        found = [part.device_bytes for part in self._parts]
        return min((each for each in found if each is not None), default=None)

    def enter(self) -> None:
        """Make the first device the one that kernels of this thread are launched on."""
        self._parts[0].enter()

    def forget(self) -> None:
        """Let go of written matrices on every device."""
        for part in self._parts:
            part.forget()

    def calibrate(self, weight: Any, matrix: MatrixId, tile: Tile, inputs: Any) -> AdcRange:
        """Find the converter range of a matrix on inputs."""
        return self._of(matrix).calibrate(weight, matrix, tile, inputs)

    def write(
        self, weight: Weight, tile: Tile, writing: Writing, adc_range: AdcRange
    ) -> TorchCopy | TorchIdeal | HostCopy:
        """Write a weight matrix [n_in, n_out] into crossbars, when it is first read."""
        return self._of(writing.matrix).write(weight, tile, writing, adc_range)

    def ideal(
        self, weight: Any, tile: Tile, matrix: MatrixId, adc_range: AdcRange
    ) -> TorchIdeal | HostCopy:
        """Return the exact integer product."""
        return self._of(matrix).ideal(weight, tile, matrix, adc_range)

    def _of(self, matrix: MatrixId) -> TorchCompute:
        part = self._parts[place_of(matrix.layer, self._layers, len(self._parts))]
        part.enter()
        return part


def spread(parts: Sequence[Any], layers: int) -> TorchCompute | SpreadCompute:
    """Return devices as one; a single one is itself."""
    return parts[0] if len(parts) == 1 else SpreadCompute(parts, layers)


def place_of(layer: int, layers: int, devices: int) -> int:
    """Return which device computes a layer; those before the first and after the last go along."""
    return min(max(layer, 0), layers - 1) * devices // layers
