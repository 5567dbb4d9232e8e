"""Tile buffers with back-pressure: a visit is sent only when all its tiles have room.

A visit takes room for its inputs and results in every tile of its site at once, before its
inputs leave the digital unit, and gives it back when its last result is computed. Taking
all or nothing means that nobody holds room while waiting for more, so visits cannot wait
for each other in a circle. A visit larger than a buffer is streamed through it and takes
all of it. Queues are first come first served at each tile.
"""

from __future__ import annotations

from cimsim.engine.events.machine import Machine
from cimsim.engine.events.schedule import ROOM, push
from cimsim.engine.events.sending import send_one
from cimsim.engine.noc.kernel import inlined, inner
from cimsim.engine.raw import QUEUE

__all__ = ["on_room", "release_room", "take_room"]

NONE = -1


@inner
def _need(x: Machine, v: int) -> int:
    """Room that a visit takes in each of its tiles."""
    visit = x.visit[v]
    return int(min(visit.size * x.site[visit.site].vector_bytes, x.fixed[0].capacity_bytes))


@inner
def _expire(x: Machine, tile: int) -> None:
    """Give back the room of visits whose last result is computed."""
    row, heap = x.tile[tile], x.releases[x.tile[tile].release :]
    while row.releases > 0 and heap[0].time_ps <= x.now[0].time_ps:
        row.held_bytes -= heap[0].bytes
        row.releases -= 1
        n = row.releases
        last, at = heap[n], 0
        while True:
            child = 2 * at + 1
            if child >= n:
                break
            if child + 1 < n and heap[child + 1].time_ps < heap[child].time_ps:
                child += 1
            if heap[child].time_ps >= last.time_ps:
                break
            heap[at] = heap[child]
            at = child
        heap[at] = last


@inner
def _wait(x: Machine, tile: int, v: int) -> None:
    row = x.tile[tile]
    x.visit[v].wait_next = NONE
    if row.head == NONE:
        row.head = v
    else:
        x.visit[row.tail].wait_next = v
    row.tail = v


@inner
def _take(x: Machine, v: int) -> int:
    """Take room in all tiles of a visit, or queue at the first that has none."""
    site, need = x.site[x.visit[v].site], _need(x, v)
    for at in range(site.tiles, site.tiles_end):
        tile = x.tiles[at]
        _expire(x, tile)
        if x.tile[tile].held_bytes + need > x.fixed[0].capacity_bytes:
            _wait(x, tile, v)
            return int(tile)
    for at in range(site.tiles, site.tiles_end):
        row = x.tile[x.tiles[at]]
        row.held_bytes += need
        row.peak_bytes = max(row.peak_bytes, row.held_bytes)
    return NONE


@inner
def take_room(x: Machine, v: int) -> bool:
    """Take room in the buffers of a visit's tiles, or queue for it."""
    site = x.site[x.visit[v].site]
    queued = NONE
    for at in range(site.tiles, site.tiles_end):
        if x.tile[x.tiles[at]].head != NONE:
            queued = x.tiles[at]
            _wait(x, queued, v)
            break
    if queued == NONE:
        queued = _take(x, v)
    if queued == NONE:
        return True
    x.visit[v].asked_ps = x.now[0].time_ps
    _arm(x, queued)
    return False


@inner
def _arm(x: Machine, tile: int) -> None:
    """Look at a tile's queue again when its buffer next gets room."""
    row = x.tile[tile]
    if row.armed != 0 or row.head == NONE or row.releases == 0:
        return
    row.armed = 1
    push(x, max(x.releases[row.release].time_ps, x.now[0].time_ps), ROOM, tile)


@inner
def release_room(x: Machine, v: int) -> None:
    """Note when a visit will give its room back."""
    visit, need = x.visit[v], _need(x, v)
    site = x.site[visit.site]
    for k in range(site.tiles, site.tiles_end):
        row = x.tile[x.tiles[k]]
        heap, at = x.releases[row.release :], row.releases
        row.releases += 1
        while at > 0 and heap[(at - 1) >> 1].time_ps > visit.finish_ps:
            heap[at] = heap[(at - 1) >> 1]
            at = (at - 1) >> 1
        heap[at].time_ps, heap[at].bytes = visit.finish_ps, need
    for k in range(site.tiles, site.tiles_end):
        _arm(x, x.tiles[k])


@inlined
def on_room(x: Machine, tile: int) -> None:
    """Serve the queue of a tile whose buffer may have room again."""
    row, now = x.tile[tile], x.now[0]
    row.armed = 0
    admitted, last = NONE, NONE
    while row.head != NONE:
        _expire(x, tile)
        v = row.head
        if row.held_bytes + _need(x, v) > x.fixed[0].capacity_bytes:
            break
        row.head = x.visit[v].wait_next
        if row.head == NONE:
            row.tail = NONE
        elsewhere = _take(x, v)
        if elsewhere == NONE:
            x.visit[v].wait_next = NONE
            if admitted == NONE:
                admitted = v
            else:
                x.visit[last].wait_next = v
            last = v
        else:
            x.scratch_tiles[now.moved] = elsewhere
            now.moved += 1
    v = admitted
    while v != NONE:
        visit = x.visit[v]
        x.visit_parts[v, QUEUE] += now.time_ps - visit.asked_ps
        send_one(x, v)
        v = visit.wait_next
    for k in range(now.moved):
        _arm(x, x.scratch_tiles[k])
    now.moved = 0
    _arm(x, tile)
