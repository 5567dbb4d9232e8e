"""Kernels of visits: made, served by the tiles, gathered; twins of `ReferenceTiles`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.engine import machine as m
from cimsim.engine.compiled_buffers import release_room, take_room
from cimsim.engine.compiled_events import STAGE_DONE, push
from cimsim.engine.compiled_sending import add_targets, arrive, digital_port, move
from cimsim.engine.compiled_slots import make_resident, prefetch, serve_slots
from cimsim.engine.machine_ref import Machine
from cimsim.engine.network import set_tokens
from cimsim.engine.noc.kernel import ZERO, inner
from cimsim.engine.plan import PREFETCH
from cimsim.engine.raw import ADC, COMPUTE, NOC, QUEUE, VISIT_PARTS
from cimsim.engine.transport import reduce_train, scatter_trains, send_train

__all__ = ["dispatch", "on_visit"]

Int64 = NDArray[np.int64]
NONE = -1


@inner
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


@inner
def _choose(x: Machine, sites: Int64, low: int, copies: int, token: int) -> int:
    """Return the site that serves a token (`ReplicaChoice.choose`)."""
    if copies == 1:
        return int(sites[low])
    if x.fixed[m.LEAST_LOADED] == 0:
        return int(sites[low + x.token_key[token] % copies])
    best, best_ps = NONE, 0
    for number in sites[low : low + copies]:
        site = x.site[number]
        ready = x.now[m.TIME]
        for at in range(site[m.SERVERS], site[m.SERVERS_END]):
            ready = max(ready, x.server[x.servers[at], m.FREE])
        ready += site[m.INTERVAL] * site[m.SENT]
        if best == NONE or ready < best_ps:
            best, best_ps = number, ready
    x.site[best, m.SENT] += 1
    return int(best)


@inner
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
                    target = _choose(x, x.expert_sites, low, copies, first + i)
                else:
                    target = n_sites + expert
                _add_token(x, flight, target, i)
    for group in (step[m.GROUP], step[m.SHARED]):
        if group != NONE:
            low = x.group_ptr[group]
            copies = x.group_ptr[group + 1] - low
            for i in range(size):
                _add_token(x, flight, _choose(x, x.group_sites, low, copies, first + i), i)
    v = row[m.VISIT_HEAD]
    while v != NONE:
        visit = x.pool[v]
        if visit[m.V_EXPERT] != NONE:
            x.scratch[n_sites + visit[m.V_EXPERT]] = NONE
        else:
            x.scratch[visit[m.V_SITE]] = NONE
        v = visit[m.V_NEXT]


@inner
def dispatch(x: Machine, flight: int) -> None:
    """Group a flight's tokens by site and send those that may go."""
    _make_visits(x, flight)
    row = x.flight[flight]
    step = x.step[row[m.STEP]]
    flits, count = step[m.IN_FLITS], ZERO
    v = row[m.VISIT_HEAD]
    while v != NONE:
        # V_ASKED is when the visit began to wait, or -2 if it goes now.
        if make_resident(x, v) and take_room(x, v):
            count = add_targets(x, v, count)
            x.pool[v, m.V_ASKED] = -2
        v = x.pool[v, m.V_NEXT]
    if count > 0:
        port = digital_port(x, flight)
        scatter_trains(x.net, x.now[m.TIME], port, x.ports, x.port_masks, count, flits, x.times[0])
        at = ZERO
        v = row[m.VISIT_HEAD]
        while v != NONE:
            if x.pool[v, m.V_ASKED] == -2:
                at = arrive(x, v, at, flits)
                x.pool[v, m.V_ASKED] = x.now[m.TIME]
            v = x.pool[v, m.V_NEXT]
    if x.fixed[m.POLICY] == PREFETCH and step[m.MOE] != NONE and x.slot.shape[0] > 0:
        prefetch(x, flight, step[m.MOE])


@inner
def _inside(x: Machine, v: int, first_ps: int, last_ps: int) -> int:
    """Move partial sums and activations between the tiles of a visit."""
    visit = x.pool[v]
    site = x.site[visit[m.V_SITE]]
    net, pairs = x.net, x.pairs
    at, end = site[m.PAIRS], site[m.PAIRS_END]
    while at < end:
        current, ready = pairs[at, 0], last_ps
        while at < end and pairs[at, 0] == current:
            done = send_train(
                net, first_ps, ready, pairs[at, 1], pairs[at, 2], pairs[at, 3],
                visit[m.V_SIZE],
            )  # fmt: skip
            last_ps = max(last_ps, done)
            at += 1
    return int(last_ps)


@inner
def _log_visit(x: Machine, v: int, start_ps: int, taken_ps: int, expert: int) -> None:
    visit, log = x.pool[v], x.visit_log[x.now[m.VISIT_ROWS]]
    x.now[m.VISIT_ROWS] += 1
    flight = visit[m.V_FLIGHT]
    log[0], log[1], log[2] = flight, x.flight[flight, m.STEP], visit[m.V_SITE]
    log[3], log[4], log[5] = expert, visit[m.V_SIZE], x.now[m.TIME]
    log[6], log[7], log[8] = start_ps, visit[m.V_FINISH], taken_ps


