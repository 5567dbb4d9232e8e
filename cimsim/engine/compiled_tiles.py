"""Kernels of the tile side of the compiled engine: visits, buffers, network, switching.

Function for function the same model as `reference_tiles`, `buffer` and `residency`; read
those first.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cimsim.engine import machine as m
from cimsim.engine.machine_ref import Machine
from cimsim.engine.plan import LFU, PINNED, PREFETCH
from cimsim.engine.raw import COMPUTE, DRAM, NOC, QUEUE, WRITE
from cimsim.engine.transport import reduce_train, scatter_trains, send_train

__all__ = ["dispatch", "on_room", "on_visit", "on_weights", "on_written", "push", "take_memory"]

NONE = -1
# Kinds of events.
STAGE_DONE, JOB_END, VISIT, ROOM, WEIGHTS, WRITTEN, ARRIVAL = range(7)


@njit(cache=True)
def push(x: Machine, time_ps: int, kind: int, argument: int) -> None:
    """Schedule an event: a binary heap ordered by time, then by order of scheduling."""
    now, heap = x.now, x.heap
    now[m.EVENTS] += 1
    if x.fixed[m.MAX_EVENTS] != NONE and now[m.EVENTS] > x.fixed[m.MAX_EVENTS]:
        now[m.FAILED] = 1
    sequence = now[m.SEQUENCE]
    now[m.SEQUENCE] += 1
    at = now[m.HEAPED]
    now[m.HEAPED] += 1
    while at > 0:
        parent = (at - 1) >> 1
        if heap[parent, 0] <= time_ps:  # equal times: the parent was scheduled earlier
            break
        heap[at, 0], heap[at, 1], heap[at, 2] = heap[parent, 0], heap[parent, 1], heap[parent, 2]
        at = parent
    heap[at, 0], heap[at, 1], heap[at, 2] = time_ps, sequence, argument * 8 + kind


@njit(cache=True)
def take_memory(x: Machine, occupied_ps: int) -> int:
    """Reserve the memory channels and return when the last byte leaves them."""
    now = x.now
    now[m.DRAM_FREE] = max(now[m.TIME], now[m.DRAM_FREE]) + occupied_ps
    now[m.DRAM_BUSY] += occupied_ps
    return int(now[m.DRAM_FREE])


# ---------------------------------------------------------------------- making visits


@njit(cache=True)
def _add_token(x: Machine, flight: int, target: int, token: int) -> None:
    """Add a token to the visit of a target (a site, or behind the sites an expert)."""
    v = x.scratch[target]
    row = x.flight[flight]
    if v == NONE:
        v = x.now[m.POOL_FREE]
        x.now[m.POOL_FREE] = x.pool[v, m.V_NEXT]
        x.scratch[target] = v
        visit, n_sites = x.pool[v], x.site.shape[0]
        visit[:] = 0
        visit[m.V_FLIGHT] = flight
        visit[m.V_SITE] = target if target < n_sites else NONE
        visit[m.V_EXPERT] = NONE if target < n_sites else target - n_sites
        visit[m.V_ASKED] = x.now[m.TIME]
        visit[m.V_NEXT] = visit[m.V_WAIT_NEXT] = NONE
        x.masks[v] = np.uint64(0)
        if row[m.VISIT_HEAD] == NONE:
            row[m.VISIT_HEAD] = v
        else:
            x.pool[row[m.VISIT_TAIL], m.V_NEXT] = v
        row[m.VISIT_TAIL] = v
        row[m.PENDING] += 1
    x.pool[v, m.V_SIZE] += 1
    x.masks[v, token >> 6] |= np.uint64(1) << np.uint64(token & 63)


@njit(cache=True)
def _make_visits(x: Machine, flight: int) -> None:
    """Group the tokens of a flight by the site that serves them."""
    row, step = x.flight[flight], x.step[x.flight[flight, m.STEP]]
    first, size, n_sites = row[m.FIRST], row[m.SIZE], x.site.shape[0]
    if step[m.MOE] != NONE:
        base = step[m.MOE] * x.fixed[m.N_EXPERTS]
        for i in range(size):
            for k in range(x.fixed[m.TOP_K]):
                expert = base + np.int64(x.experts[first + i, step[m.MOE], k])
                low = x.expert[expert, m.E_SITES]
                copies = x.expert[expert, m.E_SITES_END] - low
                if copies > 0:
                    target = x.expert_sites[low + x.token_key[first + i] % copies]
                else:
                    target = n_sites + expert
                _add_token(x, flight, target, i)
    for group in (step[m.GROUP], step[m.SHARED]):
        if group != NONE:
            low = x.group_ptr[group]
            copies = x.group_ptr[group + 1] - low
            for i in range(size):
                _add_token(x, flight, x.group_sites[low + x.token_key[first + i] % copies], i)
    v = row[m.VISIT_HEAD]
    while v != NONE:
        visit = x.pool[v]
        if visit[m.V_EXPERT] != NONE:
            x.scratch[n_sites + visit[m.V_EXPERT]] = NONE
        else:
            x.scratch[visit[m.V_SITE]] = NONE
        v = visit[m.V_NEXT]


@njit(cache=True)
def _add_targets(x: Machine, v: int, count: int) -> int:
    """Append the input tiles of a visit to the arguments of the next multicast."""
    site = x.site[x.pool[v, m.V_SITE]]
    for at in range(site[m.INS], site[m.INS_END]):
        x.ports[count] = x.ins[at]
        x.port_masks[count] = x.masks[v]
        count += 1
    return count


@njit(cache=True)
def _arrive(x: Machine, v: int, at: int, flits: int) -> int:
    """Schedule the arrival of a visit that was sent; return the next target's index."""
    visit, now_ps = x.pool[v], x.now[m.TIME]
    site = x.site[visit[m.V_SITE]]
    tiles = site[m.INS_END] - site[m.INS]
    tail = x.times[0, at]
    for k in range(1, tiles):
        tail = max(tail, x.times[0, at + k])
    visit[m.V_TAIL] = tail
    first = tail - (visit[m.V_SIZE] - 1) * flits * x.fixed[m.CYCLE]
    visit[m.V_PARTS + NOC] += first - now_ps
    push(x, first, VISIT, v)
    return int(at + tiles)


