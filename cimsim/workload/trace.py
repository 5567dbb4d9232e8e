"""Routing traces: which experts every token visited.

Stored as npz without pickle: `experts` integers [tokens, layers, k] and optionally
`sequence` and `position` integers [tokens] and `n_experts`, one integer. Tokens are in order
of sequence, then position. Layers are the MoE layers of the model in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.array_file import read_archive
from cimsim.errors import CimsimError
from cimsim.workload.program import Program

__all__ = ["RoutingTrace", "check_experts", "load_trace", "save_trace", "sequence_starts"]

Int64 = NDArray[np.int64]
Array = NDArray[Any]

ARRAYS = ("experts", "sequence", "position", "n_experts")
LARGEST_NUMBER = 2**31 - 1
"""Largest sequence or position of a file: times that grow with them stay whole numbers."""


@dataclass(frozen=True)
class RoutingTrace:
    """Experts chosen by every token in every MoE layer.

    Attributes:
        experts: int16 [tokens, layers, k], each row of k experts distinct.
        sequence: int64 [tokens].
        position: int64 [tokens].
        n_experts: routed experts per layer.
    """

    experts: NDArray[np.int16]
    sequence: Int64
    position: Int64
    n_experts: int

    @property
    def n_tokens(self) -> int:
        """Tokens of the trace."""
        return int(self.experts.shape[0])

    def load(self) -> Int64:
        """Return visits of every expert, [layers, experts]."""
        layers = self.experts.shape[1]
        counts = np.zeros((layers, self.n_experts), dtype=np.int64)
        for layer in range(layers):
            counts[layer] = np.bincount(self.experts[:, layer].ravel(), minlength=self.n_experts)
        return counts


def load_trace(path: Path, program: Program) -> RoutingTrace:
    """Read the routing trace of a model.

    How many experts there are and how many a token visits is the model's to say: a trace in
    which the last expert is idle is one of all experts, and one with another number of
    visits is of another model.

    Args:
        path: the file.
        program: the model that it should be of.

    Raises:
        CimsimError: if the file is missing, not an npz of arrays, or not a trace of the model.
    """
    arrays = read_archive(path, ARRAYS, "routing trace")
    if "experts" not in arrays:
        raise CimsimError("the routing trace has no array 'experts'", file=path)
    experts = arrays["experts"]
    if experts.ndim != 3 or not _is_whole(experts) or not experts.size:
        raise CimsimError(
            "'experts' must be integers of shape [tokens, layers, k]",
            file=path,
            value=f"{experts.dtype} {experts.shape}",
        )
    check_experts(experts, program, path)
    _check_distinct(experts, path)
    _check_count(arrays.get("n_experts"), program, path)
    sequence, position = _order(arrays, len(experts), path)
    return RoutingTrace(experts.astype(np.int16), sequence, position, program.n_experts)


def _is_whole(array: Array) -> bool:
    return array.dtype.kind in "iu"


def _check_count(count: Array | None, program: Program, path: Path) -> None:
    """Check the number of experts that a file may state."""
    if count is None:
        return
    if count.ndim or not _is_whole(count):
        raise CimsimError(
            "'n_experts' must be one whole number",
            file=path,
            value=f"{count.dtype} {count.shape}",
        )
    if int(count) != program.n_experts:
        raise CimsimError(
            "the routing trace is of a model with another number of experts",
            file=path,
            key="n_experts",
            value=int(count),
            allowed=f"{program.n_experts} for {program.name}",
        )


def check_experts(experts: NDArray[np.integer], program: Program, path: Path | None = None) -> None:
    """Check that visits are those of a model, in the type that they came in.

    Args:
        experts: any integers [tokens, layers, k].
        program: the model.
        path: file that they are from.

    Raises:
        CimsimError: if layers or visits differ, or naming the token and layer of an expert
            that the model doesn't have.
    """
    wanted = (len(program.moe_layers), program.top_k)
    if experts.shape[1:] != wanted:
        raise CimsimError(
            "the routing trace doesn't fit the model",
            file=path,
            value=f"{experts.shape[1]} MoE layers, top-{experts.shape[2]}",
            allowed=f"{wanted[0]} MoE layers, top-{wanted[1]} for {program.name}",
        )
    wrong = (experts < 0) | (experts >= program.n_experts)
    if wrong.any():
        token, layer, place = np.argwhere(wrong)[0].tolist()
        expert = int(experts[token, layer, place])
        raise CimsimError(
            f"token {token} of the routing trace visits an expert that the model doesn't have, "
            f"in MoE layer {layer}",
            file=path,
            value=expert,
            allowed=f"0 to {program.n_experts - 1}",
            hint="a token that was dropped has to be left out" if expert == -1 else None,
        )


def _check_distinct(experts: NDArray[np.integer], path: Path) -> None:
    """Check that no token visits an expert twice in one layer."""
    ordered = np.sort(experts, axis=2)
    twice = ordered[:, :, 1:] == ordered[:, :, :-1]
    if twice.any():
        token, layer, place = np.argwhere(twice)[0].tolist()
        raise CimsimError(
            f"token {token} of the routing trace visits an expert twice in MoE layer {layer}",
            file=path,
            value=int(ordered[token, layer, place]),
        )


def _order(arrays: dict[str, Array], tokens: int, path: Path) -> tuple[Int64, Int64]:
    """Return sequences and positions; by default one sequence, and positions from 0."""
    found = {}
    for name in ("sequence", "position"):
        values = arrays.get(name)
        if values is None:
            continue
        if values.shape != (tokens,):
            raise CimsimError(f"'{name}' needs one value per token", file=path, value=values.shape)
        if not _is_whole(values):
            raise CimsimError(f"'{name}' must be integers", file=path, value=str(values.dtype))
        wrong = np.flatnonzero((values < 0) | (values > LARGEST_NUMBER))
        if wrong.size:
            raise CimsimError(
                f"'{name}' is out of range at token {wrong[0]}",
                file=path,
                value=int(values[wrong[0]]),
                allowed=f"0 to {LARGEST_NUMBER}",
            )
        found[name] = values.astype(np.int64)
    sequence = found.get("sequence", np.zeros(tokens, dtype=np.int64))
    first = np.flatnonzero(np.diff(sequence, prepend=-1))
    counted = np.arange(tokens) - np.repeat(first, np.diff(first, append=tokens))
    position = found.get("position", counted)
    sequence_starts(sequence, position, path)
    return sequence, position


def sequence_starts(sequence: Int64, position: Int64, path: Path | None = None) -> Int64:
    """Return the first token of every sequence, then the number of tokens.

    Args:
        sequence: int64 [tokens], at least one.
        position: int64 [tokens].
        path: file that they are from.

    Raises:
        CimsimError: naming the first token that is not in order.
    """
    new = sequence[1:] > sequence[:-1]
    next_one = (sequence[1:] == sequence[:-1]) & (position[1:] == position[:-1] + 1)
    wrong = np.flatnonzero(~(new | next_one))
    if wrong.size:
        token = int(wrong[0]) + 1
        raise CimsimError(
            "tokens of a routing trace must be in order of sequence, then consecutive "
            f"positions: token {token} is not",
            file=path,
            value=f"sequence {sequence[token]}, position {position[token]} after "
            f"sequence {sequence[token - 1]}, position {position[token - 1]}",
        )
    inner = np.flatnonzero(new) + 1
    return np.concatenate([[0], inner, [len(sequence)]]).astype(np.int64)


def save_trace(trace: RoutingTrace, path: Path) -> None:
    """Write a routing trace as npz without pickle."""
    np.savez_compressed(
        path,
        experts=trace.experts,
        sequence=trace.sequence,
        position=trace.position,
        n_experts=np.int64(trace.n_experts),
    )
