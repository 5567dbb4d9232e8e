"""The digital parameters of a decoder: embedding, norms, biases, rotary tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cimsim.model.array_backend import ArrayBackend
from cimsim.model.checkpoint import Checkpoint
from cimsim.model.rotary import rotary_tables
from cimsim.workload.heads import Heads
from cimsim.workload.latent import RotateLatent
from cimsim.workload.matrix import MatrixId
from cimsim.workload.operations import Rotate

__all__ = ["Parameters", "read_parameters"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Parameters:
    """Digital parameters of a decoder.

    Attributes:
        arrays: (layer, role) of an operation's parameter to its array.
        rotary: (layer, heads) to cosines and sines of positions, float32 [positions, rotated / 2].
        input_scales: what inputs of a matrix are divided by before the product, float32 [n_in].
    """

    arrays: Mapping[tuple[int, str], Array]
    rotary: Mapping[tuple[int, Heads], tuple[Array, ...]]
    input_scales: Mapping[MatrixId, Array] = field(default_factory=dict)

    def scaled(self, matrix: MatrixId, x: Array) -> Array:
        """Return inputs of a matrix as its product takes them."""
        scale = self.input_scales.get(matrix)
        return x if scale is None else x / scale

    def with_norm_gain(self, gain: Mapping[tuple[int, str], Array]) -> Parameters:
        """Return the parameters with gains multiplied onto norms.

        Args:
            gain: (layer, "attention" or "block") or (number of layers, "final") to
                float32 [d_model].
        """
        changed = {
            (layer, f"{norm}_norm"): self.arrays[layer, f"{norm}_norm"] * factor
            for (layer, norm), factor in gain.items()
        }
        return replace(self, arrays={**self.arrays, **changed})


def read_parameters(checkpoint: Checkpoint, backend: ArrayBackend) -> Parameters:
    """Return the digital parameters of a checkpoint as arrays of a library."""
    operations = checkpoint.program.operations
    arrays = {
        (o.layer, role): backend.of_layer(o.layer).array(checkpoint.parameter(o.layer, role))
        for o in operations
        for role in o.parameters
    }
    # What several layers read is there once on every device.
    shared: dict[tuple[int, object], tuple[Array, ...]] = {}

    def there(layer: int, what: object, values: Callable[[], Sequence[Array]]) -> tuple[Array, ...]:
        part = backend.of_layer(layer)
        if (id(part), what) not in shared:
            shared[id(part), what] = tuple(part.array(each) for each in values())
        return shared[id(part), what]

    rotary = {
        (o.layer, o.heads): there(
            o.layer, o.heads, partial(rotary_tables, o.heads, o.heads.context)
        )
        for o in operations
        if isinstance(o, Rotate | RotateLatent)
    }
    scales = {
        matrix: there(matrix.layer, id(scale), partial(tuple, (scale,)))[0]
        for matrix, scale in checkpoint.input_scales.items()
    }
    return Parameters(arrays, rotary, scales)
