"""Kernels of expert switching; twins of `Residency` and `NextLayer`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.engine import machine as m
from cimsim.engine.compiled_buffers import take_room
from cimsim.engine.compiled_events import EXPERT, WEIGHTS, WRITTEN, push, take_memory
from cimsim.engine.compiled_sending import send_one
from cimsim.engine.machine_ref import Machine
from cimsim.engine.noc.kernel import ONE, allocating, inner
from cimsim.engine.plan import LFU, PINNED
from cimsim.engine.raw import DRAM, NOC, QUEUE, WRITE
from cimsim.engine.transport import send_train

__all__ = ["make_resident", "on_weights", "on_written", "prefetch", "serve_slots"]

Int64 = NDArray[np.int64]
NONE = -1


@inner
def _touch(x: Machine, slot: int) -> None:
    x.now[m.CLOCK] += 1
    x.slot[slot, m.LAST_USE] = x.now[m.CLOCK]


@inner
def _pin(x: Machine, v: int, slot: int) -> None:
    """Send a visit to a slot."""
    x.pool[v, m.V_SITE] = x.slot[slot, m.SLOT_SITE]
    x.slot[slot, m.PINS] += 1
    x.expert[x.pool[v, m.V_EXPERT], m.E_USES] += 1
    _touch(x, slot)


@inner
def make_resident(x: Machine, v: int) -> bool:
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
        queue, room = x.slot_queue[expert[m.E_HOME]], x.slot_queue.shape[1] - m.Q_RING
        queue[m.Q_RING + (queue[m.Q_FIRST] + queue[m.Q_COUNT]) % room] = number
        queue[m.Q_COUNT] += 1
        serve_slots(x, expert[m.E_HOME])
    return False


@inner
def _victim(x: Machine, chip: int) -> int:
    """Return the slot that a chip's next load takes, or -1 if none may be given up."""
    best, best_held, best_uses = NONE, 0, 0
    for number in range(x.slot.shape[0]):
        slot = x.slot[number]
        if slot[m.SLOT_CHIP] != chip or slot[m.PINS] != 0 or slot[m.LOADING] != 0:
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


@inner
def serve_slots(x: Machine, chip: int) -> None:
    """Start loads while experts of a chip queue and slots of it are free."""
    queue, room = x.slot_queue[chip], x.slot_queue.shape[1] - m.Q_RING
    while queue[m.Q_COUNT] > 0:
        slot = _victim(x, chip)
        if slot == NONE:
            return
        expert = queue[m.Q_RING + queue[m.Q_FIRST]]
        queue[m.Q_FIRST] = (queue[m.Q_FIRST] + 1) % room
        queue[m.Q_COUNT] -= 1
        _load(x, expert, slot)


@inner
def _load(x: Machine, number: int, slot: int) -> None:
    """Fetch an expert's weights from memory and send them to a slot's tiles."""
    row, expert, fixed = x.slot[slot], x.expert[number], x.fixed
    site = x.site[row[m.SLOT_SITE]]
    chip = site[m.SITE_CHIP]
    left = take_memory(x, chip, expert[m.E_FETCH], EXPERT, number, -ONE)
    fetched = left + fixed[m.LATENCY]
    arrived = fetched
    for channel in range(chip * fixed[m.CHANNELS], (chip + 1) * fixed[m.CHANNELS]):
        for at in range(site[m.TILES], site[m.TILES_END]):
            done = send_train(
                x.net, fetched, fetched, fixed[m.FIRST_CHANNEL] + channel, x.tiles[at],
                expert[m.E_FLITS], ONE,
            )  # fmt: skip
            arrived = max(arrived, done)
    if row[m.HOLDS] != NONE:
        x.expert[row[m.HOLDS], m.E_SLOT] = NONE
    row[m.HOLDS], row[m.LOADING] = number, 1
    expert[m.E_SLOT] = slot
    expert[m.E_LOADS] += 1
    row[m.SLOT_LOADS] += 1
    row[m.L_START], row[m.L_FETCHED], row[m.L_ARRIVED] = x.now[m.TIME], fetched, arrived
    push(x, arrived, WEIGHTS, slot)


@inner
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


@inner
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
        if take_room(x, v):
            send_one(x, v)
        v = after
    serve_slots(x, row[m.SLOT_CHIP])


@allocating
def _highest(scores: Int64, count: int) -> Int64:
    """Return where the highest scores (at least 0) are, of equal ones the first."""
    left, highest = scores.copy(), np.empty(count, dtype=np.int64)
    for k in range(count):
        best = 0
        for e in range(1, left.size):
            if left[e] > left[best]:
                best = e
        highest[k], left[best] = best, NONE
    return highest


@allocating
def _scores(x: Machine, flight: int, layer: int) -> Int64:
    """Count how often each expert of the next layer followed those that the flight chose."""
    row, n_experts = x.flight[flight], x.fixed[m.N_EXPERTS]
    scores = np.zeros(n_experts, dtype=np.int64)
    for i in range(row[m.FIRST], row[m.FIRST] + row[m.SIZE]):
        for a in range(x.fixed[m.TOP_K]):
            chosen = x.experts[i, layer, a]
            for e in range(n_experts):
                scores[e] += x.followed[layer, chosen, e]
    return scores


@allocating
def prefetch(x: Machine, flight: int, layer: int) -> None:
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
    scores = _scores(x, flight, layer)
    likely = _highest(scores, k)
    base = (layer + 1) * n_experts
    for e in likely:
        if scores[e] > 0 and x.expert[base + e, m.E_SLOT] != NONE:
            _touch(x, x.expert[base + e, m.E_SLOT])
    for e in likely:
        expert = x.expert[base + e]
        wanted = scores[e] > 0 and expert[m.E_WRITE] > 0 and expert[m.E_SLOT] == NONE
        if wanted and x.slot_queue[expert[m.E_HOME], m.Q_COUNT] == 0:
            slot = _victim(x, expert[m.E_HOME])
            if slot != NONE:
                _load(x, base + e, slot)
