"""Which experts are resident: slots, who waits for them, and whom a new expert replaces.

Policies: `lru` gives up the free slot used longest ago; `lfu` the one whose expert was used
least often; `pinned` never gives up the hottest experts of the routing, once loaded;
`prefetch` is lru that also loads experts before they are asked for (`events.prefetch`).

Every chip keeps residents of its own: experts live in the slots of one chip, compete for them
with the others that live there, and queue there.

A slot is pinned while visits to its expert are on their way to it, and busy while it is
being loaded. A load takes an empty slot, else the free slot that the policy gives up. When
no slot is free, the expert queues; visits to an expert that is not resident wait at their
digital unit and hold no buffer.
"""

from __future__ import annotations

from cimsim.engine.events.buffers import take_room
from cimsim.engine.events.machine import Machine
from cimsim.engine.events.schedule import EXPERT, WEIGHTS, WRITTEN, push, take_memory
from cimsim.engine.events.sending import send_one
from cimsim.engine.events.servers import hold_servers, servers_free_ps
from cimsim.engine.noc.kernel import ONE, ZERO, inlined, inner
from cimsim.engine.policies import LFU, PINNED
from cimsim.engine.raw import DRAM, NOC, QUEUE, WRITE
from cimsim.engine.transport import send_train

__all__ = ["load", "make_resident", "on_weights", "on_written", "touch", "unpin", "victim"]

NONE = -1


@inner
def touch(x: Machine, slot: int) -> None:
    """Note a use of a slot."""
    x.now[0].clock += 1
    x.slot[slot].last_use = x.now[0].clock


@inner
def _pin(x: Machine, v: int, slot: int) -> None:
    """Send a visit to a slot."""
    x.visit[v].site = x.slot[slot].site
    x.slot[slot].pins += 1
    x.expert[x.visit[v].expert].uses += 1
    touch(x, slot)


@inner
def unpin(x: Machine, v: int) -> None:
    """A visit has begun: its slot may be given up when no other is on its way."""
    expert = x.visit[v].expert
    if expert != NONE:
        slot = x.slot[x.expert[expert].slot]
        slot.pins -= 1
        if slot.pins == 0:
            _serve_slots(x, slot.chip)


@inlined
def make_resident(x: Machine, v: int) -> bool:
    """Whether a visit's expert is resident; if not, have it loaded."""
    number, now = x.visit[v].expert, x.now[0]
    if number == NONE:
        return True
    expert = x.expert[number]
    slot = expert.slot
    x.requests[now.requested] = number
    now.requested += 1
    if slot != NONE and x.slot[slot].loading == 0:
        now.hits += 1
        _pin(x, v, slot)
        return True
    now.misses += 1
    alone = expert.head == NONE
    if alone:
        expert.head = v
    else:
        x.visit[expert.tail].wait_next = v
    expert.tail = v
    x.visit[v].wait_next = NONE
    if slot == NONE and alone:
        chip = x.chip[expert.home]
        x.slot_queue[expert.home, (chip.queue_first + chip.queued) % x.slot_queue.shape[1]] = number
        chip.queued += 1
        _serve_slots(x, expert.home)
    return False


@inner
def victim(x: Machine, chip: int) -> int:
    """Return the slot that a chip's next load takes, or -1 if none may be given up."""
    best, best_held, best_uses, policy = NONE, 0, 0, x.fixed[0].policy
    for number in range(x.slot.shape[0]):
        slot = x.slot[number]
        if slot.chip != chip or slot.pins != 0 or slot.loading != 0:
            continue
        expert = slot.holds
        if policy == PINNED and expert != NONE and x.expert[expert].hot != 0:
            continue
        held, uses = (1 if expert != NONE else 0), 0
        if policy == LFU and expert != NONE:
            uses = x.expert[expert].uses
        better = best == NONE or held < best_held
        if not better and held == best_held:
            better = uses < best_uses or (
                uses == best_uses and slot.last_use < x.slot[best].last_use
            )
        if better:
            best, best_held, best_uses = number, held, uses
    return best


