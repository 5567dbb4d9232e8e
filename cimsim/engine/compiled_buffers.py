"""Kernels of the tile buffers; twins of `TileBuffers`."""

from __future__ import annotations

from cimsim.engine import machine as m
from cimsim.engine.compiled_events import ROOM, push
from cimsim.engine.compiled_sending import send_one
from cimsim.engine.machine_ref import Machine
from cimsim.engine.noc.kernel import inner
from cimsim.engine.raw import QUEUE

__all__ = ["on_room", "release_room", "take_room"]

NONE = -1


@inner
def _need(x: Machine, v: int) -> int:
    """Room that a visit takes in each of its tiles."""
    visit = x.pool[v]
    need = visit[m.V_SIZE] * x.site[visit[m.V_SITE], m.VECTOR_BYTES]
    return int(min(need, x.fixed[m.CAPACITY]))


@inner
def _expire(x: Machine, tile: int) -> None:
    """Give back the room of visits whose last result is computed."""
    row, heap = x.tile[tile], x.releases[x.tile[tile, m.RELEASE] :]
    while row[m.RELEASES] > 0 and heap[0, 0] <= x.now[m.TIME]:
        row[m.HELD] -= heap[0, 1]
        row[m.RELEASES] -= 1
        n = row[m.RELEASES]
        time, size, at = heap[n, 0], heap[n, 1], 0
        while True:
            child = 2 * at + 1
            if child >= n:
                break
            if child + 1 < n and heap[child + 1, 0] < heap[child, 0]:
                child += 1
            if heap[child, 0] >= time:
                break
            heap[at, 0], heap[at, 1] = heap[child, 0], heap[child, 1]
            at = child
        heap[at, 0], heap[at, 1] = time, size


@inner
def _wait(x: Machine, tile: int, v: int) -> None:
    row = x.tile[tile]
    x.pool[v, m.V_WAIT_NEXT] = NONE
    if row[m.WAIT_HEAD] == NONE:
        row[m.WAIT_HEAD] = v
    else:
        x.pool[row[m.WAIT_TAIL], m.V_WAIT_NEXT] = v
    row[m.WAIT_TAIL] = v


@inner
def _take(x: Machine, v: int) -> int:
    """Take room in all tiles of a visit, or queue at the first that has none."""
    site, need = x.site[x.pool[v, m.V_SITE]], _need(x, v)
    for at in range(site[m.TILES], site[m.TILES_END]):
        tile = x.tiles[at]
        _expire(x, tile)
        if x.tile[tile, m.HELD] + need > x.fixed[m.CAPACITY]:
            _wait(x, tile, v)
            return int(tile)
    for at in range(site[m.TILES], site[m.TILES_END]):
        row = x.tile[x.tiles[at]]
        row[m.HELD] += need
        row[m.PEAK] = max(row[m.PEAK], row[m.HELD])
    return NONE


@inner
def take_room(x: Machine, v: int) -> bool:
    """Take room in the buffers of a visit's tiles, or queue for it."""
    site = x.site[x.pool[v, m.V_SITE]]
    queued = NONE
    for at in range(site[m.TILES], site[m.TILES_END]):
        if x.tile[x.tiles[at], m.WAIT_HEAD] != NONE:
            queued = x.tiles[at]
            _wait(x, queued, v)
            break
    if queued == NONE:
        queued = _take(x, v)
    if queued == NONE:
        return True
    x.pool[v, m.V_ASKED] = x.now[m.TIME]
    _arm(x, queued)
    return False


@inner
def _arm(x: Machine, tile: int) -> None:
    """Look at a tile's queue again when its buffer next gets room."""
    row = x.tile[tile]
    if row[m.ARMED] != 0 or row[m.WAIT_HEAD] == NONE or row[m.RELEASES] == 0:
        return
    row[m.ARMED] = 1
    push(x, max(x.releases[row[m.RELEASE], 0], x.now[m.TIME]), ROOM, tile)


@inner
def release_room(x: Machine, v: int) -> None:
    """Note when a visit will give its room back."""
    visit, need = x.pool[v], _need(x, v)
    site = x.site[visit[m.V_SITE]]
    for k in range(site[m.TILES], site[m.TILES_END]):
        row = x.tile[x.tiles[k]]
        heap, at = x.releases[row[m.RELEASE] :], row[m.RELEASES]
        row[m.RELEASES] += 1
        while at > 0 and heap[(at - 1) >> 1, 0] > visit[m.V_FINISH]:
            parent = (at - 1) >> 1
            heap[at, 0], heap[at, 1] = heap[parent, 0], heap[parent, 1]
            at = parent
        heap[at, 0], heap[at, 1] = visit[m.V_FINISH], need
    for k in range(site[m.TILES], site[m.TILES_END]):
        _arm(x, x.tiles[k])


@inner
def on_room(x: Machine, tile: int) -> None:
    """Serve the queue of a tile whose buffer may have room again."""
    row = x.tile[tile]
    row[m.ARMED] = 0
    admitted, last, moved = NONE, NONE, False
    while row[m.WAIT_HEAD] != NONE:
        _expire(x, tile)
        v = row[m.WAIT_HEAD]
        if row[m.HELD] + _need(x, v) > x.fixed[m.CAPACITY]:
            break
        row[m.WAIT_HEAD] = x.pool[v, m.V_WAIT_NEXT]
        if row[m.WAIT_HEAD] == NONE:
            row[m.WAIT_TAIL] = NONE
        elsewhere = _take(x, v)
        if elsewhere == NONE:
            x.pool[v, m.V_WAIT_NEXT] = NONE
            if admitted == NONE:
                admitted = v
            else:
                x.pool[last, m.V_WAIT_NEXT] = v
            last = v
        else:
            moved = True
            x.scratch_tiles[x.now[m.MOVED]] = elsewhere
            x.now[m.MOVED] += 1
    v = admitted
    while v != NONE:
        visit = x.pool[v]
        visit[m.V_PARTS + QUEUE] += x.now[m.TIME] - visit[m.V_ASKED]
        send_one(x, v)
        v = visit[m.V_WAIT_NEXT]
    if moved:
        for k in range(x.now[m.MOVED]):
            _arm(x, x.scratch_tiles[k])
        x.now[m.MOVED] = 0
    _arm(x, tile)