@inner
def _power_start(x: Machine, chip: int, wanted_ps: int, power_nw: int) -> int:
    """Return when a visit may start under the power limit (`PowerBudget.start_ps`)."""
    now, active, drawing = x.now, x.drawing[chip, 0], x.drawing[chip, 1:]
    done = 0
    while done < active[0] and drawing[done, 0] <= now[m.TIME]:
        done += 1
    active[0] -= done
    drawn = 0
    for k in range(active[0]):
        drawing[k, 0], drawing[k, 1] = drawing[k + done, 0], drawing[k + done, 1]
        drawn += drawing[k, 1]
    start = wanted_ps
    for k in range(active[0]):
        if drawing[k, 0] > start and drawn + power_nw <= x.fixed[m.POWER_LIMIT]:
            break
        drawn -= drawing[k, 1]
        start = max(start, drawing[k, 0])
    now[m.POWER_STALL] += start - wanted_ps
    return int(start)


@inner
def _draw(x: Machine, chip: int, end_ps: int, power_nw: int) -> None:
    """Note that a visit draws power until `end_ps`."""
    drawing, at = x.drawing[chip, 1:], x.drawing[chip, 0, 0]
    x.drawing[chip, 0, 0] += 1
    while at > 0 and drawing[at - 1, 0] > end_ps:
        drawing[at, 0], drawing[at, 1] = drawing[at - 1, 0], drawing[at - 1, 1]
        at -= 1
    drawing[at, 0], drawing[at, 1] = end_ps, power_nw


@inner
def on_visit(x: Machine, v: int) -> None:
    """The first vector of a visit is at its tiles: reserve the ADC groups."""
    visit, now_ps = x.pool[v], x.now[m.TIME]
    site, size = x.site[visit[m.V_SITE]], visit[m.V_SIZE]
    interval, fill = site[m.INTERVAL], site[m.FILL]
    site[m.SENT] = max(0, site[m.SENT] - size)
    start = now_ps
    for at in range(site[m.SERVERS], site[m.SERVERS_END]):
        start = max(start, x.server[x.servers[at], m.FREE])
    if x.fixed[m.POWER_LIMIT] > 0:
        start = _power_start(x, site[m.SITE_CHIP], start, site[m.POWER])
    taken_in = max(start + interval * size, visit[m.V_TAIL] + interval)
    if x.fixed[m.POWER_LIMIT] > 0:
        _draw(x, site[m.SITE_CHIP], taken_in, site[m.POWER])
    for at in range(site[m.SERVERS], site[m.SERVERS_END]):
        server = x.server[x.servers[at]]
        server[m.FREE] = taken_in
        server[m.BUSY] += interval * size
    after = _inside(x, v, start + interval, taken_in)
    visit[m.V_FIRST] = start + interval + fill
    visit[m.V_FINISH] = after + fill
    visit[m.V_PARTS + QUEUE] += start - now_ps
    converting = site[m.ADC_INTERVAL] * size + site[m.ADC_FILL]
    visit[m.V_PARTS + COMPUTE] += interval * size + fill - converting
    visit[m.V_PARTS + ADC] += converting
    visit[m.V_PARTS + NOC] += after - start - interval * size
    site[m.SITE_VECTORS] += size
    site[m.SITE_VISITS] += 1
    expert = site[m.SITE_EXPERT] if visit[m.V_EXPERT] == NONE else visit[m.V_EXPERT]
    if expert != NONE:
        x.expert[expert, m.E_VECTORS] += size
    if x.fixed[m.RECORD] != 0:
        _log_visit(x, v, start, taken_in, expert)
    release_room(x, v)
    if visit[m.V_EXPERT] != NONE:
        slot = x.slot[x.expert[visit[m.V_EXPERT], m.E_SLOT]]
        slot[m.PINS] -= 1
        if slot[m.PINS] == 0:
            serve_slots(x, slot[m.SLOT_CHIP])
    row = x.flight[visit[m.V_FLIGHT]]
    row[m.PENDING] -= 1
    if row[m.PENDING] == 0:
        _gather(x, visit[m.V_FLIGHT])


@inner
def _gather(x: Machine, flight: int) -> None:
    """All visits of a stage have started: send their results back."""
    row = x.flight[flight]
    step, port, arrival = x.step[row[m.STEP]], digital_port(x, flight), ZERO
    last, count = row[m.VISIT_HEAD], 0
    v = row[m.VISIT_HEAD]
    while v != NONE:
        visit = x.pool[v]
        site = x.site[visit[m.V_SITE]]
        if step[m.SUMMED] != 0:
            x.ports[count] = x.outs[site[m.OUTS], 0]
            set_tokens(x.port_masks, count, x.masks[v])
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
    arrival = move(x, flight, row[m.STEP], arrival)
    for part in range(VISIT_PARTS):
        row[m.PARTS + part] += x.pool[last, m.V_PARTS + part]
    row[m.PARTS + NOC] += arrival - x.pool[last, m.V_FINISH]
    x.pool[row[m.VISIT_TAIL], m.V_NEXT] = x.now[m.POOL_FREE]
    x.now[m.POOL_FREE] = row[m.VISIT_HEAD]
    row[m.VISIT_HEAD] = row[m.VISIT_TAIL] = NONE
    row[m.STEP] += 1
    push(x, arrival, STAGE_DONE, flight)
