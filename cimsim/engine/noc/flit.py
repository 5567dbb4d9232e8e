"""Flit-level, cycle-accurate network of input-queued virtual-channel routers.

A head flit that reaches the front of its input channel asks in one cycle for an output
virtual channel (separable islip allocation, one iteration, over all channels of the router),
in the next for the switch (islip over ports; an input port offers one of its channels for
each output, round robin), then crosses the switch and the link: four cycles per hop. Body
flits skip the first step. A flit needs a credit of its channel's next buffer to ask for the
switch. An output channel is free again when the tail has left (the next packet may queue
behind it). Routes are those of the topology and known when a flit arrives (routing delay 0).

A packet to several targets branches where their routes part. Every branch has an output
channel of its own and advances by itself, at most at one flit per cycle and input port (all
branches at that flit together); a slot of the input buffer is free when the slowest branch has
sent its flit. Packets that branch must be no longer than a buffer. They cannot deadlock then:
the packet at the front of an input channel has the buffer to itself as far as it needs it, so
its flits come in whatever its branches do, a branch waits for nothing but channels ahead on
its own route, and routes (with the classes of channels below) wait for each other in no circle.
This is virtual cut-through multicast; with longer packets a branch would wait for its sibling
to free slots, and two packets could do so crosswise.

The channels of a port are split into the classes that the topology needs so that no cycle of
channels can wait for itself: `cimsim.chip.routes.channel_class` says which one a packet uses.

A node starts at most one flit per cycle; its source queue is endless. iSLIP: McKeown, IEEE/ACM
Transactions on Networking 7(2), 1999. `tests/twins` has the same network written the plain way.

The kernels allocate nothing, so they are compiled without Numba's reference counts, which
would cost four fifths of the time; small ones are inlined. `flit_branch` holds what a packet's
head does, `flit_allocate` the two allocators, `flit_node` the nodes of synthetic traffic,
`flit_feed` those of messages.
"""

from __future__ import annotations

import cimsim.engine.noc.flit_state as f
from cimsim.chip.routes import LINKS
from cimsim.engine.noc.flit_allocate import allocate_switch, allocate_vcs
from cimsim.engine.noc.flit_branch import begin, enlist, strike
from cimsim.engine.noc.flit_node import eject, inject, post
from cimsim.engine.noc.flit_state import FlitState, FlitTraffic
from cimsim.engine.noc.kernel import inlined, inner, kernel

__all__ = ["DRAINED", "PATIENCE_CYCLES", "RUNNING", "STUCK", "receive", "route", "run_cycles"]

RUNNING, DRAINED, STUCK = 0, 1, 2
PATIENCE_CYCLES = 10_000


@inner
def _supply(state: FlitState, row: int, count: int) -> None:
    """Let branches that have sent all flits of their channel, `count` so far, go on."""
    channels = state.outs.shape[0]
    further = state.vcs.shape[0] // channels - 1
    for k in range(state.vcs[row, f.BRANCHES]):
        branch = row if k == 0 else channels + row * further + k - 1
        sent = state.vcs[branch, f.TAKEN] - state.vcs[row, f.RELEASED]
        if state.vcs[branch, f.PHASE] == f.ACTIVE and sent == count:
            enlist(state, f.FOR_SWITCH, branch)


@kernel
def receive(state: FlitState, time: int, vcs: int) -> None:
    """Take in the flits and credits that reach routers in this cycle."""
    bucket, depth = time % state.due.shape[0], state.buffers.shape[1]
    for k in range(state.due[bucket, f.TO_ROUTER]):
        row = state.arrivals[bucket, f.TO_ROUTER, k, 0]
        count = state.vcs[row, f.COUNT]
        slot = state.vcs[row, f.FRONT] + count
        if slot >= depth:
            slot -= depth
        state.buffers[row, slot] = state.arrivals[bucket, f.TO_ROUTER, k, 1]
        state.vcs[row, f.COUNT] = count + 1
        if state.vcs[row, f.LEFT] == 0:
            begin(state, row, vcs)
        elif state.vcs[row, f.BRANCHES] > 1:
            _supply(state, row, count)
        elif state.vcs[row, f.PHASE] == f.ACTIVE and count == 0:
            enlist(state, f.FOR_SWITCH, row)
    for k in range(state.due[bucket, f.ROUTER_CREDIT]):
        state.outs[state.arrivals[bucket, f.ROUTER_CREDIT, k, 0], f.CREDITS] += 1
    state.due[bucket, f.TO_ROUTER] = 0
    state.due[bucket, f.ROUTER_CREDIT] = 0


