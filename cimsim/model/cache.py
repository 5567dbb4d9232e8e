"""Keys and values of the sequences that are in flight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimInternalError
from cimsim.model.array_backend import ArrayBackend
from cimsim.workload.heads import Heads
from cimsim.workload.matrix import TokenKeys

__all__ = ["KVCache"]

Array = NDArray[np.float32]


class KVCache:
    """Keys and values per layer and sequence, in float32.

    Sequences may be at different positions and different layers: each layer of each
    sequence is filled in order of position, several tokens at a time.

    Args:
        heads: give the widths.
        sequences: global numbers of the sequences that it holds.
        capacity: positions per sequence.
        backend: whose arrays hold keys and values.
    """

    def __init__(
        self,
        heads: Heads,
        sequences: Sequence[int],
        capacity: int,
        backend: ArrayBackend,
    ) -> None:
        numbers = [int(s) for s in sequences]
        self._slot = {sequence: slot for slot, sequence in enumerate(numbers)}
        if len(self._slot) != len(numbers):
            raise CimsimInternalError("a sequence number occurs twice in a cache")
        self.capacity = capacity
        self._heads = (len(numbers), heads.n_kv_heads)
        self._widths, self._backend = (heads.head_dim, heads.value_dim), backend
        self._layers: dict[int, tuple[Array, Array, NDArray[np.int64]]] = {}

    def slots(self, tokens: TokenKeys) -> NDArray[np.int64]:
        """Return the slot of each row's sequence, int64 [n]."""
        distinct, index = np.unique(tokens.sequence, return_inverse=True)
        try:
            slots = np.array([self._slot[int(s)] for s in distinct], dtype=np.int64)
        except KeyError as error:
            raise CimsimInternalError(f"sequence {error} is not in the cache") from error
        return slots[index]

    def arrays(self, layer: int) -> tuple[Array, Array]:
        """Return keys [slots, kv_heads, head_dim, capacity], values [.., capacity, value_dim]."""
        keys, values, _ = self._layer(layer)
        return keys, values

    def append(
        self, layer: int, slots: NDArray[np.int64], position: NDArray[np.int64], k: Array, v: Array
    ) -> None:
        """Store keys and values of n tokens.

        Args:
            layer: decoder layer.
            slots: int64 [n].
            position: int64 [n]; each sequence goes on where it stopped.
            k: float32 [n, kv_heads, head_dim].
            v: float32 [n, kv_heads, value_dim].
        """
        keys, values, filled = self._layer(layer)
        order = np.lexsort((position, slots))
        start = np.searchsorted(slots[order], slots[order])
        expected = filled[slots[order]] + np.arange(len(slots)) - start
        if not np.array_equal(expected, position[order]):
            raise CimsimInternalError("tokens enter a layer out of the order of their positions")
        if position.max(initial=-1) >= self.capacity:
            raise CimsimInternalError("a sequence is longer than the cache")
        keys[slots, :, :, position] = k
        values[slots, :, position] = v
        np.add.at(filled, slots, 1)

    def prime(self, other: KVCache, sequence: int, length: int) -> None:
        """Take over the first positions of a sequence from a cache that holds all its layers."""
        slot, source = self._slot[sequence], other._slot[sequence]
        for layer in other._layers:
            keys, values, filled = self._layer(layer)
            given_keys, given_values, given = other._layers[layer]
            if given[source] < length:
                raise CimsimInternalError("a cache does not hold what another one continues")
            keys[slot, :, :, :length] = given_keys[source, :, :, :length]
            values[slot, :, :length] = given_values[source, :, :length]
            filled[slot] = length

    def drop(self, layer: int) -> None:
        """Forget a layer that is not needed any more."""
        self._layers.pop(layer, None)

    def _layer(self, layer: int) -> tuple[Array, Array, NDArray[np.int64]]:
        if layer not in self._layers:
            zeros = self._backend.of_layer(layer).zeros
            keys = zeros((*self._heads, self._widths[0], self.capacity))
            values = zeros((*self._heads, self.capacity, self._widths[1]))
            self._layers[layer] = (keys, values, np.zeros(self._heads[0], dtype=np.int64))
        return self._layers[layer]
