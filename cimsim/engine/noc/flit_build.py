"""Idle flit-level networks: arrays of the right size, and who is wired to whom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

import cimsim.engine.noc.flit_state as f
from cimsim.engine.noc.flit_state import FlitSettings, FlitState

__all__ = ["flit_state", "make_state"]

Int64 = npt.NDArray[np.int64]


def flit_state(settings: FlitSettings, longest_cycles: int, log: int = 0) -> FlitState:
    """Return an idle network of the shape's own nodes at cycle 0, for packets to one target.

    Args:
        settings: shape, virtual channels and buffers.
        longest_cycles: latencies up to this are counted one by one.
        log: how many ejected flits to log.
    """
    shape = settings.shape
    router = shape.node_routers.tolist()
    port = (shape.router_links + shape.node_ports).tolist()
    state = make_state(settings, router, port, settings.ports, f.DELAYS, branches=0)
    return state._replace(latencies=_zeros(longest_cycles + 1), log=_zeros(log, f.LOG_COLUMNS))


def make_state(
    settings: FlitSettings,
    node_routers: Sequence[int],
    node_ports: Sequence[int],
    ports: int,
    delays: tuple[int, ...],
    branches: int,
) -> FlitState:
    """Return an idle network at cycle 0.

    Args:
        settings: shape, virtual channels and buffers.
        node_routers: [nodes], router of every node.
        node_ports: [nodes], port of its router that it hangs on, behind those of links.
        ports: ports of a router.
        delays: entries of `FlitState.delays`.
        branches: further branches that a packet may have in a router.
    """
    shape, vcs, depth = settings.shape, settings.vcs, settings.buffer_flits
    rows, nodes = shape.routers * ports * vcs, len(node_routers)
    packets = rows * (depth + branches) + nodes * vcs * depth + nodes
    buckets = max(delays) + 1
    state = FlitState(
        routes=shape.routes,
        delays=np.array(delays, dtype=np.int64),
        vcs=_zeros(rows * (1 + branches), f.LEFT + 1),
        buffers=_zeros(rows, depth),
        outs=_zeros(rows, 4),
        ports=_zeros(shape.routers * ports, 3),
        carried=_zeros(shape.routers * ports, 2),
        sizes=_zeros(shape.routers, 2),
        members=_zeros(2 * shape.routers, ports * vcs * (1 + branches)),
        awake=_zeros(shape.routers, 2),
        packets=_zeros(packets, f.GOT + 1),
        free=np.arange(packets, dtype=np.int64),
        targets=_zeros(1, 2),
        nodes=_zeros(nodes, 8),
        node_vcs=_zeros(nodes * vcs, 2),
        due=_zeros(buckets, 4),
        arrivals=_zeros(buckets, 4, shape.routers * ports, 2),
        work=np.full((3, max(2 * ports * vcs, ports * (ports + 3))), -1, dtype=np.int64),
        totals=_zeros(f.AWAKE + 1),
        latencies=_zeros(1),
        log=_zeros(0, f.LOG_COLUMNS),
    )
    state.outs[:, f.CREDITS] = depth
    state.node_vcs[:, f.CREDITS] = depth
    state.totals[f.FREE] = packets
    _wire(settings, state, ports, branches)
    state.nodes[:, f.ROUTER], state.nodes[:, f.PORT] = node_routers, node_ports
    _attach(state, vcs, ports)
    return state


def _zeros(*size: int) -> Int64:
    return np.zeros(size, dtype=np.int64)


def _wire(settings: FlitSettings, state: FlitState, ports: int, branches: int) -> None:
    """Fill in which channel feeds which, and whose branch a row is."""
    shape, vcs, channels = settings.shape, settings.vcs, state.outs.shape[0]
    further = np.repeat(np.arange(channels), branches)
    row = np.concatenate([np.arange(channels), further])
    state.vcs[:, f.OWNER] = row
    state.vcs[:, f.HOME] = row // (ports * vcs)
    state.vcs[:, f.IN_PORT], state.vcs[:, f.IN_VC] = row // vcs % ports, row % vcs
    channel = np.arange(vcs)
    links = shape.router_links
    for router in range(shape.routers):
        for port in range(links):
            link = router * links + port
            if shape.link_end(link) >= 0:  # its far end is the port of the link that leads back
                there, back = divmod(shape.reverse(link), links)
                out = (router * ports + port) * vcs + channel
                far = (there * ports + back) * vcs + channel
                state.outs[out, f.BEYOND] = far
                state.vcs[far, f.UPSTREAM] = out


def _attach(state: FlitState, vcs: int, ports: int) -> None:
    """Join the nodes to their routers' ports."""
    channel = np.arange(vcs)
    for node, own in enumerate(state.nodes):
        own[f.ENTRY] = (own[f.ROUTER] * ports + own[f.PORT]) * vcs
        own[f.PACKET] = own[f.LAST_VC] = -1
        state.outs[own[f.ENTRY] + channel, f.BEYOND] = node * vcs + channel
        state.vcs[own[f.ENTRY] + channel, f.UPSTREAM] = node * vcs + channel