@njit(cache=True)
def _digital_port(x: Machine, flight: int) -> int:
    stream = x.stream[x.flight[flight, m.STREAM]]
    return int(x.fixed[m.FIRST_DIGITAL] + stream[m.S_DIGITAL])


@njit(cache=True)
def _send_one(x: Machine, v: int) -> None:
    """Send the inputs of one visit that had to wait."""
    flight = x.pool[v, m.V_FLIGHT]
    flits = x.step[x.flight[flight, m.STEP], m.IN_FLITS]
    count = _add_targets(x, v, 0)
    port = _digital_port(x, flight)
    scatter_trains(x.net, x.now[m.TIME], port, x.ports, x.port_masks, count, flits, x.times[0])
    _arrive(x, v, 0, flits)


@njit(cache=True)
def dispatch(x: Machine, flight: int) -> None:
    """Group a flight's tokens by site and send those that may go."""
    _make_visits(x, flight)
    row = x.flight[flight]
    step = x.step[row[m.STEP]]
    flits, count = step[m.IN_FLITS], 0
    v = row[m.VISIT_HEAD]
    while v != NONE:
        # V_ASKED is when the visit began to wait, or -2 if it goes now.
        if _resident(x, v) and _room(x, v):
            count = _add_targets(x, v, count)
            x.pool[v, m.V_ASKED] = -2
        v = x.pool[v, m.V_NEXT]
    if count > 0:
        port = _digital_port(x, flight)
        scatter_trains(x.net, x.now[m.TIME], port, x.ports, x.port_masks, count, flits, x.times[0])
        at = 0
        v = row[m.VISIT_HEAD]
        while v != NONE:
            if x.pool[v, m.V_ASKED] == -2:
                at = _arrive(x, v, at, flits)
                x.pool[v, m.V_ASKED] = x.now[m.TIME]
            v = x.pool[v, m.V_NEXT]
    if x.fixed[m.POLICY] == PREFETCH and step[m.MOE] != NONE and x.slot.shape[0] > 0:
        _prefetch(x, flight, step[m.MOE])


# ---------------------------------------------------------------------- serving visits


