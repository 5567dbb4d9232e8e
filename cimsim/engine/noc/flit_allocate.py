"""The two allocators of a virtual-channel router: output channels, and the switch.

Both are separable islip allocators with one iteration (McKeown, IEEE/ACM Transactions on
Networking 7(2), 1999): every output grants one of its requests, round robin; every input
accepts one of its grants, round robin; the pointers move behind accepted grants only.

A packet that branches here asks for an output channel for each branch, which accepts by
itself with a pointer of its own. In the switch, the input port that accepts a flit for one
branch also sends it to the other branches of its channel that were granted an output and
wait for the same flit: one read of the buffer, one line of the crossbar, several outputs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import cimsim.engine.noc.flit_state as f
from cimsim.engine.noc.flit_state import FlitState
from cimsim.engine.noc.kernel import inlined, inner

__all__ = ["allocate_switch", "allocate_vcs"]

Int64 = npt.NDArray[np.int64]


@inlined
def _nearer(value: int, other: int, pointer: int) -> bool:
    """Return whether a round-robin pointer reaches `value` before `other` (-1: none)."""
    if other < 0:
        return True
    if (value >= pointer) == (other >= pointer):
        return value < other
    return value >= pointer


@inlined
def allocate_vcs(state: FlitState, router: int, granted: Int64, matches: Int64) -> int:
    """Match waiting input channels with free output channels.

    Every waiting channel asks for all free channels of its output that it may use.

    Args:
        state: the network; only the round-robin pointers change.
        router: the router.
        granted: work space of -1, at least one entry per channel of the router.
        matches: out, pairs of the row of an input and of an output channel.

    Returns:
        The number of pairs.
    """
    channels = state.outs.shape[0] // state.sizes.shape[0]
    base = router * channels
    waiting = state.sizes[router, f.FOR_VC]
    won = 0
    for k in range(waiting):
        row = state.members[2 * router + f.FOR_VC, k]
        i = state.vcs[row, f.OWNER] - base
        for out in range(state.vcs[row, f.LOW], state.vcs[row, f.HIGH]):
            if state.outs[out, f.IN_USE] == 0 and _nearer(
                i, granted[out - base], state.outs[out, f.VA_GRANT]
            ):
                granted[out - base] = i
    for k in range(waiting):
        row = state.members[2 * router + f.FOR_VC, k]
        i, best = state.vcs[row, f.OWNER] - base, -1
        for out in range(state.vcs[row, f.LOW], state.vcs[row, f.HIGH]):
            if granted[out - base] == i and _nearer(out - base, best, state.vcs[row, f.VA_ACCEPT]):
                best = out - base
        if best >= 0:
            matches[2 * won] = row
            matches[2 * won + 1] = base + best
            won += 1
            state.outs[base + best, f.VA_GRANT] = i + 1 if i + 1 < channels else 0
            state.vcs[row, f.VA_ACCEPT] = best + 1 if best + 1 < channels else 0
    for k in range(waiting):
        row = state.members[2 * router + f.FOR_VC, k]
        for out in range(state.vcs[row, f.LOW], state.vcs[row, f.HIGH]):
            granted[out - base] = -1
    return won


# Long: inlined into every router's cycle; in parts, its marks and winners would be passed around.
@inlined
def allocate_switch(state: FlitState, router: int, vcs: int, marks: Int64, winners: Int64) -> int:
    """Match input ports with output ports.

    An input port offers one channel, round robin, for every output that its channels want
    and have a credit for.

    Args:
        state: the network; only the round-robin pointers change.
        router: the router.
        vcs: virtual channels per port.
        marks: work space of -1, P (P + 3) entries for P ports: the channel that each input
            offers to each output, the input that each output grants, the output that each
            input accepts, the flit of its packet that it then sends.
        winners: out, rows of branches, at most one per output port.

    Returns:
        The number of winners.
    """
    ports = state.ports.shape[0] // state.sizes.shape[0]
    first, grants, accepts = router * ports, ports * ports, ports * ports + ports
    sends = accepts + ports
    ready = state.sizes[router, f.FOR_SWITCH]
    won = 0
    for k in range(ready):
        row = state.members[2 * router + f.FOR_SWITCH, k]
        port, out, vc = (
            state.vcs[row, f.IN_PORT],
            state.vcs[row, f.OUT_PORT],
            state.vcs[row, f.IN_VC],
        )
        if state.outs[state.vcs[row, f.OUT], f.CREDITS] > 0:
            if _nearer(vc, marks[port * ports + out], state.ports[first + port, f.SA_VC]):
                marks[port * ports + out] = vc
            if _nearer(port, marks[grants + out], state.ports[first + out, f.SA_GRANT]):
                marks[grants + out] = port
    for k in range(ready):
        row = state.members[2 * router + f.FOR_SWITCH, k]
        port, out = state.vcs[row, f.IN_PORT], state.vcs[row, f.OUT_PORT]
        if marks[grants + out] == port and _nearer(
            out, marks[accepts + port], state.ports[first + port, f.SA_ACCEPT]
        ):
            marks[accepts + port] = out
    for k in range(ready):
        row = state.members[2 * router + f.FOR_SWITCH, k]
        port, out = state.vcs[row, f.IN_PORT], state.vcs[row, f.OUT_PORT]
        if marks[accepts + port] == out and marks[port * ports + out] == state.vcs[row, f.IN_VC]:
            marks[sends + port] = state.vcs[row, f.TAKEN]
            winners[won] = row
            won += 1
    accepted = won
    if state.vcs.shape[0] > state.outs.shape[0]:
        won = _branches(state, router, marks, winners, won)
    for k in range(ready):
        row = state.members[2 * router + f.FOR_SWITCH, k]
        port, out = state.vcs[row, f.IN_PORT], state.vcs[row, f.OUT_PORT]
        marks[port * ports + out] = -1
        marks[grants + out] = -1
        marks[accepts + port] = -1
    for k in range(won):
        row = winners[k]
        port, out, vc = (
            state.vcs[row, f.IN_PORT],
            state.vcs[row, f.OUT_PORT],
            state.vcs[row, f.IN_VC],
        )
        state.ports[first + out, f.SA_GRANT] = port + 1 if port + 1 < ports else 0
        if k < accepted:
            state.ports[first + port, f.SA_ACCEPT] = out + 1 if out + 1 < ports else 0
            state.ports[first + port, f.SA_VC] = vc + 1 if vc + 1 < vcs else 0
    return won


@inner
def _branches(state: FlitState, router: int, marks: Int64, winners: Int64, won: int) -> int:
    """Add the branches that take the same flit as an accepted one; return how many rows won."""
    ports = state.ports.shape[0] // state.sizes.shape[0]
    grants, accepts = ports * ports, ports * ports + ports
    for k in range(state.sizes[router, f.FOR_SWITCH]):
        row = state.members[2 * router + f.FOR_SWITCH, k]
        port, out, vc = (
            state.vcs[row, f.IN_PORT],
            state.vcs[row, f.OUT_PORT],
            state.vcs[row, f.IN_VC],
        )
        best = marks[accepts + port]
        if marks[grants + out] != port or best == out or best < 0:
            continue
        # The accepted branch, if it is of the same channel and at the same flit.
        same = marks[port * ports + best] == vc and marks[port * ports + out] == vc
        if same and marks[accepts + ports + port] == state.vcs[row, f.TAKEN]:
            winners[won] = row
            won += 1
    return won