@inner
def _serve_slots(x: Machine, number: int) -> None:
    """Start loads while experts of a chip queue and slots of it are free."""
    chip = x.chip[number]
    while chip.queued > 0:
        slot = victim(x, number)
        if slot == NONE:
            return
        expert = x.slot_queue[number, chip.queue_first]
        chip.queue_first = (chip.queue_first + 1) % x.slot_queue.shape[1]
        chip.queued -= 1
        load(x, expert, slot)


@inner
def load(x: Machine, number: int, slot: int) -> None:
    """Fetch an expert's weights from memory and send them to a slot's tiles."""
    row, expert, fixed = x.slot[slot], x.expert[number], x.fixed[0]
    left = take_memory(x, row.chip, expert.fetch_ps, EXPERT, number, -ONE)
    row.start_ps, row.fetched_ps = x.now[0].time_ps, left + fixed.latency_ps
    row.arrived_ps = row.fetched_ps
    if fixed.flit == 0:  # there they are sent when all are fetched
        _send_weights(x, slot, expert.flits)
    if row.holds != NONE:
        x.expert[row.holds].slot = NONE
    row.holds, row.loading = number, 1
    row.loads += 1
    expert.slot = slot
    expert.loads += 1
    push(x, row.arrived_ps, WEIGHTS, slot)


@inlined
def _send_weights(x: Machine, slot: int, flits: int) -> None:
    """Send weights from all channels of a chip to all tiles of a slot."""
    row, site, channels = x.slot[slot], x.site[x.slot[slot].site], x.fixed[0].channels
    for channel in range(row.chip * channels, (row.chip + 1) * channels):
        port = x.fixed[0].first_channel + channel
        for at in range(site.tiles, site.tiles_end):
            done = send_train(x.net, row.fetched_ps, row.fetched_ps, port, x.tiles[at], flits, ONE)
            row.arrived_ps = max(row.arrived_ps, done)


@inlined
def on_weights(x: Machine, slot: int) -> None:
    """Weights are at a slot: write them when its ADC groups are free."""
    row, now = x.slot[slot], x.now[0]
    work = x.expert[row.holds].write_ps
    row.write_ps = servers_free_ps(x, row.site)
    row.end_ps = row.write_ps + work
    hold_servers(x, row.site, row.end_ps, ZERO, work)
    if x.fixed[0].record != 0:
        log = x.load_log[now.load_rows]
        now.load_rows += 1
        log.slot, log.expert, log.start_ps, log.fetched_ps = (
            slot, row.holds, row.start_ps, row.fetched_ps,
        )  # fmt: skip
        log.arrived_ps, log.write_ps, log.end_ps = row.arrived_ps, row.write_ps, row.end_ps
    push(x, row.end_ps, WRITTEN, slot)


@inlined
def on_written(x: Machine, slot: int) -> None:
    """A slot is written: send the visits that waited for its expert."""
    row, now_ps = x.slot[slot], x.now[0].time_ps
    row.loading = 0
    expert = x.expert[row.holds]
    waiting = expert.head
    expert.head = expert.tail = NONE
    v = waiting
    while v != NONE:
        visit, parts = x.visit[v], x.visit_parts[v]
        # The phases of the load, from when the visit asked.
        asked = visit.asked_ps
        x.now[0].stall_ps += now_ps - asked
        for part, end in (
            (QUEUE, row.start_ps), (DRAM, row.fetched_ps), (NOC, row.arrived_ps), (WRITE, now_ps),
        ):  # fmt: skip
            parts[part] += max(0, end - asked)
            asked = max(asked, end)
        _pin(x, v, slot)
        v = visit.wait_next
    touch(x, slot)
    v = waiting
    while v != NONE:
        after = x.visit[v].wait_next  # `take_room` may put the visit into another queue
        if take_room(x, v):
            send_one(x, v)
        v = after
    _serve_slots(x, row.chip)
