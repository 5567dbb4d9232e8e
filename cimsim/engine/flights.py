"""Streams and flights: which tokens travel together, and in which order they enter.

A *stream* is a run of tokens of one sequence that follow each other: a window in prefill, a
sequence (or part of one) in decode. Prefill cuts it into flights of `run.flight_tokens`
that enter together; decode makes every token a flight that starts when the one before it
is complete.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.config import ChipConfig
from cimsim.errors import CimsimError
from cimsim.workload.trace import RoutingTrace, sequence_starts

__all__ = ["Flights", "build_flights"]

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Flights:
    """Flights of a phase, in order of stream, then position.

    Attributes:
        first: [F], first token (row of the trace).
        size: [F], tokens.
        stream: [F].
        needs: [F], earlier flights of the stream whose keys and values it attends to.
        past: [F], positions of the sequence before its first token.
        stream_ptr: [S + 1], flights of a stream.
        sequential: whether a flight starts when its predecessor is complete (decode).
    """

    first: Int64
    size: Int64
    stream: Int64
    needs: Int64
    past: Int64
    stream_ptr: Int64
    sequential: bool

    @property
    def count(self) -> int:
        """Number of flights."""
        return len(self.first)

    @property
    def n_streams(self) -> int:
        """Number of streams."""
        return len(self.stream_ptr) - 1

    def context_sum(self) -> Int64:
        """Positions attended to, summed over the tokens of each flight (own included)."""
        return self.size * self.past + self.size * (self.size + 1) // 2


def build_flights(config: ChipConfig, trace: RoutingTrace, phase: str, batch: int) -> Flights:
    """Cut a trace into flights.

    Decode splits sequences into equal parts where there are fewer sequences than `batch`:
    each part continues from the keys and values of the positions before it, as after a
    prefill, so that the batch is full.

    Raises:
        CimsimError: if tokens are not in order of sequence and position.
    """
    if trace.n_tokens == 0:
        raise CimsimError("the routing trace holds no token")
    if int(trace.position.min()) < 0:
        raise CimsimError("a position of a routing trace is negative")
    starts = sequence_starts(trace.sequence, trace.position)
    if phase == "prefill":
        sizes, sequential = config.run.flight_tokens, False
    else:
        sizes, sequential = 1, True
        starts = _split(starts, batch)
    first: list[Int64] = []
    size: list[Int64] = []
    pointer = [0]
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        firsts = np.arange(start, end, sizes, dtype=np.int64)
        first.append(firsts)
        size.append(np.minimum(sizes, end - firsts))
        pointer.append(pointer[-1] + len(firsts))
    ptr = np.array(pointer, dtype=np.int64)
    counts = np.diff(ptr)
    firsts = np.concatenate(first)
    index = np.arange(ptr[-1]) - np.repeat(ptr[:-1], counts)
    return Flights(
        first=firsts,
        size=np.concatenate(size),
        stream=np.repeat(np.arange(len(counts), dtype=np.int64), counts),
        needs=index.astype(np.int64),
        past=trace.position[firsts].astype(np.int64),
        stream_ptr=ptr,
        sequential=sequential,
    )


def _split(starts: Int64, batch: int) -> Int64:
    """Split runs evenly until there are at least `batch` (or single tokens)."""
    parts = -(-batch // (len(starts) - 1))
    if parts <= 1:
        return starts
    cuts = [
        np.linspace(a, b, min(parts, b - a) + 1).astype(np.int64)[:-1]
        for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    ]
    return np.concatenate([*cuts, starts[-1:]])
