"""What attention takes: queries, keys and values from the projections of some tokens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.model.array_backend import ArrayBackend
from cimsim.model.flight import Flight
from cimsim.model.parameters import Parameters
from cimsim.workload.latent import Compress, RotateLatent, SplitQueries
from cimsim.workload.operations import Rotate

__all__ = ["compress", "rotate_heads", "rotate_latent", "split_queries"]

Array = NDArray[np.float32]


def rotate_heads(
    flight: Flight, operation: Rotate, backend: ArrayBackend, parameters: Parameters
) -> None:
    """Norm, clip, cut into heads and rotate q, k and v, [n, heads, width]."""
    heads, layer = operation.heads, operation.layer
    q, k, v = flight.outputs
    if operation.norm_eps is not None:
        gains = parameters.arrays[layer, "q_norm"], parameters.arrays[layer, "k_norm"]
        width = heads.head_dim if operation.norm_by_head else 0
        q, k = (
            backend.rms_norm(a.reshape(-1, width or a.shape[1]), gain, operation.norm_eps)
            for a, gain in zip((q, k), gains, strict=True)
        )
    if operation.clip is not None:
        q, k, v = (backend.clip(a, operation.clip) for a in (q, k, v))
    q, k, v = (a.reshape(len(flight.ids), -1, heads.head_dim) for a in (q, k, v))
    cos, sin = parameters.rotary[operation.layer, heads]
    position = flight.keys.position
    rotated = (backend.rotate(a, position, cos, sin) for a in (q, k))
    flight.outputs = (*rotated, v)


def compress(
    flight: Flight, operation: Compress, backend: ArrayBackend, parameters: Parameters
) -> None:
    """Norm the latents; the latent of keys and values waits with the part that is rotated."""
    q, kv = flight.outputs
    arrays, layer, latent = parameters.arrays, operation.layer, operation.heads.latent_dim
    kept = backend.columns(kv, np.arange(latent))
    rotated = backend.columns(kv, np.arange(latent, kv.shape[1]))
    kept = backend.rms_norm(kept, arrays[layer, "kv_a_norm"], operation.eps)
    flight.kept = (kept, rotated)
    flight.outputs = (q,)
    if operation.query_rank:
        flight.inputs = backend.rms_norm(q, arrays[layer, "q_a_norm"], operation.eps)


def split_queries(flight: Flight, operation: SplitQueries, backend: ArrayBackend) -> None:
    """Cut queries; what meets the latents is the input of the next products."""
    plain, heads, n = operation.plain_dim, operation.heads, len(flight.ids)
    q = flight.outputs[0].reshape(n, heads.n_heads, plain + heads.rotated)
    flight.inputs = backend.columns(q, np.arange(plain)).reshape(n, -1)
    rotated = plain + _halves(heads.rotated, interleaved=operation.interleaved)
    flight.kept = (*flight.kept, backend.columns(q, rotated))


def rotate_latent(
    flight: Flight, operation: RotateLatent, backend: ArrayBackend, parameters: Parameters
) -> None:
    """Join queries in the latent space and latents with what is rotated of them."""
    heads, n, position = operation.heads, len(flight.ids), flight.keys.position
    latent, key, query = flight.kept
    cos, sin = parameters.rotary[operation.layer, heads]
    key = backend.columns(key, _halves(heads.rotated, interleaved=operation.interleaved))
    key = backend.rotate(key.reshape(n, 1, heads.rotated), position, cos, sin)
    query = backend.rotate(query, position, cos, sin)
    value = latent.reshape(n, 1, heads.latent_dim)
    meets = flight.outputs[0].reshape(n, heads.n_heads, heads.latent_dim)
    flight.outputs = (backend.beside((meets, query)), backend.beside((value, key)), value)
    flight.kept = ()


def _halves(width: int, *, interleaved: bool) -> NDArray[np.int64]:
    """Return the order in which the first of all pairs come first, then the second."""
    order = np.arange(width)
    return np.concatenate((order[::2], order[1::2])) if interleaved else order
