"""Kernels that feed a flit-level network with messages and take them out again.

A *message* is one vector from a node to some nodes, cut into packets of at most
`packet_flits`. Nodes send their messages in the order in which they were started; a node
starts at most one flit per cycle. A message is delivered at a target when all its packets are.

Every router has an adder beside it. Parts of a reduction that meet at a router leave the
network into its adder, which has an input for each port of the router and room for whatever
waits, so parts that come in side by side do not wait for each other. The sum enters the router
again as a packet: its head as soon as the heads of all parts are there, every further flit as
soon as it is there of all parts, packet by packet of the vector; sums of several vectors take
turns at the adder's one output. A sum that waits for flits holds channels ahead of it only,
and its parts wait for nothing but the adder once their heads are there (packets are no longer
than a buffer, see `flit`), so this cannot deadlock. Against the packet level's join, which is
free, a join costs six cycles: the head leaves the router into the adder (4 cycles) and enters
again (2 cycles). The energy of that detour is not modelled: flits are charged for the links of
their route, as at the packet level.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import cimsim.engine.noc.flit_state as f
from cimsim.engine.noc.flit import PATIENCE_CYCLES, receive, route
from cimsim.engine.noc.flit_node import choose_channel, log_flit, post, take_flit
from cimsim.engine.noc.flit_state import FlitState
from cimsim.engine.noc.kernel import inlined, inner, kernel

__all__ = ["DELIVERED", "IDLE", "REACHED", "STUCK", "FeedState", "advance"]

REACHED, DELIVERED, IDLE, STUCK = range(4)

# Columns of FeedState.messages. INTO: message that starts at the adder that takes this one, or
# -1; NEED: parts that the adder waits for, 0 for a message of a node's own; TALLY: row of its
# first flit in FeedState.tally; QUEUE: its first row of FeedState.entries; FROM: its source.
FLITS, PACKETS, LO, HI, INTO, NEED, TALLY, QUEUE, FROM = range(9)
# Columns of FeedState.entries.
MESSAGE, FOLLOWING = range(2)
# Columns of FeedState.queues: first and last entry, then the message that is being sent, its
# next packet and that after the last, and whether the node is listed in FeedState.awake.
HEAD, TAIL, CURRENT, INDEX, END, IS_LISTED = range(6)
# Entries of FeedState.counts. EJECTED: whether flits of this cycle have been taken out.
PACKET_FLITS, AWAKE, FOUND, EJECTED, BEGUN = range(5)

Int64 = NDArray[np.int64]


class FeedState(NamedTuple):
    """Messages on their way, as arrays (N nodes, adders included).

    Attributes:
        messages: (M, 9) messages.
        entries: (E, 2) what waits in queues: a message, or one packet of a sum.
        queues: (N, 6) of every node.
        awake: (N,) nodes that have something to send.
        tally: (F,) parts of every flit of a sum that are at its adder.
        found: (N, 2) message and node of deliveries in this cycle.
        begun: (N, 3) node, message and entry of sums whose heads are complete in this cycle.
        injected: (N, 2) flits and packets that nodes sent.
        counts: (5,) counters.
    """

    messages: Int64
    entries: Int64
    queues: Int64
    awake: Int64
    tally: Int64
    found: Int64
    begun: Int64
    injected: Int64
    counts: Int64


@inlined
def _enqueue(feed: FeedState, node: int, entry: int) -> None:
    """Put an entry at the end of a node's queue."""
    feed.entries[entry, FOLLOWING] = -1
    last = feed.queues[node, TAIL]
    if last < 0:
        feed.queues[node, HEAD] = entry
    else:
        feed.entries[last, FOLLOWING] = entry
    feed.queues[node, TAIL] = entry
    if feed.queues[node, IS_LISTED] == 0:
        feed.queues[node, IS_LISTED] = 1
        feed.awake[feed.counts[AWAKE]] = node
        feed.counts[AWAKE] += 1


