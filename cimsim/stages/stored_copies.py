"""Copies of matrices on crossbars, written when they are asked for.

What is in a cell is a function of its address, so that a copy written again is the same copy. A
model of any size thus passes through memory layer by layer: the copies asked for last are kept, up
to some bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from threading import Lock

from cimsim.stages.copy import Copy
from cimsim.workload.matrix import MatrixId

__all__ = ["Maker", "StoredCopies"]

Maker = Callable[[], tuple[Copy, ...]]


class StoredCopies(Mapping[MatrixId, tuple[Copy, ...]]):
    """Copies of every analog matrix, in replica order.

    Args:
        makers: write the copies of a matrix.
        most_bytes: that are kept; those of one matrix are kept however large they are.
    """

    def __init__(self, makers: Mapping[MatrixId, Maker], most_bytes: int) -> None:
        self._makers, self._most, self._held = dict(makers), most_bytes, 0
        self._kept: OrderedDict[MatrixId, tuple[Copy, ...]] = OrderedDict()
        self._lock = Lock()  # devices that share layers ask from a thread each
        self._passed: frozenset[MatrixId] = frozenset()

    @classmethod
    def of(cls, copies: Mapping[MatrixId, tuple[Copy, ...]]) -> StoredCopies:
        """Return copies that have been written; all are kept."""
        return cls({matrix: partial(tuple, some) for matrix, some in copies.items()}, 0)

    def changed(self, makers: Mapping[MatrixId, Maker]) -> StoredCopies:
        """Return other copies; what has the maker that `makers` gave is that of this object."""
        first = self.makers()
        found = StoredCopies(makers, self._most)
        found._passed = frozenset(m for m, maker in makers.items() if maker == first.get(m))
        return found

    def makers(self) -> dict[MatrixId, Maker]:
        """Return what gives the copies of this object, by matrix."""
        return {matrix: _Given(self, matrix) for matrix in self._makers}

    def kept(self) -> Iterator[Copy]:
        """Yield the copies that are in memory."""
        for copies in self._kept.values():
            yield from copies

    def __getitem__(self, matrix: MatrixId) -> tuple[Copy, ...]:
        if matrix in self._passed:
            return self._makers[matrix]()
        with self._lock:
            if matrix in self._kept:
                self._kept.move_to_end(matrix)
                return self._kept[matrix]
        found = self._makers[matrix]()  # of another matrix in every thread
        with self._lock:
            self._held += _bytes(found)
            while self._kept and self._held > self._most:
                self._held -= _bytes(self._kept.popitem(last=False)[1])
            self._kept[matrix] = found
        return found

    def __contains__(self, matrix: object) -> bool:
        return matrix in self._makers

    def __iter__(self) -> Iterator[MatrixId]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


class _Given:
    """Gives the copies of a matrix that another object keeps."""

    def __init__(self, copies: StoredCopies, matrix: MatrixId) -> None:
        self._copies, self._matrix = copies, matrix

    def __call__(self) -> tuple[Copy, ...]:
        return self._copies[self._matrix]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Given):
            return False
        return self._copies is other._copies and self._matrix == other._matrix

    def __hash__(self) -> int:
        return hash((id(self._copies), self._matrix))


def _bytes(copies: tuple[Copy, ...]) -> int:
    return sum(copy.held_bytes for copy in copies)