@njit(cache=True)
def _inside(x: Machine, v: int, first_ps: int, last_ps: int) -> int:
    """Move partial sums and activations between the tiles of a visit."""
    visit = x.pool[v]
    site = x.site[visit[m.V_SITE]]
    at, end = site[m.PAIRS], site[m.PAIRS_END]
    while at < end:
        current, ready = x.pairs[at, 0], last_ps
        while at < end and x.pairs[at, 0] == current:
            done = send_train(
                x.net, first_ps, ready, x.pairs[at, 1], x.pairs[at, 2], x.pairs[at, 3],
                visit[m.V_SIZE],
            )  # fmt: skip
            last_ps = max(last_ps, done)
            at += 1
    return int(last_ps)


@njit(cache=True)
def _log_visit(x: Machine, v: int, start_ps: int, expert: int) -> None:
    visit, log = x.pool[v], x.visit_log[x.now[m.VISIT_ROWS]]
    x.now[m.VISIT_ROWS] += 1
    flight = visit[m.V_FLIGHT]
    log[0], log[1], log[2] = flight, x.flight[flight, m.STEP], visit[m.V_SITE]
    log[3], log[4], log[5] = expert, visit[m.V_SIZE], x.now[m.TIME]
    log[6], log[7] = start_ps, visit[m.V_FINISH]


@njit(cache=True)
def _power_start(x: Machine, wanted_ps: int, power_nw: int) -> int:
    """Return when a visit may start under the power limit (`PowerBudget.start_ps`)."""
    now, drawing = x.now, x.drawing
    done = 0
    while done < now[m.DRAWING] and drawing[done, 0] <= now[m.TIME]:
        done += 1
    now[m.DRAWING] -= done
    drawn = 0
    for k in range(now[m.DRAWING]):
        drawing[k, 0], drawing[k, 1] = drawing[k + done, 0], drawing[k + done, 1]
        drawn += drawing[k, 1]
    start = wanted_ps
    for k in range(now[m.DRAWING]):
        if drawing[k, 0] > start and drawn + power_nw <= x.fixed[m.POWER_LIMIT]:
            break
        drawn -= drawing[k, 1]
        start = max(start, drawing[k, 0])
    now[m.POWER_STALL] += start - wanted_ps
    return int(start)


@njit(cache=True)
def _draw(x: Machine, end_ps: int, power_nw: int) -> None:
    """Note that a visit draws power until `end_ps`."""
    drawing, at = x.drawing, x.now[m.DRAWING]
    x.now[m.DRAWING] += 1
    while at > 0 and drawing[at - 1, 0] > end_ps:
        drawing[at, 0], drawing[at, 1] = drawing[at - 1, 0], drawing[at - 1, 1]
        at -= 1
    drawing[at, 0], drawing[at, 1] = end_ps, power_nw


@njit(cache=True)
def on_visit(x: Machine, v: int) -> None:
    """The first vector of a visit is at its tiles: reserve the ADC groups."""
    visit, now_ps = x.pool[v], x.now[m.TIME]
    site, size = x.site[visit[m.V_SITE]], visit[m.V_SIZE]
    interval, fill = site[m.INTERVAL], site[m.FILL]
    start = now_ps
    for at in range(site[m.SERVERS], site[m.SERVERS_END]):
        start = max(start, x.server[x.servers[at], m.FREE])
    if x.fixed[m.POWER_LIMIT] > 0:
        start = _power_start(x, start, site[m.POWER])
    taken_in = max(start + interval * size, visit[m.V_TAIL] + interval)
    if x.fixed[m.POWER_LIMIT] > 0:
        _draw(x, taken_in, site[m.POWER])
    for at in range(site[m.SERVERS], site[m.SERVERS_END]):
        server = x.server[x.servers[at]]
        server[m.FREE] = taken_in
        server[m.BUSY] += interval * size
    after = _inside(x, v, start + interval, taken_in)
    visit[m.V_FIRST] = start + interval + fill
    visit[m.V_FINISH] = after + fill
    visit[m.V_PARTS + QUEUE] += start - now_ps
    visit[m.V_PARTS + COMPUTE] += interval * size + fill
    visit[m.V_PARTS + NOC] += after - start - interval * size
    site[m.SITE_VECTORS] += size
    site[m.SITE_VISITS] += 1
    expert = site[m.SITE_EXPERT] if visit[m.V_EXPERT] == NONE else visit[m.V_EXPERT]
    if expert != NONE:
        x.expert[expert, m.E_VECTORS] += size
    if x.fixed[m.RECORD] != 0:
        _log_visit(x, v, start, expert)
    _release(x, v)
    if visit[m.V_EXPERT] != NONE:
        slot = x.slot[x.expert[visit[m.V_EXPERT], m.E_SLOT]]
        slot[m.PINS] -= 1
        if slot[m.PINS] == 0:
            serve_slots(x)
    row = x.flight[visit[m.V_FLIGHT]]
    row[m.PENDING] -= 1
    if row[m.PENDING] == 0:
        _gather(x, visit[m.V_FLIGHT])