@inner
def _last_node(state: FlitState, feed: FeedState, bucket: int, entry: int, vcs: int) -> int:
    """Return the last of the nodes that take a head of this packet of a sum in this cycle."""
    last = -1
    for k in range(state.due[bucket, f.TO_NODE]):
        flit = state.arrivals[bucket, f.TO_NODE, k, 1]
        into = feed.messages[state.packets[flit >> 2, f.MESSAGE], INTO]
        if flit & 2 and into >= 0:
            index = state.packets[flit >> 2, f.INDEX]
            if feed.messages[into, QUEUE] + index == entry:
                last = max(last, state.arrivals[bucket, f.TO_NODE, k, 0] // vcs)
    return last


@inner
def _begin_sums(state: FlitState, feed: FeedState, bucket: int, vcs: int) -> None:
    """Queue the sums that begin in this cycle, in order of the node that takes the last head.

    Flits reach nodes side by side: the order in which they are listed means nothing.
    """
    count = feed.counts[BEGUN]
    if count > 1:
        for k in range(count):
            node = _last_node(state, feed, bucket, feed.begun[k, 2], vcs)
            message, entry, to = feed.begun[k, 1], feed.begun[k, 2], k
            while to > 0 and feed.begun[to - 1, 0] > node:
                for column in range(3):
                    feed.begun[to, column] = feed.begun[to - 1, column]
                to -= 1
            feed.begun[to, 0], feed.begun[to, 1], feed.begun[to, 2] = node, message, entry
    for k in range(count):
        _enqueue(feed, feed.messages[feed.begun[k, 1], FROM], feed.begun[k, 2])


@inner
def _eject(state: FlitState, feed: FeedState, time: int, vcs: int) -> None:
    """Take out the flits that reach nodes and adders."""
    bucket, totals = time % state.due.shape[0], state.totals
    feed.counts[FOUND] = feed.counts[BEGUN] = 0
    for k in range(state.due[bucket, f.TO_NODE]):
        row = state.arrivals[bucket, f.TO_NODE, k, 0]
        flit = state.arrivals[bucket, f.TO_NODE, k, 1]
        packet, node = flit >> 2, take_flit(state, time, row, vcs)
        message, got = state.packets[packet, f.MESSAGE], state.packets[packet, f.GOT]
        log_flit(state, time, node, message, state.packets[packet, f.INDEX], flit & 3)
        state.packets[packet, f.GOT] = got + 1
        into = feed.messages[message, INTO]
        if into >= 0:
            index = state.packets[packet, f.INDEX]
            at = feed.messages[into, TALLY] + index * feed.counts[PACKET_FLITS] + got
            feed.tally[at] += 1
            if got == 0 and feed.tally[at] == feed.messages[into, NEED]:
                begun = feed.counts[BEGUN]
                feed.begun[begun, 1] = into
                feed.begun[begun, 2] = feed.messages[into, QUEUE] + index
                feed.counts[BEGUN] = begun + 1
        if flit & 1:
            if into < 0:
                target = state.packets[packet, f.LO]
                state.targets[target, f.MISSING] -= 1
                if state.targets[target, f.MISSING] == 0:
                    feed.found[feed.counts[FOUND], 0] = message
                    feed.found[feed.counts[FOUND], 1] = node
                    feed.counts[FOUND] += 1
            state.free[totals[f.FREE]] = packet
            totals[f.FREE] += 1
    _begin_sums(state, feed, bucket, vcs)
    state.due[bucket, f.TO_NODE] = 0


@inner
def _start_packet(state: FlitState, feed: FeedState, node: int) -> None:
    """Make the next packet of a node's queue, if there is one."""
    own = feed.queues[node]
    if own[CURRENT] < 0 or own[INDEX] == own[END]:
        entry = own[HEAD]
        own[CURRENT] = -1
        if entry < 0:
            return
        own[HEAD] = feed.entries[entry, FOLLOWING]
        if own[HEAD] < 0:
            own[TAIL] = -1
        message = feed.entries[entry, MESSAGE]
        own[CURRENT], own[INDEX], own[END] = message, 0, feed.messages[message, PACKETS]
        if feed.messages[message, NEED] > 0:
            own[INDEX] = entry - feed.messages[message, QUEUE]
            own[END] = own[INDEX] + 1
    message = own[CURRENT]
    state.totals[f.FREE] -= 1
    packet = state.free[state.totals[f.FREE]]
    state.nodes[node, f.PACKET] = packet
    state.nodes[node, f.FLITS_SENT] = 0
    state.nodes[node, f.VC] = -1
    fields = state.packets[packet]
    fields[f.SOURCE], fields[f.HOPS], fields[f.GOT] = node, 0, 0
    fields[f.LO], fields[f.HI] = feed.messages[message, LO], feed.messages[message, HI]
    one = fields[f.HI] == fields[f.LO] + 1
    fields[f.TARGET] = state.targets[fields[f.LO], f.NODE] if one else -1
    fields[f.MESSAGE], fields[f.INDEX] = message, own[INDEX]
    own[INDEX] += 1


@inner
def _send(state: FlitState, feed: FeedState, node: int, time: int, vcs: int) -> None:
    """Send the next flit of a node's packet, if there is a channel, a credit and the flit."""
    nodes, size = state.nodes, feed.counts[PACKET_FLITS]
    if nodes[node, f.VC] < 0:
        choose_channel(state, node, vcs)
    vc, packet, sent = nodes[node, f.VC], nodes[node, f.PACKET], nodes[node, f.FLITS_SENT]
    if vc < 0 or state.node_vcs[node * vcs + vc, f.CREDITS] == 0:
        return
    message, index = state.packets[packet, f.MESSAGE], state.packets[packet, f.INDEX]
    need = feed.messages[message, NEED]
    if need > 0 and feed.tally[feed.messages[message, TALLY] + index * size + sent] < need:
        return
    tail = sent + 1 == min(size, feed.messages[message, FLITS] - index * size)
    flit = packet * 4 + (2 if sent == 0 else 0) + (1 if tail else 0)
    entry = nodes[node, f.ENTRY] + vc
    post(state, time + state.delays[f.INJECT], f.TO_ROUTER, entry, flit)
    nodes[node, f.FLITS_SENT] = sent + 1
    state.node_vcs[node * vcs + vc, f.CREDITS] -= 1
    feed.injected[node, 0] += 1
    state.totals[f.INJECTED_FLITS] += 1
    state.totals[f.LAST_MOVE] = time
    if tail:
        feed.injected[node, 1] += 1
        state.node_vcs[node * vcs + vc, f.IN_USE] = 0
        nodes[node, f.PACKET] = -1


@inner
def _inject(state: FlitState, feed: FeedState, time: int, vcs: int) -> None:
    """Let nodes take their credits and send a flit each."""
    bucket = time % state.due.shape[0]
    for k in range(state.due[bucket, f.NODE_CREDIT]):
        state.node_vcs[state.arrivals[bucket, f.NODE_CREDIT, k, 0], f.CREDITS] += 1
    state.due[bucket, f.NODE_CREDIT] = 0
    k = 0
    while k < feed.counts[AWAKE]:
        node = feed.awake[k]
        if state.nodes[node, f.PACKET] < 0:
            _start_packet(state, feed, node)
        if state.nodes[node, f.PACKET] >= 0:
            _send(state, feed, node, time, vcs)
            k += 1
        else:  # nothing left; the last of the list takes its place
            feed.queues[node, IS_LISTED] = 0
            feed.counts[AWAKE] -= 1
            feed.awake[k] = feed.awake[feed.counts[AWAKE]]


@inlined
def _is_idle(state: FlitState, feed: FeedState) -> bool:
    """Return whether no packet, queue, flit or credit is left."""
    if feed.counts[AWAKE] > 0 or state.totals[f.FREE] < state.free.size:
        return False
    left = 0
    for bucket in range(state.due.shape[0]):
        for kind in range(state.due.shape[1]):
            left += state.due[bucket, kind]
    return left == 0


@kernel
def advance(state: FlitState, feed: FeedState, until: int, vcs: int) -> int:
    """Simulate cycles until messages are delivered, or there is nothing to simulate.

    A cycle in which messages are delivered is stopped in the middle: what is started then
    belongs to it still.

    Args:
        state: the network, changed in place.
        feed: the messages, changed in place; deliveries are in `found`.
        until: first cycle that is not simulated.
        vcs: virtual channels per port.

    Returns:
        DELIVERED; REACHED at `until`; IDLE if nothing is on its way, the clock then at
        `until`; STUCK if no flit moved for `PATIENCE_CYCLES`.
    """
    totals, counts = state.totals, feed.counts
    while totals[f.TIME] < until:
        time = totals[f.TIME]
        if counts[EJECTED] == 0:
            if _is_idle(state, feed):
                totals[f.TIME] = totals[f.LAST_MOVE] = until
                return IDLE
            if time - totals[f.LAST_MOVE] > PATIENCE_CYCLES:
                return STUCK
            _eject(state, feed, time, vcs)
            counts[EJECTED] = 1
            if counts[FOUND] > 0:
                return DELIVERED
        _inject(state, feed, time, vcs)
        receive(state, time, vcs)
        route(state, time, vcs)
        counts[EJECTED] = 0
        totals[f.TIME] = time + 1
    return REACHED
