"""The nodes of a flit-level network: packets start, enter, leave and are counted.

Inlined where they are small, like the kernels of `flit`.
"""

from __future__ import annotations

import cimsim.engine.noc.flit_state as f
from cimsim.engine.noc.flit_state import FlitState, FlitTraffic
from cimsim.engine.noc.kernel import inlined, kernel
from cimsim.engine.noc.traffic import destination, starts_packet

__all__ = ["choose_channel", "eject", "inject", "log_flit", "post", "take_flit"]


@inlined
def post(state: FlitState, time: int, kind: int, row: int, flit: int) -> None:
    """Let a flit (or, with flit -1, a credit) reach a row at `time`."""
    bucket = time % state.due.shape[0]
    k = state.due[bucket, kind]
    state.arrivals[bucket, kind, k, 0] = row
    state.arrivals[bucket, kind, k, 1] = flit
    state.due[bucket, kind] = k + 1


@inlined
def log_flit(state: FlitState, time: int, node: int, name: int, place: int, kind: int) -> None:
    """Note a flit that reached a node, while the log has room.

    Args:
        state: the network; `state.log` is changed.
        time: the cycle.
        node: which it reached.
        name: what tells its packet from others, as does `place`.
        place: see `name`.
        kind: 2 * head + tail.
    """
    entry = state.totals[f.LOGGED]
    if entry < state.log.shape[0]:
        state.log[entry, 0] = time
        state.log[entry, 1] = node
        state.log[entry, 2] = name
        state.log[entry, 3] = place
        state.log[entry, 4] = kind
        state.totals[f.LOGGED] = entry + 1


@inlined
def take_flit(state: FlitState, time: int, row: int, vcs: int) -> int:
    """Take a flit out at its node, return the credit, and return the node."""
    node = row // vcs
    out = state.nodes[node, f.ENTRY] + row % vcs
    post(state, time + state.delays[f.CREDIT_TO_ROUTER], f.ROUTER_CREDIT, out, -1)
    state.totals[f.EJECTED_FLITS] += 1
    state.totals[f.LAST_MOVE] = time
    return int(node)


@kernel
def eject(state: FlitState, time: int, vcs: int) -> None:
    """Take the flits out that reach their nodes, return credits, count what is measured."""
    bucket, totals = time % state.due.shape[0], state.totals
    for k in range(state.due[bucket, f.TO_NODE]):
        row = state.arrivals[bucket, f.TO_NODE, k, 0]
        flit = state.arrivals[bucket, f.TO_NODE, k, 1]
        packet, node = flit >> 2, take_flit(state, time, row, vcs)
        source, created = state.packets[packet, f.SOURCE], state.packets[packet, f.CREATED]
        log_flit(state, time, node, source, created, flit & 3)
        if flit & 1:
            if state.packets[packet, f.MEASURED] != 0:
                latency = time - state.packets[packet, f.CREATED]
                totals[f.DONE_PACKETS] += 1
                totals[f.LATENCY_SUM] += latency
                totals[f.HOPS_SUM] += state.packets[packet, f.HOPS]
                state.latencies[min(latency, state.latencies.size - 1)] += 1
            state.free[totals[f.FREE]] = packet
            totals[f.FREE] += 1
    state.due[bucket, f.TO_NODE] = 0


@inlined
def _create(state: FlitState, traffic: FlitTraffic, node: int, cycle: int) -> None:
    """Put the packet that `node` starts in `cycle` at the head of its source queue."""
    totals = state.totals
    totals[f.FREE] -= 1
    packet = state.free[totals[f.FREE]]
    state.nodes[node, f.PACKET] = packet
    state.nodes[node, f.FLITS_SENT] = 0
    state.nodes[node, f.VC] = -1
    state.packets[packet, f.SOURCE] = node
    state.packets[packet, f.CREATED] = cycle
    state.packets[packet, f.HOPS] = 0
    state.packets[packet, f.TARGET] = destination(
        traffic.seed,
        node,
        cycle,
        state.nodes.shape[0],
        traffic.fixed,
        traffic.hot_nodes,
        traffic.hot_limits,
    )
    measured = totals[f.MEASURE_FROM] <= cycle < totals[f.MEASURE_TO]
    state.packets[packet, f.MEASURED] = 1 if measured else 0
    totals[f.CREATED_PACKETS] += 1 if measured else 0


@inlined
def choose_channel(state: FlitState, node: int, vcs: int) -> None:
    """Take the next injection channel, round robin, that is free and has a credit."""
    last = state.nodes[node, f.LAST_VC]
    for step in range(1, vcs + 1):
        vc = (last + step) % vcs
        row = node * vcs + vc
        if state.node_vcs[row, f.IN_USE] == 0 and state.node_vcs[row, f.CREDITS] > 0:
            state.node_vcs[row, f.IN_USE] = 1
            state.nodes[node, f.VC] = vc
            state.nodes[node, f.LAST_VC] = vc
            break


@kernel
def inject(state: FlitState, traffic: FlitTraffic, time: int, vcs: int) -> None:
    """Let every node take its credits, start packets, and send one flit if it can.

    A node examines its cycles in order, one packet at a time: the source queue is where it
    lags behind the clock.
    """
    bucket, nodes = time % state.due.shape[0], state.nodes
    for k in range(state.due[bucket, f.NODE_CREDIT]):
        state.node_vcs[state.arrivals[bucket, f.NODE_CREDIT, k, 0], f.CREDITS] += 1
    state.due[bucket, f.NODE_CREDIT] = 0
    for node in range(nodes.shape[0]):
        while nodes[node, f.PACKET] < 0 and nodes[node, f.NEXT_TRIAL] <= time:
            cycle = nodes[node, f.NEXT_TRIAL]
            nodes[node, f.NEXT_TRIAL] = cycle + 1
            if starts_packet(traffic.seed, node, cycle, traffic.threshold):
                _create(state, traffic, node, cycle)
        if nodes[node, f.PACKET] < 0:
            continue
        if nodes[node, f.VC] < 0:
            choose_channel(state, node, vcs)
        vc = nodes[node, f.VC]
        if vc < 0 or state.node_vcs[node * vcs + vc, f.CREDITS] == 0:
            continue
        sent = nodes[node, f.FLITS_SENT] + 1
        tail = sent == traffic.packet_flits
        flit = nodes[node, f.PACKET] * 4 + (2 if sent == 1 else 0) + (1 if tail else 0)
        post(state, time + state.delays[f.INJECT], f.TO_ROUTER, nodes[node, f.ENTRY] + vc, flit)
        nodes[node, f.FLITS_SENT] = sent
        state.node_vcs[node * vcs + vc, f.CREDITS] -= 1
        state.totals[f.INJECTED_FLITS] += 1
        state.totals[f.LAST_MOVE] = time
        if tail:
            state.node_vcs[node * vcs + vc, f.IN_USE] = 0
            nodes[node, f.PACKET] = -1