@njit(cache=True)
def _gather(x: Machine, flight: int) -> None:
    """All visits of a stage have started: send their results back."""
    row = x.flight[flight]
    step, port, arrival = x.step[row[m.STEP]], _digital_port(x, flight), 0
    last, count = row[m.VISIT_HEAD], 0
    v = row[m.VISIT_HEAD]
    while v != NONE:
        visit = x.pool[v]
        site = x.site[visit[m.V_SITE]]
        if step[m.SUMMED] != 0:
            x.ports[count] = x.outs[site[m.OUTS], 0]
            x.port_masks[count] = x.masks[v]
            x.times[0, count], x.times[1, count] = visit[m.V_FIRST], visit[m.V_FINISH]
            count += 1
        else:
            for at in range(site[m.OUTS], site[m.OUTS_END]):
                done = send_train(
                    x.net, visit[m.V_FIRST], visit[m.V_FINISH], x.outs[at, 0], port,
                    x.outs[at, 1], visit[m.V_SIZE],
                )  # fmt: skip
                arrival = max(arrival, done)
        if visit[m.V_FINISH] > x.pool[last, m.V_FINISH]:
            last = v
        v = visit[m.V_NEXT]
    if step[m.SUMMED] != 0:
        arrival = reduce_train(
            x.net, x.times[0], x.times[1], x.ports, x.port_masks, count, port, step[m.OUT_FLITS]
        )
    for part in range(5):
        row[m.PARTS + part] += x.pool[last, m.V_PARTS + part]
    row[m.PARTS + NOC] += arrival - x.pool[last, m.V_FINISH]
    x.pool[row[m.VISIT_TAIL], m.V_NEXT] = x.now[m.POOL_FREE]
    x.now[m.POOL_FREE] = row[m.VISIT_HEAD]
    row[m.VISIT_HEAD] = row[m.VISIT_TAIL] = NONE
    row[m.STEP] += 1
    push(x, arrival, STAGE_DONE, flight)


# ---------------------------------------------------------------------- tile buffers


@njit(cache=True)
def _need(x: Machine, v: int) -> int:
    """Room that a visit takes in each of its tiles."""
    visit = x.pool[v]
    need = visit[m.V_SIZE] * x.site[visit[m.V_SITE], m.VECTOR_BYTES]
    return int(min(need, x.fixed[m.CAPACITY]))


@njit(cache=True)
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


@njit(cache=True)
def _wait(x: Machine, tile: int, v: int) -> None:
    row = x.tile[tile]
    x.pool[v, m.V_WAIT_NEXT] = NONE
    if row[m.WAIT_HEAD] == NONE:
        row[m.WAIT_HEAD] = v
    else:
        x.pool[row[m.WAIT_TAIL], m.V_WAIT_NEXT] = v
    row[m.WAIT_TAIL] = v


@njit(cache=True)
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


@njit(cache=True)
def _room(x: Machine, v: int) -> bool:
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


@njit(cache=True)
def _arm(x: Machine, tile: int) -> None:
    """Look at a tile's queue again when its buffer next gets room."""
    row = x.tile[tile]
    if row[m.ARMED] != 0 or row[m.WAIT_HEAD] == NONE or row[m.RELEASES] == 0:
        return
    row[m.ARMED] = 1
    push(x, max(x.releases[row[m.RELEASE], 0], x.now[m.TIME]), ROOM, tile)


@njit(cache=True)
def _release(x: Machine, v: int) -> None:
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


