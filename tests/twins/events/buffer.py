"""Tile buffers with back-pressure: a visit is sent only when all its tiles have room.

A visit takes room for its inputs and results in every tile of its site at once, before its
inputs leave the digital unit, and gives it back when its last result is computed. Taking
all or nothing means that nobody holds room while waiting for more, so visits cannot wait
for each other in a circle. A visit larger than a buffer is streamed through it and takes
all of it. Queues are first come first served at each tile.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from itertools import pairwise

from cimsim.engine.plan import Plan
from tests.twins.events.visit import Visit

__all__ = ["TileBuffers"]

NONE = -1


class TileBuffers:
    """State of the buffers of all tiles."""

    def __init__(self, plan: Plan) -> None:
        sites, n_tiles = plan.sites, plan.mesh.n_tiles
        pointer = sites.tile_ptr.tolist()
        self._tiles: list[list[int]] = [sites.tiles[a:b].tolist() for a, b in pairwise(pointer)]
        self._vector_bytes: list[int] = sites.buffer_bytes.tolist()
        self._capacity = plan.tile_buffer_bytes
        self._held = [0] * n_tiles
        self._releases: list[list[tuple[int, int]]] = [[] for _ in range(n_tiles)]
        self._armed = [False] * n_tiles
        self.queues: list[deque[Visit]] = [deque() for _ in range(n_tiles)]
        self.peak_bytes = [0] * n_tiles

    def need_bytes(self, visit: Visit) -> int:
        """Return the room that a visit takes in each of its tiles."""
        return min(visit.size * self._vector_bytes[visit.site], self._capacity)

    def admit(self, visit: Visit, now_ps: int) -> int:
        """Take room for a visit; return -1, or the tile in whose queue it now waits."""
        for tile in self._tiles[visit.site]:
            if self.queues[tile]:
                self.queues[tile].append(visit)
                return tile
        return self._take(visit, now_ps)

    def _take(self, visit: Visit, now_ps: int) -> int:
        """Take room, or queue at the first tile that has none; return that tile or -1."""
        tiles, need = self._tiles[visit.site], self.need_bytes(visit)
        for tile in tiles:
            self._expire(tile, now_ps)
            if self._held[tile] + need > self._capacity:
                self.queues[tile].append(visit)
                return tile
        for tile in tiles:
            self._held[tile] += need
            self.peak_bytes[tile] = max(self.peak_bytes[tile], self._held[tile])
        return NONE

    def _expire(self, tile: int, now_ps: int) -> None:
        """Give back the room of visits whose last result is computed."""
        releases = self._releases[tile]
        while releases and releases[0][0] <= now_ps:
            self._held[tile] -= heappop(releases)[1]

    def release(self, visit: Visit) -> list[int]:
        """Note when a visit will give its room back; return its tiles where others wait."""
        need = self.need_bytes(visit)
        for tile in self._tiles[visit.site]:
            heappush(self._releases[tile], (visit.finish_ps, need))
        return [t for t in self._tiles[visit.site] if self.queues[t]]

    def next_try_ps(self, tile: int) -> int:
        """Return when to look at a tile's queue, or -1 if that is known or not yet known."""
        if self._armed[tile] or not self.queues[tile] or not self._releases[tile]:
            return NONE
        self._armed[tile] = True
        return self._releases[tile][0][0]

    def retry(self, tile: int, now_ps: int) -> tuple[list[Visit], list[int]]:
        """Serve the queue of a tile.

        Returns:
            Visits that got room, and other tiles in whose queue one now waits.
        """
        self._armed[tile] = False
        admitted: list[Visit] = []
        moved: list[int] = []
        queue = self.queues[tile]
        while queue:
            self._expire(tile, now_ps)
            need = self.need_bytes(queue[0])
            if self._held[tile] + need > self._capacity:
                break
            visit = queue.popleft()
            elsewhere = self._take(visit, now_ps)
            if elsewhere == NONE:
                admitted.append(visit)
            else:
                moved.append(elsewhere)
        return admitted, moved