@inner
def _slowest(state: FlitState, row: int) -> int:
    """Return the fewest flits that a branch of an input channel has sent."""
    channels = state.outs.shape[0]
    further = state.vcs.shape[0] // channels - 1
    least = state.vcs[row, f.TAKEN]
    for k in range(1, state.vcs[row, f.BRANCHES]):
        least = min(least, state.vcs[channels + row * further + k - 1, f.TAKEN])
    return int(least)


@inlined
def _release(state: FlitState, row: int, time: int) -> None:
    """Free the slot at the front of an input channel and return its credit."""
    front = state.vcs[row, f.FRONT] + 1
    state.vcs[row, f.FRONT] = front if front < state.buffers.shape[1] else 0
    state.vcs[row, f.COUNT] -= 1
    state.vcs[row, f.RELEASED] += 1
    kind, delay = f.NODE_CREDIT, state.delays[f.CREDIT_TO_NODE]
    if state.vcs[row, f.IN_PORT] < state.routes.geometry[LINKS]:
        kind, delay = f.ROUTER_CREDIT, state.delays[f.CREDIT_TO_ROUTER]
    post(state, time + delay, kind, state.vcs[row, f.UPSTREAM], -1)


@inlined
def _forward(state: FlitState, branch: int, time: int, vcs: int) -> None:
    """Send a branch's next flit through the switch; free its slot behind the last branch."""
    row = state.vcs[branch, f.OWNER]
    ahead = state.vcs[branch, f.TAKEN] - state.vcs[row, f.RELEASED]
    slot = state.vcs[row, f.FRONT] + ahead
    if slot >= state.buffers.shape[1]:
        slot -= state.buffers.shape[1]
    kinds, packet = state.buffers[row, slot] & 3, state.vcs[branch, f.COPY]
    out = state.vcs[branch, f.OUT]
    state.carried[out // vcs, 0] += 1
    if kinds & 2:
        state.packets[packet, f.HOPS] += 1
        state.carried[out // vcs, 1] += 1
    state.vcs[branch, f.TAKEN] += 1
    state.outs[out, f.CREDITS] -= 1
    local = state.vcs[branch, f.OUT_PORT] >= state.routes.geometry[LINKS]
    kind = f.TO_NODE if local else f.TO_ROUTER
    post(state, time + state.delays[f.HOP], kind, state.outs[out, f.BEYOND], packet * 4 + kinds)
    state.totals[f.LAST_MOVE] = time
    if kinds & 1:
        state.outs[out, f.IN_USE] = 0
        state.vcs[branch, f.PHASE] = f.IDLE
        state.vcs[row, f.LEFT] -= 1
    if kinds & 1 or ahead + 1 == state.vcs[row, f.COUNT]:
        strike(state, f.FOR_SWITCH, branch)
    if state.vcs[row, f.BRANCHES] == 1 or _slowest(state, row) > state.vcs[row, f.RELEASED]:
        _release(state, row, time)
    if state.vcs[row, f.LEFT] == 0 and state.vcs[row, f.COUNT] > 0:
        begin(state, row, vcs)


@kernel
def route(state: FlitState, time: int, vcs: int) -> None:
    """Run both allocators of every router on the state at the start of the cycle."""
    matches, winners, marks = state.work[0], state.work[1], state.work[2]
    k = 0
    while k < state.totals[f.AWAKE]:
        router = state.awake[k, f.LISTED]
        matched = won = 0
        if state.sizes[router, f.FOR_VC] > 0:
            matched = allocate_vcs(state, router, marks, matches)
        if state.sizes[router, f.FOR_SWITCH] > 0:
            won = allocate_switch(state, router, vcs, marks, winners)
        for i in range(matched):
            row, out = matches[2 * i], matches[2 * i + 1]
            state.vcs[row, f.OUT] = out
            state.vcs[row, f.PHASE] = f.ACTIVE
            state.outs[out, f.IN_USE] = 1
            strike(state, f.FOR_VC, row)
            enlist(state, f.FOR_SWITCH, row)
        for i in range(won):
            _forward(state, winners[i], time, vcs)
        if state.sizes[router, f.FOR_VC] + state.sizes[router, f.FOR_SWITCH] > 0:
            k += 1
        else:  # the last of the list takes its place
            state.awake[router, f.IS_LISTED] = 0
            state.totals[f.AWAKE] -= 1
            state.awake[k, f.LISTED] = state.awake[state.totals[f.AWAKE], f.LISTED]


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
        receive(state, time, vcs)
        route(state, time, vcs)
        totals[f.TIME] = time + 1
    return RUNNING
