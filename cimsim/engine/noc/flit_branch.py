"""What a packet at the front of an input channel does first: find its ways and wait for them.

`begin` gives it a branch for each output that its targets lie behind (one, unless it is a
multicast), and puts the branches on the list of those that wait for an output channel.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import cimsim.engine.noc.flit_state as f
from cimsim.chip.routes import CLASSES, LINKS, channel_class, next_port
from cimsim.engine.noc.flit_state import FlitState
from cimsim.engine.noc.kernel import inlined, inner

__all__ = ["begin", "enlist", "strike"]

Int64 = npt.NDArray[np.int64]


@inlined
def enlist(state: FlitState, kind: int, row: int) -> None:
    """Put a branch on one of its router's lists, and the router on that of the awake."""
    router = state.vcs[row, f.HOME]
    rank = state.sizes[router, kind]
    state.members[2 * router + kind, rank] = row
    state.vcs[row, f.RANK] = rank
    state.sizes[router, kind] = rank + 1
    if state.awake[router, f.IS_LISTED] == 0:
        state.awake[router, f.IS_LISTED] = 1
        state.awake[state.totals[f.AWAKE], f.LISTED] = router
        state.totals[f.AWAKE] += 1


@inlined
def strike(state: FlitState, kind: int, row: int) -> None:
    """Take a branch off one of its router's lists; the last takes its rank."""
    router = state.vcs[row, f.HOME]
    rank, last = state.vcs[row, f.RANK], state.sizes[router, kind] - 1
    moved = state.members[2 * router + kind, last]
    state.members[2 * router + kind, rank] = moved
    state.vcs[moved, f.RANK] = rank
    state.sizes[router, kind] = last


@inlined
def _branch(state: FlitState, row: int, packet: int, port: int, vcs: int) -> None:
    """Let a branch of the packet at the front of an input channel wait for an output channel."""
    router = state.vcs[row, f.HOME]
    low = (router * (state.ports.shape[0] // state.sizes.shape[0]) + port) * vcs
    high = low + vcs
    classes, links = state.routes.geometry[CLASSES], state.routes.geometry[LINKS]
    if classes > 1 and port < links:
        start = state.nodes[state.packets[packet, f.SOURCE], f.ROUTER]
        own = channel_class(state.routes, start, router * links + port)
        high = low + (own + 1) * vcs // classes
        low += own * vcs // classes
    state.vcs[row, f.COPY] = packet
    state.vcs[row, f.TAKEN] = 0
    state.vcs[row, f.OUT_PORT] = port
    state.vcs[row, f.LOW] = low
    state.vcs[row, f.HIGH] = high
    state.vcs[row, f.PHASE] = f.WAITING
    enlist(state, f.FOR_VC, row)


@inlined
def _way(state: FlitState, router: int, target: int) -> int:
    """Return the port through which a packet to a node leaves a router."""
    port = next_port(state.routes, router, state.nodes[target, f.ROUTER])
    return int(state.nodes[target, f.PORT] if port < 0 else port)


@inner
def _fork(state: FlitState, row: int, packet: int, vcs: int) -> int:
    """Branch a packet to several targets; return how many branches there are.

    Targets are in an order in which those behind each output follow each other (`flit_tree`),
    so every branch is a packet to a part of them.
    """
    router, count = state.vcs[row, f.HOME], 0
    channels = state.outs.shape[0]
    further = state.vcs.shape[0] // channels - 1
    at, end = state.packets[packet, f.LO], state.packets[packet, f.HI]
    while at < end:
        low, port = at, _way(state, router, state.targets[at, f.NODE])
        at += 1
        while at < end and _way(state, router, state.targets[at, f.NODE]) == port:
            at += 1
        branch, copy = row, packet
        if count > 0:
            branch = channels + row * further + count - 1
            state.totals[f.FREE] -= 1
            copy = state.free[state.totals[f.FREE]]
            for field in range(state.packets.shape[1]):
                state.packets[copy, field] = state.packets[packet, field]
        state.packets[copy, f.LO], state.packets[copy, f.HI] = low, at
        state.packets[copy, f.TARGET] = state.targets[low, f.NODE] if at == low + 1 else -1
        _branch(state, branch, copy, port, vcs)
        count += 1
    return count


@inlined
def begin(state: FlitState, row: int, vcs: int) -> None:
    """Route the head flit at the front of an input channel; it waits for output channels."""
    packet = state.buffers[row, state.vcs[row, f.FRONT]] >> 2
    target = state.packets[packet, f.TARGET]
    count = 1
    if target >= 0:
        _branch(state, row, packet, _way(state, state.vcs[row, f.HOME], target), vcs)
    else:
        count = _fork(state, row, packet, vcs)
    state.vcs[row, f.BRANCHES] = state.vcs[row, f.LEFT] = count
    state.vcs[row, f.RELEASED] = 0
