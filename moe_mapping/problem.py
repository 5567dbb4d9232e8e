"""The mapping problem: units to place on tiles, what they cost, and what matters."""

from __future__ import annotations

from collections.abc import Hashable
from copy import copy as shallow
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cimsim.errors import CimsimError
from moe_mapping.assignment import Assignment, Copy

__all__ = ["MappingProblem", "Weights", "no_traffic"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_BLOCK = 512  # rows and columns that are compared at once: both fit into the cache of a core


@dataclass(frozen=True)
class Weights:
    """What each part of the objective is worth; all parts are dimensionless.

    Attributes:
        time: of slowest-tile time / perfectly even tile time. 1 is a balanced chip.
        layers: of the sum over layers of the layer's slowest-tile time / that of every unit
            alone on a tile, one copy each; nothing where there is a single layer.
        hop_bytes: of hop-bytes / mean hop-bytes of a random placement. Little by default:
            experts that crowd around their layer's attention save less time on links than
            they lose waiting for each other.
        replicas: of crossbars in extra copies / crossbars of one copy of everything.
        migration: of crossbars rewritten / crossbars of one copy of everything; counts
            only where the problem has a current assignment.
    """

    time: float = 1.0
    layers: float = 0.5
    hop_bytes: float = 0.002
    replicas: float = 0.01
    migration: float = 0.05

    def __post_init__(self) -> None:
        for name in ("time", "layers", "hop_bytes", "replicas", "migration"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise CimsimError(
                    f"weight {name} of the mapping objective must be a number >= 0",
                    key=f"mapping.weights.{name}",
                    value=value,
                )


@dataclass(frozen=True, eq=False)
class MappingProblem:
    """Units (experts, dense blocks) to be placed on the crossbars of tiles.

    A unit may be larger than the free room of any tile: its copy then takes parts of
    several tiles, all of which are busy while it serves a visit. Replicas share the load
    of a unit evenly.

    Attributes:
        units: names, each once; sortable among themselves or by their repr.
        layer: int64 [U], decoder layer of every unit.
        crossbars: int64 [U], crossbars that one copy takes.
        time_ps: float64 [U], busy time of one copy that serves the whole load.
        replicable: bool [U], whether a unit may have more than one copy.
        traffic_bytes: symmetric sparse [U, U], bytes between units in the window.
        capacity: int64 [T], crossbars of every tile.
        hops: signed integers [T, T], links between tiles, symmetric with zero diagonal. Of 19,000
            tiles they take 0.7 GB as int16 and 3 GB as int64.
        current: what is programmed now, or None for an empty chip.
        replica_budget: crossbars that extra copies may take; None = all that are spare.
        weights: of the objective's parts.
        group: int64 [U], expert group (hierarchical policies); None = one group.
        node: int64 [T], node of every tile (hierarchical policies); None = one node.
    """

    units: tuple[Hashable, ...]
    layer: Ints
    crossbars: Ints
    time_ps: Floats
    replicable: NDArray[np.bool_]
    traffic_bytes: Any
    capacity: Ints
    hops: NDArray[np.signedinteger]
    current: Assignment | None = None
    replica_budget: int | None = None
    weights: Weights = field(default_factory=Weights)
    group: Ints | None = None
    node: Ints | None = None

    def __post_init__(self) -> None:
        n_units, n_tiles = len(self.units), np.asarray(self.capacity).size
        self._array("layer", self.layer, np.int64, (n_units,))
        self._array("crossbars", self.crossbars, np.int64, (n_units,), least=1)
        self._array("time_ps", self.time_ps, np.float64, (n_units,), least=0)
        self._array("replicable", self.replicable, np.bool_, (n_units,))
        self._array("capacity", self.capacity, np.int64, (n_tiles,), least=0)
        hops = np.asarray(self.hops).dtype
        kind = hops.newbyteorder("=") if hops.kind == "i" else np.int64
        self._array("hops", self.hops, kind, (n_tiles, n_tiles), least=0)
        if self.group is not None:
            self._array("group", self.group, np.int64, (n_units,), least=0)
        if self.node is not None:
            self._array("node", self.node, np.int64, (n_tiles,), least=0)
        if n_units == 0 or n_tiles == 0:
            raise CimsimError("a mapping needs at least one unit and one tile")
        if len(set(self.units)) != n_units:
            raise CimsimError("two units of a mapping have the same name")
        if not _is_symmetric(self.hops):
            raise CimsimError("hops of a mapping must be the same both ways")
        self._set("traffic_bytes", self._symmetric_traffic())
        short = self.crossbars_needed - self.crossbars_available
        if short > 0:
            raise CimsimError(
                f"the model needs {self.crossbars_needed} crossbars and the chip has "
                f"{self.crossbars_available}: {short} short",
                hint="use more tiles or a smaller model",
            )
        if self.replica_budget is None:
            self._set("replica_budget", -short)
        elif self.replica_budget < 0:
            raise CimsimError(
                "the crossbars for replicas must be >= 0",
                key="replica_budget",
                value=self.replica_budget,
            )
        if self.current is not None:
            self.check(self.current)

    def _array(
        self, name: str, value: Any, kind: Any, shape: tuple[int, ...], least: float | None = None
    ) -> None:
        array = np.asarray(value)
        if array.shape != shape:
            raise CimsimError(
                f"{name} of a mapping has the wrong shape", value=array.shape, allowed=str(shape)
            )
        if kind is np.float64 and not np.all(np.isfinite(array)):
            bad = int(np.flatnonzero(~np.isfinite(array))[0])
            raise CimsimError(f"{name} of unit {self.units[bad]} is not a finite number")
        array = np.ascontiguousarray(array, dtype=kind)
        if least is not None and array.size and array.min() < least:
            raise CimsimError(
                f"{name} of a mapping has a value that is too small",
                value=array.min().item(),
                allowed=f">= {least}",
            )
        array = array if array is not value else array.view()
        array.setflags(write=False)
        self._set(name, array)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _symmetric_traffic(self) -> sparse.csr_array:
        n_units = len(self.units)
        traffic = sparse.csr_array(self.traffic_bytes, dtype=np.float64, copy=True)
        if traffic.shape != (n_units, n_units):
            raise CimsimError(
                "traffic of a mapping has the wrong shape",
                value=traffic.shape,
                allowed=str((n_units, n_units)),
            )
        if not traffic.nnz:
            return traffic
        traffic.sum_duplicates()
        traffic.setdiag(0.0)
        traffic.eliminate_zeros()
        traffic.sort_indices()
        if traffic.nnz and not (np.isfinite(traffic.data).all() and traffic.data.min() > 0):
            raise CimsimError("traffic of a mapping must be finite and >= 0")
        asymmetry = abs(traffic - traffic.T)
        if asymmetry.nnz and asymmetry.data.max() > 1e-9 * traffic.data.max():
            raise CimsimError("traffic of a mapping must be the same both ways")
        return traffic

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.units)

    @property
    def n_tiles(self) -> int:
        """Number of tiles."""
        return int(self.capacity.size)

    @property
    def crossbars_needed(self) -> int:
        """Crossbars of one copy of every unit."""
        return int(self.crossbars.sum())

    @property
    def crossbars_available(self) -> int:
        """Crossbars of all tiles."""
        return int(self.capacity.sum())

    @property
    def budget(self) -> int:
        """Crossbars that extra copies may take: the limit given, but never more than spare."""
        spare = self.crossbars_available - self.crossbars_needed
        return spare if self.replica_budget is None else min(self.replica_budget, spare)

    def check(self, assignment: Assignment) -> None:
        """Check that every unit is placed whole and no tile holds more than it can.

        Raises:
            CimsimError: with the crossbars needed and available.
        """
        if len(assignment.copies) != self.n_units:
            raise CimsimError(
                "an assignment needs copies of every unit",
                value=len(assignment.copies),
                allowed=str(self.n_units),
            )
        for unit, copies in enumerate(assignment.copies):
            self._check_unit(unit, copies)
        used = assignment.used(self.n_tiles)
        over = np.flatnonzero(used > self.capacity)
        if over.size:
            tile = int(over[0])
            need, have = int(used[tile]), int(self.capacity[tile])
            raise CimsimError(
                f"tile {tile} needs {need} crossbars and has {have} available: {need - have} short"
            )

    def _check_unit(self, unit: int, copies: tuple[Copy, ...]) -> None:
        name, need = self.units[unit], int(self.crossbars[unit])
        if not copies:
            raise CimsimError(f"unit {name} is not placed")
        if len(copies) > 1 and not self.replicable[unit]:
            raise CimsimError(f"unit {name} has {len(copies)} copies and may have only one")
        for copy in copies:
            tiles = [tile for tile, _ in copy]
            if len(set(tiles)) != len(tiles):
                raise CimsimError(f"a copy of unit {name} names a tile twice")
            if not all(0 <= t < self.n_tiles and x > 0 for t, x in copy):
                raise CimsimError(f"a copy of unit {name} sits on a tile that does not exist")
            have = sum(x for _, x in copy)
            if have != need:
                raise CimsimError(
                    f"a copy of unit {name} needs {need} crossbars and is given {have}"
                )

    def reorder(self, order: Ints) -> MappingProblem:
        """Return the same problem with its units listed in another order.

        Args:
            order: int64 [U], old index of every new position.
        """
        current, traffic = self.current, self.traffic_bytes
        # As valid as this one: checking it again takes a second on a large chip, for its hops.
        found = shallow(self)
        for name in ("layer", "crossbars", "time_ps", "replicable", "group"):
            array = getattr(self, name)
            if array is not None:
                array = array[order]
                array.setflags(write=False)
                found._set(name, array)
        found._set("units", tuple(self.units[i] for i in order))
        if traffic.nnz:
            traffic = traffic[order][:, order]
            traffic.sort_indices()
            found._set("traffic_bytes", traffic)
        if current is not None:
            found._set("current", current.reorder(order))
        return found


def _is_symmetric(table: NDArray[np.signedinteger]) -> bool:
    """Tell whether a square table is its own transpose; a block at a time, each pair once."""
    starts = range(0, len(table), _BLOCK)
    blocks = [slice(start, start + _BLOCK) for start in starts]
    return all(
        np.array_equal(table[rows, columns], table[columns, rows].T)
        for i, rows in enumerate(blocks)
        for columns in blocks[i:]
    )


def no_traffic(n_units: int) -> sparse.csr_array:
    """Return the traffic of units that never talk to each other, [U, U]."""
    return sparse.csr_array((n_units, n_units), dtype=np.float64)