@njit(cache=True)
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
        _send_one(x, v)
        v = visit[m.V_WAIT_NEXT]
    if moved:
        for k in range(x.now[m.MOVED]):
            _arm(x, x.scratch_tiles[k])
        x.now[m.MOVED] = 0
    _arm(x, tile)


# ---------------------------------------------------------------------- expert switching


@njit(cache=True)
def _touch(x: Machine, slot: int) -> None:
    x.now[m.CLOCK] += 1
    x.slot[slot, m.LAST_USE] = x.now[m.CLOCK]


@njit(cache=True)
def _pin(x: Machine, v: int, slot: int) -> None:
    """Send a visit to a slot."""
    x.pool[v, m.V_SITE] = x.slot[slot, m.SLOT_SITE]
    x.slot[slot, m.PINS] += 1
    x.expert[x.pool[v, m.V_EXPERT], m.E_USES] += 1
    _touch(x, slot)


@njit(cache=True)
def _resident(x: Machine, v: int) -> bool:
    """Whether a visit's expert is resident; if not, have it loaded."""
    number = x.pool[v, m.V_EXPERT]
    if number == NONE:
        return True
    expert = x.expert[number]
    slot = expert[m.E_SLOT]
    x.requests[x.now[m.REQUESTED]] = number
    x.now[m.REQUESTED] += 1
    if slot != NONE and x.slot[slot, m.LOADING] == 0:
        x.now[m.HITS] += 1
        _pin(x, v, slot)
        return True
    x.now[m.MISSES] += 1
    alone = expert[m.E_HEAD] == NONE
    if alone:
        expert[m.E_HEAD] = v
    else:
        x.pool[expert[m.E_TAIL], m.V_WAIT_NEXT] = v
    expert[m.E_TAIL] = v
    x.pool[v, m.V_WAIT_NEXT] = NONE
    if slot == NONE and alone:
        now, room = x.now, x.slot_queue.shape[0]
        x.slot_queue[(now[m.SLOT_QUEUE] + now[m.SLOT_QUEUED]) % room] = number
        now[m.SLOT_QUEUED] += 1
        serve_slots(x)
    return False


@njit(cache=True)
def _victim(x: Machine) -> int:
    """Return the slot that the next load takes, or -1 if none may be given up."""
    best, best_held, best_uses = NONE, 0, 0
    for number in range(x.slot.shape[0]):
        slot = x.slot[number]
        if slot[m.PINS] != 0 or slot[m.LOADING] != 0:
            continue
        expert = slot[m.HOLDS]
        if x.fixed[m.POLICY] == PINNED and expert != NONE and x.expert[expert, m.E_HOT] != 0:
            continue
        held, uses = (1 if expert != NONE else 0), 0
        if x.fixed[m.POLICY] == LFU and expert != NONE:
            uses = x.expert[expert, m.E_USES]
        better = best == NONE or held < best_held
        if not better and held == best_held:
            better = uses < best_uses or (
                uses == best_uses and slot[m.LAST_USE] < x.slot[best, m.LAST_USE]
            )
        if better:
            best, best_held, best_uses = number, held, uses
    return best


@njit(cache=True)
def serve_slots(x: Machine) -> None:
    """Start loads while experts queue and slots are free."""
    now = x.now
    while now[m.SLOT_QUEUED] > 0:
        slot = _victim(x)
        if slot == NONE:
            return
        expert = x.slot_queue[now[m.SLOT_QUEUE]]
        now[m.SLOT_QUEUE] = (now[m.SLOT_QUEUE] + 1) % x.slot_queue.shape[0]
        now[m.SLOT_QUEUED] -= 1
        _load(x, expert, slot)


@njit(cache=True)
def _load(x: Machine, number: int, slot: int) -> None:
    """Fetch an expert's weights from memory and send them to a slot's tiles."""
    row, expert, fixed = x.slot[slot], x.expert[number], x.fixed
    fetched = take_memory(x, expert[m.E_FETCH]) + fixed[m.LATENCY]
    arrived, site = fetched, x.site[row[m.SLOT_SITE]]
    for channel in range(fixed[m.CHANNELS]):
        for at in range(site[m.TILES], site[m.TILES_END]):
            done = send_train(
                x.net, fetched, fetched, fixed[m.FIRST_CHANNEL] + channel, x.tiles[at],
                expert[m.E_FLITS], 1,
            )  # fmt: skip
            arrived = max(arrived, done)
    if row[m.HOLDS] != NONE:
        x.expert[row[m.HOLDS], m.E_SLOT] = NONE
    row[m.HOLDS], row[m.LOADING] = number, 1
    expert[m.E_SLOT] = slot
    expert[m.E_LOADS] += 1
    row[m.L_START], row[m.L_FETCHED], row[m.L_ARRIVED] = x.now[m.TIME], fetched, arrived
    push(x, arrived, WEIGHTS, slot)


