"""Visits on their tiles: ADC groups, transfers inside a visit, the power limit, results.

A visit holds all ADC groups (PEs) of its site from its first vector until its last one has been
taken in; they are free at a known time, first come first served, as are the tiers of its tiles
where tiles have several. It then moves partial sums and
activations between its tiles, round by round. When all visits of a flight's stage have begun, their
results travel back: as one sum over the network where experts are added, else one by one.
"""

from __future__ import annotations

from cimsim.engine.events.buffers import release_room
from cimsim.engine.events.machine import Machine
from cimsim.engine.events.power import draw, power_start_ps
from cimsim.engine.events.schedule import STAGE_DONE, push
from cimsim.engine.events.sending import digital_port, move
from cimsim.engine.events.servers import hold_servers, servers_free_ps
from cimsim.engine.events.slots import unpin
from cimsim.engine.events.streams import reach_digital
from cimsim.engine.events.tiers import take_tiers, tiers_ready_ps
from cimsim.engine.network import set_tokens
from cimsim.engine.noc.kernel import ONE, ZERO, inlined, inner
from cimsim.engine.raw import ADC, COMPUTE, NOC, QUEUE, VISIT_PARTS
from cimsim.engine.transport import reduce_train, send_train
from cimsim.engine.vectors import vector_ready

__all__ = ["on_back", "on_begin", "on_finish", "on_visit"]

NONE = -1


@inlined
def on_visit(x: Machine, v: int) -> None:
    """The first vectors of a visit are at its tiles: reserve the ADC groups."""
    visit, now_ps = x.visit[v], x.now[0].time_ps
    site, size = x.site[visit.site], visit.size
    work = site.interval_ps * size
    start = servers_free_ps(x, visit.site)
    if x.fixed[0].tiers > 1:
        start = max(start, tiers_ready_ps(x, visit.site))
    if x.fixed[0].power_limit_nw > 0:
        start = power_start_ps(x, site.chip, start, site.power_nw)
    taken_in = max(start + work, visit.tail_ps + site.interval_ps)
    if x.fixed[0].power_limit_nw > 0:
        draw(x, site.chip, taken_in, site.power_nw)
    hold_servers(x, visit.site, taken_in, work, ZERO)
    if x.fixed[0].tiers > 1:
        take_tiers(x, visit.site, start, taken_in)
    visit.start_ps = start
    if x.net.flags[0] != 0:
        _inside_each(x, v, start + site.interval_ps, taken_in)
    else:
        visit.first_ps = start + site.interval_ps + site.fill_ps
        visit.finish_ps = _inside(x, v, start + site.interval_ps, taken_in) + site.fill_ps
    x.visit_parts[v, QUEUE] += start - now_ps
    _count(x, v)
    if x.fixed[0].record != 0:
        _log_visit(x, v, taken_in)
    _finish(x, v)
    unpin(x, v)
    row = x.flight[visit.flight]
    row.pending -= 1
    if row.pending == 0:
        _gather(x, visit.flight)


@inlined
def _inside(x: Machine, v: int, first_ps: int, last_ps: int) -> int:
    """Move partial sums and activations between the tiles of a visit."""
    size, site = x.visit[v].size, x.site[x.visit[v].site]
    at = site.pairs
    while at < site.pairs_end:
        current, ready = x.pairs[at].round, last_ps
        while at < site.pairs_end and x.pairs[at].round == current:
            pair = x.pairs[at]
            done = send_train(x.net, first_ps, ready, pair.source, pair.target, pair.flits, size)
            last_ps = max(last_ps, done)
            at += 1
    return int(last_ps)


@inlined
def _inside_each(x: Machine, v: int, first_ps: int, last_ps: int) -> None:
    """Move each vector between the tiles of a visit when it has been taken in."""
    visit, site = x.visit[v], x.site[x.visit[v].site]
    size, first, last = visit.size, first_ps, last_ps
    if site.pairs < site.pairs_end:
        last = ZERO
        for k in range(size):
            ready = vector_ready(first_ps, last_ps, k, size)
            at = site.pairs
            while at < site.pairs_end:
                current, left = x.pairs[at].round, ready
                while at < site.pairs_end and x.pairs[at].round == current:
                    pair = x.pairs[at]
                    done = send_train(x.net, left, left, pair.source, pair.target, pair.flits, ONE)
                    ready = max(ready, done)
                    at += 1
            first = ready if k == 0 else min(first, ready)
            last = max(last, ready)
    visit.first_ps, visit.finish_ps = first + site.fill_ps, last + site.fill_ps


