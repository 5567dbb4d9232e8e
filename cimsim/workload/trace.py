"""Routing traces: which experts every token visited.

Stored as npz without pickle: `experts` int16 [tokens, layers, k] and optionally
`sequence` and `position` int64 [tokens] and `n_experts`. Tokens are in order of sequence,
then position. Layers are the MoE layers of the model in order.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError

__all__ = ["RoutingTrace", "load_trace", "save_trace"]


@dataclass(frozen=True)
class RoutingTrace:
    """Experts chosen by every token in every MoE layer.

    Attributes:
        experts: int16 [tokens, layers, k], each row of k experts distinct.
        sequence: int64 [tokens].
        position: int64 [tokens].
        n_experts: routed experts a layer.
    """

    experts: NDArray[np.int16]
    sequence: NDArray[np.int64]
    position: NDArray[np.int64]
    n_experts: int

    @property
    def n_tokens(self) -> int:
        """Tokens of the trace."""
        return int(self.experts.shape[0])

    def load(self) -> NDArray[np.int64]:
        """Return visits of every expert, [layers, experts]."""
        layers = self.experts.shape[1]
        counts = np.zeros((layers, self.n_experts), dtype=np.int64)
        for layer in range(layers):
            counts[layer] = np.bincount(self.experts[:, layer].ravel(), minlength=self.n_experts)
        return counts


def load_trace(path: Path) -> RoutingTrace:
    """Read a routing trace.

    Raises:
        CimsimError: if the file is missing, not an npz of arrays, or out of range.
    """
    if not path.is_file():
        raise CimsimError("routing trace not found", file=path)
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
    except (ValueError, OSError, EOFError, BadZipFile, zlib.error) as error:
        raise CimsimError("not a routing trace (an npz of plain arrays)", file=path) from error
    if "experts" not in arrays:
        raise CimsimError("the routing trace has no array 'experts'", file=path)
    experts = arrays["experts"]
    if experts.ndim != 3 or not np.issubdtype(experts.dtype, np.integer) or not experts.size:
        raise CimsimError(
            "'experts' must be integers of shape [tokens, layers, k]",
            file=path,
            value=f"{experts.dtype} {experts.shape}",
        )
    top = int(experts.max())
    n_experts = int(arrays["n_experts"]) if "n_experts" in arrays else top + 1
    if int(experts.min()) < 0 or top >= n_experts:
        raise CimsimError(
            "a routing trace names an expert that the model does not have",
            file=path,
            value=top,
            allowed=f"0 to {n_experts - 1}",
        )
    ordered = np.sort(experts, axis=2)
    if (ordered[:, :, 1:] == ordered[:, :, :-1]).any():
        token, layer, _ = np.argwhere(ordered[:, :, 1:] == ordered[:, :, :-1])[0].tolist()
        raise CimsimError(
            f"token {token} of a routing trace chooses an expert twice in layer {layer}", file=path
        )
    tokens = experts.shape[0]
    sequence = arrays.get("sequence", np.zeros(tokens, dtype=np.int64))
    position = arrays.get("position", np.arange(tokens, dtype=np.int64))
    if sequence.shape != (tokens,) or position.shape != (tokens,):
        raise CimsimError("'sequence' and 'position' need one value a token", file=path)
    for name, values in (("sequence", sequence), ("position", position)):
        if not np.issubdtype(values.dtype, np.integer) or int(values.min()) < 0:
            raise CimsimError(
                f"'{name}' must be integers from 0 on", file=path, value=_first_bad(values)
            )
    return RoutingTrace(
        experts.astype(np.int16),
        sequence.astype(np.int64),
        position.astype(np.int64),
        n_experts,
    )


def _first_bad(values: NDArray[np.generic]) -> str:
    """Return what is wrong with an array that should hold integers from 0 on."""
    if not np.issubdtype(values.dtype, np.number):
        return str(values.dtype)
    numbers = values.astype(np.float64)
    bad = np.flatnonzero(~(numbers >= 0))
    return f"{numbers[bad[0]]:g} at token {bad[0]}" if bad.size else str(values.dtype)


def save_trace(trace: RoutingTrace, path: Path) -> None:
    """Write a routing trace as npz without pickle."""
    np.savez_compressed(
        path,
        experts=trace.experts,
        sequence=trace.sequence,
        position=trace.position,
        n_experts=np.int64(trace.n_experts),
    )