@njit(cache=True)
def on_weights(x: Machine, slot: int) -> None:
    """Weights are at a slot: write them when its ADC groups are free."""
    row = x.slot[slot]
    site, work = x.site[row[m.SLOT_SITE]], x.expert[row[m.HOLDS], m.E_WRITE]
    start = x.now[m.TIME]
    for at in range(site[m.SERVERS], site[m.SERVERS_END]):
        start = max(start, x.server[x.servers[at], m.FREE])
    for at in range(site[m.SERVERS], site[m.SERVERS_END]):
        server = x.server[x.servers[at]]
        server[m.FREE] = start + work
        server[m.WRITTEN] += work
    row[m.L_WRITE], row[m.L_END] = start, start + work
    if x.fixed[m.RECORD] != 0:
        log = x.load_log[x.now[m.LOAD_ROWS]]
        x.now[m.LOAD_ROWS] += 1
        log[0], log[1] = slot, row[m.HOLDS]
        for k in range(5):
            log[2 + k] = row[m.L_START + k]
    push(x, start + work, WRITTEN, slot)


@njit(cache=True)
def on_written(x: Machine, slot: int) -> None:
    """A slot is written: send the visits that waited for its expert."""
    row, now_ps = x.slot[slot], x.now[m.TIME]
    row[m.LOADING] = 0
    expert = x.expert[row[m.HOLDS]]
    v = expert[m.E_HEAD]
    waiting = v
    expert[m.E_HEAD] = expert[m.E_TAIL] = NONE
    while v != NONE:
        visit = x.pool[v]
        asked = visit[m.V_ASKED]
        for k in range(4):
            bound = now_ps if k == 3 else row[m.L_START + k]
            part = QUEUE if k == 0 else DRAM if k == 1 else NOC if k == 2 else WRITE
            visit[m.V_PARTS + part] += max(0, bound - asked)
            asked = max(asked, bound)
        x.now[m.STALL] += now_ps - visit[m.V_ASKED]
        _pin(x, v, slot)
        v = visit[m.V_WAIT_NEXT]
    _touch(x, slot)
    v = waiting
    while v != NONE:
        after = x.pool[v, m.V_WAIT_NEXT]  # `_room` may put the visit into another queue
        if _room(x, v):
            _send_one(x, v)
        v = after
    serve_slots(x)


@njit(cache=True)
def _prefetch(x: Machine, flight: int, layer: int) -> None:
    """Keep or load the experts that the flight will probably choose in the next layer."""
    row, n_experts = x.flight[flight], x.fixed[m.N_EXPERTS]
    first, size, k = row[m.FIRST], row[m.SIZE], x.fixed[m.TOP_K]
    if layer > 0:
        for i in range(first, first + size):
            for a in range(k):
                for b in range(k):
                    x.followed[layer - 1, x.experts[i, layer - 1, a], x.experts[i, layer, b]] += 1
    if layer + 1 == x.experts.shape[1]:
        return
    scores = np.zeros(n_experts, dtype=np.int64)
    for i in range(first, first + size):
        for a in range(k):
            scores += x.followed[layer, x.experts[i, layer, a]]
    likely = np.argsort(-scores, kind="mergesort")[:k]
    base = (layer + 1) * n_experts
    for e in likely:
        if scores[e] > 0 and x.expert[base + e, m.E_SLOT] != NONE:
            _touch(x, x.expert[base + e, m.E_SLOT])
    for e in likely:
        expert = x.expert[base + e]
        wanted = scores[e] > 0 and expert[m.E_WRITE] > 0 and expert[m.E_SLOT] == NONE
        if wanted and x.now[m.SLOT_QUEUED] == 0:
            slot = _victim(x)
            if slot != NONE:
                _load(x, base + e, slot)
