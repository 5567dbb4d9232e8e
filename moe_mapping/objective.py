"""The one objective that all policies share, its parts, and its lower bound.

    value = w_time * slowest / even + w_layers * serial / alone
          + w_hops * hop_bytes / random_hop_bytes
          + w_replicas * replica_crossbars / needed + w_migration * rewritten / needed

`slowest` is the busy time of the slowest tile: the time of a window where many tokens are
in flight, each in another layer. `serial` is the sum over layers of the slowest tile of that
layer: the time where all tokens are in the same layer, as when a batch enters at once, and
what a group of tokens waits for from layer to layer. A window takes at least the first, and
with layers that overlap less and less up to the second. With a single layer they are the
same, and the second costs nothing.

`even` is the total busy time, each copy on as few tiles as its size allows, spread
perfectly over all tiles; `alone` the sum over layers of the busiest unit, one copy each;
`random_hop_bytes` the traffic times the mean hops between two tiles, `needed` the crossbars
of one copy of everything. Dividing makes the weights mean the same on every chip.

This module follows the equations in NumPy; `moe_mapping.state` keeps the same numbers up
to date move by move, and a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from moe_mapping.assignment import Assignment
from moe_mapping.problem import MappingProblem

__all__ = [
    "Objective",
    "Scale",
    "evaluate",
    "layer_times_ps",
    "lower_bound_ps",
    "scale_of",
    "serial_bound_ps",
    "tile_times_ps",
]

Floats = NDArray[np.float64]


class Scale(NamedTuple):
    """Price of one unit of every part of the objective, in the order of `Fixed.price`."""

    per_ps: float
    per_hop_byte: float
    per_replica_crossbar: float
    per_rewritten_crossbar: float
    per_layer_ps: float


@dataclass(frozen=True)
class Objective:
    """Value of the objective and its parts in their own units.

    Attributes:
        value: weighted sum, dimensionless, lower is better.
        slowest_tile_ps: busy time of the slowest tile.
        serial_ps: sum over layers of the busy time of the layer's slowest tile.
        even_tile_ps: busy time of every tile if the copies' time were spread evenly.
        hop_bytes: bytes times hops over all pairs of units, each pair once.
        replica_crossbars: crossbars in extra copies.
        rewritten_crossbars: crossbars programmed to leave the current assignment; 0
            without one.
    """

    value: float
    slowest_tile_ps: float
    serial_ps: float
    even_tile_ps: float
    hop_bytes: float
    replica_crossbars: int
    rewritten_crossbars: int

    @property
    def balance(self) -> float | None:
        """Slowest / even tile time, None for a chip without load."""
        return self.slowest_tile_ps / self.even_tile_ps if self.even_tile_ps else None


def scale_of(problem: MappingProblem) -> Scale:
    """Return the price of every part for this problem (see the module's equation)."""
    weights, needed = problem.weights, problem.crossbars_needed
    even, tiles = _even_ps(problem), problem.n_tiles
    mean_hops = float(problem.hops.sum()) / max(1, tiles * (tiles - 1))
    random_hop_bytes = float(problem.traffic_bytes.sum()) / 2.0 * mean_hops
    migration = weights.migration if problem.current is not None else 0.0
    alone = float(_busiest_of_layers(problem).sum())
    layered = alone > 0.0 and np.unique(problem.layer).size > 1
    return Scale(
        per_ps=weights.time / even if even else 0.0,
        per_layer_ps=weights.layers / alone if layered else 0.0,
        per_hop_byte=weights.hop_bytes / random_hop_bytes if random_hop_bytes else 0.0,
        per_replica_crossbar=weights.replicas / needed,
        per_rewritten_crossbar=migration / needed,
    )


def tile_times_ps(problem: MappingProblem, assignment: Assignment) -> Floats:
    """Return the busy time of every tile, [T].

    A tile is busy for the share of every copy that it holds a part of: the crossbars of
    a copy work at the same time, so each of its tiles is busy for the whole visit.
    """
    times = np.zeros(problem.n_tiles)
    for unit, copies in enumerate(assignment.copies):
        share = problem.time_ps[unit] / len(copies)
        for copy in copies:
            for tile, _ in copy:
                times[tile] += share
    return times


def layer_times_ps(problem: MappingProblem, assignment: Assignment) -> Floats:
    """Return the busy time of every tile by layer, [L, T], layers rising."""
    layers, row = np.unique(problem.layer, return_inverse=True)
    times = np.zeros((layers.size, problem.n_tiles))
    for unit, copies in enumerate(assignment.copies):
        for copy in copies:
            for tile, _ in copy:
                times[row[unit], tile] += problem.time_ps[unit] / len(copies)
    return times


def presence(problem: MappingProblem, assignment: Assignment) -> sparse.csr_array:
    """Return the share of a unit's traffic that starts or ends on a tile, [U, T]."""
    rows, columns, shares = [], [], []
    for unit, copies in enumerate(assignment.copies):
        for copy in copies:
            for tile, crossbars in copy:
                rows.append(unit)
                columns.append(tile)
                shares.append(crossbars / (problem.crossbars[unit] * len(copies)))
    shape = (problem.n_units, problem.n_tiles)
    return sparse.csr_array(sparse.coo_array((shares, (rows, columns)), shape=shape))


def hop_bytes(problem: MappingProblem, assignment: Assignment) -> float:
    """Return traffic x expected hops over all pairs of units, each pair once.

    Expected hops of a pair = sum over tiles i, j of share_u(i) share_v(j) hops(i, j):
    the copies of two units are chosen independently of each other.
    """
    share = presence(problem, assignment)
    reach = share @ problem.hops  # [U, T], mean hops from a unit to every tile
    pairs = sparse.coo_array(problem.traffic_bytes)
    total = 0.0
    step = 4096  # pairs at a time, so that memory stays small
    rows, columns = pairs.coords
    for start in range(0, pairs.nnz, step):
        u, v = rows[start : start + step], columns[start : start + step]
        hops = (reach[u] * share[v].toarray()).sum(axis=1)
        total += float((pairs.data[start : start + step] * hops).sum())
    return total / 2.0


def evaluate(problem: MappingProblem, assignment: Assignment) -> Objective:
    """Return the objective of an assignment, straight from the equations."""
    times = tile_times_ps(problem, assignment)
    slowest = float(times.max())
    bytes_hops = hop_bytes(problem, assignment) if problem.traffic_bytes.nnz else 0.0
    replicas = int(np.dot(assignment.counts() - 1, problem.crossbars))
    rewritten = 0 if problem.current is None else assignment.rewritten(problem.current)
    price = scale_of(problem)
    serial = float(layer_times_ps(problem, assignment).max(axis=1).sum())
    value = (
        price.per_ps * slowest
        + price.per_layer_ps * serial
        + price.per_hop_byte * bytes_hops
        + price.per_replica_crossbar * replicas
        + price.per_rewritten_crossbar * rewritten
    )
    even = float(times.sum()) / problem.n_tiles
    return Objective(value, slowest, serial, even, bytes_hops, replicas, rewritten)


def lower_bound_ps(problem: MappingProblem) -> float:
    """Return a time that no assignment's slowest tile can beat.

    The largest of: the even spread, where a copy larger than a tile keeps several busy;
    and the largest share of a unit after greedy replication, which no other choice of
    copies can lower, since each step splits the only share that sets the maximum. Where
    every crossbar is taken by equal units without replicas, the hottest unit's tile must
    also hold the coldest ones.
    """
    times = problem.time_ps
    bound = max(_even_ps(problem), _largest_share(problem))
    sizes = problem.crossbars
    full = problem.crossbars_needed == problem.crossbars_available
    equal = bool((sizes == sizes[0]).all()) and bool((problem.capacity % sizes[0] == 0).all())
    if full and equal and (problem.capacity == problem.capacity[0]).all():
        slots = int(problem.capacity[0] // sizes[0])
        ordered = np.sort(times)
        bound = max(bound, float(ordered[-1] + ordered[: slots - 1].sum()))
    return bound


def serial_bound_ps(problem: MappingProblem) -> float:
    """Return a time that no assignment's sum over layers of the slowest tile can beat.

    In a layer with c crossbars for replicas no tile does better than the even spread, nor
    than the largest share after greedy replication. The budget is shared by all layers: the
    sum is bounded from below by the lower convex hulls of these curves, along which the
    steepest parts are bought first.
    """
    steps: list[tuple[float, float]] = []  # (time saved per crossbar, crossbars)
    start = 0.0
    for layer in np.unique(problem.layer):
        curve = _layer_curve(problem, np.flatnonzero(problem.layer == layer))
        start += curve[0][1]
        hull = [curve[0]]
        while hull[-1] != curve[-1]:
            x, y = hull[-1]
            later = [point for point in curve if point[0] > x]
            hull.append(max(later, key=lambda p: ((y - p[1]) / (p[0] - x), p[0])))
            steps.append(((y - hull[-1][1]) / (hull[-1][0] - x), hull[-1][0] - x))
    left = float(problem.budget)
    for slope, crossbars in sorted(steps, reverse=True):
        used = min(left, crossbars)
        start -= slope * used
        left -= used
    return start


def _layer_curve(problem: MappingProblem, units: NDArray[np.int64]) -> list[tuple[float, float]]:
    """Return (crossbars for replicas, least slowest-tile time) of one layer, times falling."""
    parts = -(-problem.crossbars[units] // problem.capacity.max())
    even = float((problem.time_ps[units] * parts).sum()) / problem.n_tiles
    counts, spent = np.ones(units.size), 0.0
    shares = problem.time_ps[units].copy()
    curve = [(0.0, max(even, float(shares.max())))]
    while curve[-1][1] > even:
        at = int(np.argmax(shares))
        spent += float(problem.crossbars[units[at]])
        if not problem.replicable[units[at]] or counts[at] >= problem.n_tiles:
            break
        if spent > problem.budget:
            break
        counts[at] += 1
        shares[at] = problem.time_ps[units[at]] / counts[at]
        time = max(even, float(shares.max()))
        if time < curve[-1][1]:
            curve.append((spent, time))
    return curve


def _busiest_of_layers(problem: MappingProblem) -> Floats:
    """Return the time of the busiest unit of every layer, [L]."""
    layers, row = np.unique(problem.layer, return_inverse=True)
    busiest = np.zeros(layers.size)
    np.maximum.at(busiest, row, problem.time_ps)
    return busiest


def _even_ps(problem: MappingProblem) -> float:
    """Return the tile time of a perfectly even spread over as few parts as possible."""
    parts = -(-problem.crossbars // problem.capacity.max())
    return float((problem.time_ps * parts).sum()) / problem.n_tiles


def _largest_share(problem: MappingProblem) -> float:
    """Return the smallest possible largest share under the replica budget."""
    counts = np.ones(problem.n_units)
    left = problem.budget
    shares = problem.time_ps.copy()
    while True:
        unit = int(np.argmax(shares))
        if not problem.replicable[unit] or counts[unit] >= problem.n_tiles:
            return float(shares[unit])
        left -= int(problem.crossbars[unit])
        if left < 0:
            return float(shares[unit])
        counts[unit] += 1
        shares[unit] = problem.time_ps[unit] / counts[unit]
