"""Which sites serve a flight's tokens: one visit a site, and which copy of a unit serves a token.

Copies: `static` takes copy (sequence + position) mod copies, whatever the chip does: routing then
decides where every token goes. `least_loaded` takes, of a flight's tokens in order, for each the
copy that would take it in first, the lowest replica of equals::

    ready(copy) = max(now, when all its ADC groups are free) + interval x vectors on their way

where vectors on their way are those sent to this copy (earlier tokens of the same flight
included) that it has not begun to take in. The digital unit knows all of this: it sent them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.events.buffers import take_room
from cimsim.engine.events.machine import Machine
from cimsim.engine.events.prefetch import prefetch
from cimsim.engine.events.sending import enqueue, send
from cimsim.engine.events.servers import servers_free_ps
from cimsim.engine.events.slots import make_resident
from cimsim.engine.noc.kernel import inlined, inner
from cimsim.engine.policies import PREFETCH
from cimsim.engine.raw import VISIT_PARTS

__all__ = ["dispatch"]

NONE = -1


@inlined
def dispatch(x: Machine, flight: int) -> None:
    """Group a flight's tokens by site and send those that may go."""
    _make_visits(x, flight)
    row = x.flight[flight]
    v, going = row.head, False
    while v != NONE:
        if make_resident(x, v) and take_room(x, v):
            enqueue(x, v)
            going = True
        v = x.visit[v].next
    if going:
        send(x, flight)
    moe = x.step[row.step].moe
    if x.fixed[0].policy == PREFETCH and moe != NONE and x.slot.shape[0] > 0:
        prefetch(x, flight, moe)


@inlined
def _make_visits(x: Machine, flight: int) -> None:
    """Group the tokens of a flight by the site that serves them, in order of first tokens."""
    row, step = x.flight[flight], x.step[x.flight[flight].step]
    first, size, n_sites = row.first, row.size, x.site.shape[0]
    if step.moe != NONE:
        base = step.moe * x.fixed[0].n_experts
        for i in range(size):
            for k in range(x.fixed[0].top_k):
                number = base + np.int64(x.experts[first + i, step.moe, k])
                expert = x.expert[number]
                copies = expert.sites_end - expert.sites
                if copies > 0:
                    target = _choose(x, x.expert_sites, expert.sites, copies, first + i)
                else:
                    target = n_sites + number
                _add_token(x, flight, target, i)
    for group in (step.group, step.shared):
        if group != NONE:
            low = x.group_ptr[group]
            copies = x.group_ptr[group + 1] - low
            for i in range(size):
                _add_token(x, flight, _choose(x, x.group_sites, low, copies, first + i), i)
    v = row.head
    while v != NONE:
        visit = x.visit[v]
        if visit.expert != NONE:
            x.scratch[n_sites + visit.expert] = NONE
        else:
            x.scratch[visit.site] = NONE
        v = visit.next


@inner
def _choose(x: Machine, sites: NDArray[np.int64], low: int, copies: int, token: int) -> int:
    """Return the site that serves a token (row of the trace)."""
    if copies == 1:
        return int(sites[low])
    if x.fixed[0].least_loaded == 0:
        return int(sites[low + x.token_key[token] % copies])
    best, best_ps = NONE, 0
    for number in sites[low : low + copies]:
        site = x.site[number]
        ready = servers_free_ps(x, number) + site.interval_ps * site.sent
        if best == NONE or ready < best_ps:
            best, best_ps = number, ready
    x.site[best].sent += 1
    return int(best)


@inner
def _add_token(x: Machine, flight: int, target: int, token: int) -> None:
    """Add a token to the visit of a target (a site, or behind the sites an expert)."""
    v = x.scratch[target]
    if v == NONE:
        v = _new_visit(x, flight)
        visit, n_sites = x.visit[v], x.site.shape[0]
        # Experts in slots are keyed behind the sites: their site may change.
        visit.site = target if target < n_sites else NONE
        visit.expert = NONE if target < n_sites else target - n_sites
        x.scratch[target] = v
    x.visit[v].size += 1
    x.masks[v, token >> 6] |= np.uint64(1) << np.uint64(token & 63)


@inlined
def _new_visit(x: Machine, flight: int) -> int:
    """Begin a visit and append it to its flight's."""
    row, now = x.flight[flight], x.now[0]
    v = now.pool_free
    visit = x.visit[v]
    now.pool_free = visit.next
    visit.flight, visit.size, visit.asked_ps = flight, 0, now.time_ps
    visit.next = visit.wait_next = NONE
    for part in range(VISIT_PARTS):
        x.visit_parts[v, part] = 0
    for w in range(x.masks.shape[1]):
        x.masks[v, w] = np.uint64(0)
    if row.head == NONE:
        row.head = v
    else:
        x.visit[row.tail].next = v
    row.tail = v
    row.pending += 1
    return int(v)
