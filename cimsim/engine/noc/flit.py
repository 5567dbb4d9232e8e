"""Flit-level, cycle-accurate network of input-queued virtual-channel routers.

A head flit that reaches the front of its input channel asks in one cycle for an output
virtual channel (separable islip allocation, one iteration, over all channels of the router),
in the next for the switch (islip over ports; an input port offers one of its channels for
each output, round robin), then crosses the switch and the link: four cycles a hop. Body
flits skip the first step. A flit needs a credit of its channel's next buffer to ask for the
switch. An output channel is free again when the tail has left (the next packet may queue
behind it). Routes are XY and known when a flit arrives (routing delay 0).

In a torus a packet uses the lower half of the channels until it passes the wrap-around link
of the dimension that it travels in, and the upper half from then on (Dally and Seitz, 1987),
so no cycle of channels can wait for itself.

A node starts at most one flit a cycle; its source queue is endless. iSLIP: McKeown, IEEE/ACM
Transactions on Networking 7(2), 1999. `flit_twin` is the same network written the plain way.

The kernels allocate nothing, so they are compiled without Numba's reference counts, which
would cost four fifths of the time; small ones are inlined. `flit_allocate` holds the two
allocators, `flit_node` the nodes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import cimsim.engine.noc.flit_state as f
from cimsim.engine.noc.flit_allocate import allocate_switch, allocate_vcs
from cimsim.engine.noc.flit_node import eject, inject, post
from cimsim.engine.noc.flit_state import FlitState, FlitTraffic
from cimsim.engine.noc.kernel import inlined, kernel
from cimsim.engine.noc.shape import HEIGHT, LOCAL, WIDTH, WRAP, next_direction

__all__ = ["DRAINED", "RUNNING", "STUCK", "run_cycles", "wrapped"]

RUNNING, DRAINED, STUCK = 0, 1, 2
PATIENCE_CYCLES = 10_000

Int64 = npt.NDArray[np.int64]


@kernel
def wrapped(geometry: Int64, source: int, router: int, direction: int) -> bool:
    """Return whether a packet will have passed its dimension's dateline behind this link.

    Args:
        geometry: geometry vector of a torus.
        source: router at which the packet entered the network.
        router: router that the link leaves.
        direction: direction of the link, 0 to 3.
    """
    if direction < 2:
        size, start, here = geometry[WIDTH], source % geometry[WIDTH], router % geometry[WIDTH]
    else:
        size = geometry[HEIGHT]
        start, here = source // geometry[WIDTH], router // geometry[WIDTH]
    if direction % 2 == 0:
        return bool((here + 1) % size < start)
    return bool((here - 1) % size > start)


@inlined
def _enlist(state: FlitState, kind: int, row: int) -> None:
    """Put an input channel on one of its router's lists."""
    router = state.vcs[row, f.HOME]
    rank = state.sizes[router, kind]
    state.members[2 * router + kind, rank] = row
    state.vcs[row, f.RANK] = rank
    state.sizes[router, kind] = rank + 1


@inlined
def _strike(state: FlitState, kind: int, row: int) -> None:
    """Take an input channel off one of its router's lists; the last takes its rank."""
    router = state.vcs[row, f.HOME]
    rank, last = state.vcs[row, f.RANK], state.sizes[router, kind] - 1
    moved = state.members[2 * router + kind, last]
    state.members[2 * router + kind, rank] = moved
    state.vcs[moved, f.RANK] = rank
    state.sizes[router, kind] = last


