"""How often digital units read the weights of a matrix: once for all tokens that share them.

In prefill the tokens of a flight share a read. In decode the sequences of a batch go
through a digital matrix together, one token each, as batched inference does: a read is
broadcast to all units and serves every sequence of the step. A routed expert is read once
if any of those tokens chose it, so its reads follow from the routing.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.flights import Flights

__all__ = ["WeightReads", "count_weight_reads"]

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class WeightReads:
    """Mean reads per flight; times the number of flights they are whole numbers.

    Attributes:
        dense: of a matrix that every token uses.
        experts: of the matrices of all routed experts together, an entry an MoE layer, in
            experts.
    """

    dense: Fraction
    experts: tuple[Fraction, ...]


def count_weight_reads(
    flights: Flights, experts: NDArray[np.int16], n_experts: int, batch: int
) -> WeightReads:
    """Count reads over the groups of tokens that share them.

    Args:
        flights: of the phase.
        experts: routing, [tokens, MoE layers, k].
        n_experts: routed experts of a layer.
        batch: sequences at once in decode; ignored in prefill.
    """
    group = _groups(flights, batch)
    groups = int(group.max()) + 1
    distinct = []
    for layer in range(experts.shape[1]):
        chosen = group[:, None] * n_experts + experts[:, layer].astype(np.int64)
        distinct.append(Fraction(len(np.unique(chosen)), flights.count))
    return WeightReads(Fraction(groups, flights.count), tuple(distinct))


def _groups(flights: Flights, batch: int) -> Int64:
    """Return the group of every token, [tokens]."""
    number = np.arange(flights.count, dtype=np.int64)
    if flights.sequential:
        # Sequences enter `batch` at a time; a group is one step of those of one wave.
        step = number - flights.stream_ptr[flights.stream]
        steps = int(step.max()) + 1
        number = np.unique(flights.stream // batch * steps + step, return_inverse=True)[1]
    group = np.empty(int(flights.size.sum()), dtype=np.int64)
    rows = np.repeat(flights.first - np.cumsum(flights.size) + flights.size, flights.size)
    group[rows + np.arange(len(group))] = np.repeat(number, flights.size)
    return group
