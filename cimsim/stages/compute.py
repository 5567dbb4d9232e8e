"""What carries out the numbers of a run: arrays, and crossbars written and read with them.

The stages see one protocol. `NumbaCompute` is the product's own; torch (`cimsim.backends.torch.
compute`) is another one, imported when a run asks for it.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cimsim.config import ChipConfig, Tile
from cimsim.config.chip import Run
from cimsim.errors import CimsimError
from cimsim.mac import AdcRange, Writing, calibrate_range, ideal_integer, program_matrix
from cimsim.model import Weight
from cimsim.model.array_backend import ArrayBackend, NumbaBackend
from cimsim.plugins import find_installed
from cimsim.stages.copy import Copy
from cimsim.workload.matrix import MatrixId

__all__ = [
    "NUMBA",
    "Compute",
    "NumbaCompute",
    "computed_by",
    "open_compute",
    "open_others",
    "open_shared",
]

Floats = NDArray[np.float32]


class Compute(Protocol):
    """Arrays, and crossbars written and read with them."""

    @property
    def backend(self) -> ArrayBackend:
        """Does the digital arithmetic."""
        ...

    @property
    def kept_bytes(self) -> int:
        """Copies of matrices that one chip keeps; the others are written when they are read."""
        ...

    @property
    def device_bytes(self) -> int | None:
        """Memory of a device for weights and written matrices; None on the processor."""
        ...

    @property
    def seeds_at_once(self) -> bool:
        """Whether several threads may evaluate a chip seed each."""
        ...

    def enter(self) -> None:
        """Make its device the one that kernels of this thread are launched on."""
        ...

    def forget(self) -> None:
        """Let go of what is kept of written matrices: the chip that they are on is done."""
        ...

    def calibrate(self, weight: Floats, matrix: MatrixId, tile: Tile, inputs: Floats) -> AdcRange:
        """Find the converter range of a matrix on inputs, as `cimsim.mac.calibrate_range`."""
        ...

    def write(self, weight: Weight, tile: Tile, writing: Writing, adc_range: AdcRange) -> Copy:
        """Write a weight matrix [n_in, n_out] into crossbars, as `cimsim.mac.program_matrix`."""
        ...

    def ideal(self, weight: Floats, tile: Tile, matrix: MatrixId, adc_range: AdcRange) -> Copy:
        """Return the exact integer product, as `cimsim.mac.ideal_integer`."""
        ...


class NumbaCompute:
    """NumPy arrays and compiled kernels."""

    backend: ArrayBackend = NumbaBackend()
    seeds_at_once = True
    kept_bytes = 2 << 30
    device_bytes = None

    def enter(self) -> None:
        """Do nothing: there is one processor."""

    def forget(self) -> None:
        """Do nothing: a chip holds its matrices itself."""

    def calibrate(self, weight: Floats, matrix: MatrixId, tile: Tile, inputs: Floats) -> AdcRange:
        """Find the converter range of a matrix on inputs [n, n_in]."""
        return calibrate_range(weight, matrix, tile, inputs)

    def write(self, weight: Weight, tile: Tile, writing: Writing, adc_range: AdcRange) -> Copy:
        """Write a weight matrix [n_in, n_out] into crossbars."""
        return program_matrix(weight(), tile, writing, adc_range)

    def ideal(self, weight: Floats, tile: Tile, matrix: MatrixId, adc_range: AdcRange) -> Copy:
        """Return the exact integer product."""
        return ideal_integer(weight, tile, matrix=matrix, adc_range=adc_range)


NUMBA = NumbaCompute()


def open_compute(run: Run) -> Compute:
    """Return what computes a run: on the first of several devices.

    Raises:
        CimsimError: if torch is not installed, or the device does not exist.
    """
    if run.backend == "numba":
        return NUMBA
    if find_spec("torch") is None:
        raise CimsimError(
            "torch is not installed",
            key="run.backend",
            value="torch",
            hint="pip install 'cimsim[torch]'",
        )
    from cimsim.backends.torch.compute import TorchCompute  # noqa: PLC0415 - torch is optional

    return TorchCompute(run.devices[0], run.precision, run.seed, run.device_gb)


def open_others(run: Run) -> tuple[Compute, ...]:
    """Return what computes on the other devices of a run.

    Raises:
        CimsimError: as `open_compute`.
    """
    others = (run.model_copy(update={"device": name}) for name in run.devices[1:])
    return tuple(open_compute(one) for one in others)


def open_shared(run: Run, seeds: int, layers: int) -> tuple[Compute, ...]:
    """Return what computes a run: one for each chip seed that has a device of its own.

    Devices are shared out to chip seeds; where there are more of them, those of one seed share its
    layers (`cimsim.backends.torch.spread`).

    Args:
        run: names the devices.
        seeds: chip seeds that are drawn.
        layers: of the model.

    Raises:
        CimsimError: as `open_compute`.
    """
    devices = (open_compute(run), *open_others(run))
    count = min(len(devices), seeds)
    if count == len(devices):
        return devices
    from cimsim.backends.torch.spread import spread  # noqa: PLC0415 - torch is optional

    bounds = [i * len(devices) // count for i in range(count + 1)]
    return tuple(spread(devices[i:j], layers) for i, j in pairwise(bounds))


def computed_by(config: ChipConfig) -> str:
    """Return the identity of what computes a run: numbers of another one may differ.

    Numba gives the same bytes everywhere; torch does on one kind of device. A device model of
    the user's own counts with its source.
    """
    return f"{_arithmetic(config.run)} {_own_model(config)}".strip()


def _arithmetic(run: Run) -> str:
    if run.backend == "numba":
        return "numba"
    name = "cpu"
    if run.device != "cpu":
        from torch.cuda import get_device_name  # noqa: PLC0415 - torch is optional

        # Of one kind each: results are those of any number of them.
        name = get_device_name(run.devices[0])
    return f"torch {name} {run.precision} {run.seed}"


def _own_model(config: ChipConfig) -> str:
    module = getattr(config.tile.device, "module", None)
    found = find_installed(module) if module else None
    if found is None or found.origin is None:
        return ""
    return hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()