@inlined
def _begin(state: FlitState, row: int, vcs: int) -> None:
    """Route the head flit at the front of an input channel; it waits for an output channel."""
    router = state.vcs[row, f.HOME]
    packet = state.buffers[row, state.vcs[row, f.FRONT]] >> 2
    target = state.packets[packet, f.TARGET]
    direction = next_direction(state.geometry, router, state.nodes[target, f.ROUTER])
    port = state.nodes[target, f.PORT] if direction == LOCAL else direction
    low = (router * (state.ports.shape[0] // state.sizes.shape[0]) + port) * vcs
    high = low + vcs
    if state.geometry[WRAP] != 0 and direction != LOCAL:
        start = state.nodes[state.packets[packet, f.SOURCE], f.ROUTER]
        if wrapped(state.geometry, start, router, direction):
            low += vcs // 2
        else:
            high = low + vcs // 2
    state.vcs[row, f.OUT_PORT] = port
    state.vcs[row, f.LOW] = low
    state.vcs[row, f.HIGH] = high
    state.vcs[row, f.PHASE] = f.WAITING
    _enlist(state, f.FOR_VC, row)


@kernel
def _receive(state: FlitState, time: int, vcs: int) -> None:
    """Take in the flits and credits that reach routers in this cycle."""
    bucket, depth = time % f.BUCKETS, state.buffers.shape[1]
    for k in range(state.due[bucket, f.TO_ROUTER]):
        row = state.arrivals[bucket, f.TO_ROUTER, k, 0]
        count = state.vcs[row, f.COUNT]
        slot = state.vcs[row, f.FRONT] + count
        if slot >= depth:
            slot -= depth
        state.buffers[row, slot] = state.arrivals[bucket, f.TO_ROUTER, k, 1]
        state.vcs[row, f.COUNT] = count + 1
        if state.vcs[row, f.PHASE] == f.IDLE:
            _begin(state, row, vcs)
        elif state.vcs[row, f.PHASE] == f.ACTIVE and count == 0:
            _enlist(state, f.FOR_SWITCH, row)
    for k in range(state.due[bucket, f.ROUTER_CREDIT]):
        state.outs[state.arrivals[bucket, f.ROUTER_CREDIT, k, 0], f.CREDITS] += 1
    state.due[bucket, f.TO_ROUTER] = 0
    state.due[bucket, f.ROUTER_CREDIT] = 0


@inlined
def _forward(state: FlitState, row: int, time: int, vcs: int) -> None:
    """Send the front flit of an input channel through the switch; return its credit."""
    front = state.vcs[row, f.FRONT]
    flit = state.buffers[row, front]
    state.vcs[row, f.FRONT] = front + 1 if front + 1 < state.buffers.shape[1] else 0
    left = state.vcs[row, f.COUNT] - 1
    state.vcs[row, f.COUNT] = left
    if flit & 2:
        state.packets[flit >> 2, f.HOPS] += 1
    out = state.vcs[row, f.OUT]
    state.outs[out, f.CREDITS] -= 1
    kind = f.TO_ROUTER if state.vcs[row, f.OUT_PORT] < LOCAL else f.TO_NODE
    post(state, time + f.HOP, kind, state.outs[out, f.BEYOND], flit)
    kind, delay = f.NODE_CREDIT, f.CREDIT_TO_NODE
    if state.vcs[row, f.IN_PORT] < LOCAL:
        kind, delay = f.ROUTER_CREDIT, f.CREDIT_TO_ROUTER
    post(state, time + delay, kind, state.vcs[row, f.UPSTREAM], -1)
    state.totals[f.LAST_MOVE] = time
    if flit & 1:
        state.outs[out, f.IN_USE] = 0
        state.vcs[row, f.PHASE] = f.IDLE
    if flit & 1 or left == 0:
        _strike(state, f.FOR_SWITCH, row)
    if flit & 1 and left > 0:
        _begin(state, row, vcs)


@kernel
def _route(state: FlitState, time: int, vcs: int) -> None:
    """Run both allocators of every router on the state at the start of the cycle."""
    matches, winners, marks = state.work[0], state.work[1], state.work[2]
    for router in range(state.sizes.shape[0]):
        matched = won = 0
        if state.sizes[router, f.FOR_VC] > 0:
            matched = allocate_vcs(state, router, marks, matches)
        if state.sizes[router, f.FOR_SWITCH] > 0:
            won = allocate_switch(state, router, vcs, marks, winners)
        for k in range(matched):
            row, out = matches[2 * k], matches[2 * k + 1]
            state.vcs[row, f.OUT] = out
            state.vcs[row, f.PHASE] = f.ACTIVE
            state.outs[out, f.IN_USE] = 1
            _strike(state, f.FOR_VC, row)
            _enlist(state, f.FOR_SWITCH, row)
        for k in range(won):
            _forward(state, winners[k], time, vcs)


@kernel
def _drained(state: FlitState) -> bool:
    """Return whether every measured packet has left its source and the network."""
    totals = state.totals
    if totals[f.CREATED_PACKETS] > totals[f.DONE_PACKETS]:
        return False
    for node in range(state.nodes.shape[0]):
        if state.nodes[node, f.NEXT_TRIAL] < totals[f.MEASURE_TO]:
            return False
    return True


@kernel
def run_cycles(state: FlitState, traffic: FlitTraffic, until: int, drain: int) -> int:
    """Advance the network and return why it stopped.

    Args:
        state: the network, changed in place.
        traffic: what the nodes send.
        until: first cycle that is not simulated.
        drain: not 0 to stop as soon as all measured packets have arrived.

    Returns:
        RUNNING at `until`, DRAINED, or STUCK if no flit moved for `PATIENCE_CYCLES`
        although there are packets in the network.
    """
    totals = state.totals
    vcs = state.vcs.shape[0] // state.ports.shape[0]
    while totals[f.TIME] < until:
        time = totals[f.TIME]
        if drain != 0 and _drained(state):
            return DRAINED
        if time - totals[f.LAST_MOVE] > PATIENCE_CYCLES and totals[f.FREE] < state.free.size:
            return STUCK
        eject(state, time, vcs)
        inject(state, traffic, time, vcs)
        _receive(state, time, vcs)
        _route(state, time, vcs)
        totals[f.TIME] = time + 1
    return RUNNING