@inner
def _count(x: Machine, v: int) -> None:
    """Count the vectors of a visit that begins."""
    visit = x.visit[v]
    site = x.site[visit.site]
    # Sites that are the only copy are not counted on the way there.
    site.sent = max(0, site.sent - visit.size)
    site.vectors += visit.size
    site.visits += 1
    expert = site.expert if visit.expert == NONE else visit.expert
    if expert != NONE:
        x.expert[expert].vectors += visit.size


@inner
def _finish(x: Machine, v: int) -> None:
    """Attribute the time of a visit whose end is known; its room is free then."""
    visit, parts = x.visit[v], x.visit_parts[v]
    site = x.site[visit.site]
    work = site.interval_ps * visit.size + site.fill_ps
    converting = site.adc_interval_ps * visit.size + site.adc_fill_ps
    parts[COMPUTE] += work - converting
    parts[ADC] += converting
    parts[NOC] += visit.finish_ps - visit.start_ps - work
    release_room(x, v)


@inlined
def _log_visit(x: Machine, v: int, taken_ps: int) -> None:
    visit, log = x.visit[v], x.visit_log[x.now[0].visit_rows]
    x.now[0].visit_rows += 1
    log.flight, log.step, log.site = visit.flight, x.flight[visit.flight].step, visit.site
    log.expert = x.site[visit.site].expert if visit.expert == NONE else visit.expert
    log.vectors, log.arrive_ps = visit.size, x.now[0].time_ps
    log.start_ps, log.end_ps, log.taken_ps = visit.start_ps, visit.finish_ps, taken_ps


@inlined
def _gather(x: Machine, flight: int) -> None:
    """All visits of a stage have started: send their results back."""
    row = x.flight[flight]
    step, port, arrival, count = x.step[row.step], digital_port(x, flight), ZERO, 0
    v = row.head
    while v != NONE:
        visit = x.visit[v]
        site = x.site[visit.site]
        if step.summed != 0:
            x.ports[count] = x.outs[site.outs].tile
            set_tokens(x.port_masks, count, x.masks[v])
            x.times[0, count], x.times[1, count] = visit.first_ps, visit.finish_ps
            count += 1
        elif x.net.flags[0] != 0:
            arrival = max(arrival, _results(x, v, port))
        else:
            for at in range(site.outs, site.outs_end):
                out = x.outs[at]
                done = send_train(
                    x.net, visit.first_ps, visit.finish_ps, out.tile, port, out.flits, visit.size
                )
                arrival = max(arrival, done)
        v = visit.next
    if step.summed != 0:
        arrival = reduce_train(
            x.net, x.times[0], x.times[1], x.ports, x.port_masks, count, port, step.out_flits
        )
    arrival = move(x, flight, row.step, arrival)
    _close(x, flight, arrival)
    push(x, arrival, STAGE_DONE, flight)


@inlined
def _results(x: Machine, v: int, port: int) -> int:
    """Send the results of a visit back, each in the pieces that its tiles have of it."""
    visit, site, last = x.visit[v], x.site[x.visit[v].site], ZERO
    for k in range(visit.size):
        ready = vector_ready(visit.first_ps, visit.finish_ps, k, visit.size)
        for at in range(site.outs, site.outs_end):
            out = x.outs[at]
            done = send_train(x.net, ready, ready, out.tile, port, out.flits, ONE)
            last = max(last, done)
    return int(last)


@inner
def _close(x: Machine, flight: int, back_ps: int) -> None:
    """End a stage: its time is that of the visit that was ready last, the first of equals."""
    row, parts = x.flight[flight], x.flight_parts[flight]
    last = v = row.head
    while v != NONE:
        if x.visit[v].finish_ps > x.visit[last].finish_ps:
            last = v
        v = x.visit[v].next
    for part in range(VISIT_PARTS):
        parts[part] += x.visit_parts[last, part]
    parts[NOC] += back_ps - x.visit[last].finish_ps
    x.visit[row.tail].next = x.now[0].pool_free
    x.now[0].pool_free = row.head
    row.head = row.tail = NONE
    row.pending = 0
    row.step += 1


# ---------------------------------------------------------------------- flit level


@inlined
def on_begin(x: Machine, v: int) -> None:
    """A visit got in line for its ADC groups; the choice of copies expects that it never waits."""
    site = x.visit[v].site
    _count(x, v)
    expected = servers_free_ps(x, site) + x.site[site].interval_ps * x.visit[v].size
    hold_servers(x, site, expected, ZERO, ZERO)
    unpin(x, v)


@inlined
def on_finish(x: Machine, v: int) -> None:
    """The last result of a visit is ready."""
    x.visit[v].finish_ps = x.now[0].time_ps
    _finish(x, v)


@inlined
def on_back(x: Machine, flight: int) -> None:
    """The last result of a stage is back at the digital unit."""
    _close(x, flight, x.now[0].time_ps)
    reach_digital(x, flight)
