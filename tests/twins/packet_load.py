"""Synthetic traffic on the packet-level network, to compare it with the flit-level one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cimsim.chip.topology import Topology
from cimsim.engine.noc.flit_state import FlitTraffic, flit_traffic
from cimsim.engine.noc.kernel import kernel
from cimsim.engine.noc.packet import NocTiming, PacketState, packet_state, send
from cimsim.engine.noc.traffic import Traffic, destination, starts_packet

__all__ = ["packet_latency"]


@kernel
def _drive(state: PacketState, traffic: FlitTraffic, cycles: int, warmup: int) -> tuple[int, int]:
    """Send every packet that starts in these cycles; return latencies' sum and number."""
    total = count = 0
    for cycle in range(cycles):
        for node in range(state.nodes.size):
            if starts_packet(traffic.seed, node, cycle, traffic.threshold):
                target = destination(
                    traffic.seed,
                    node,
                    cycle,
                    state.nodes.size,
                    traffic.fixed,
                    traffic.hot_nodes,
                    traffic.hot_limits,
                )
                arrival = send(state, cycle, node, target, traffic.packet_flits)
                if cycle >= warmup:
                    total += arrival - cycle
                    count += 1
    return total, count


def packet_latency(
    shape: Topology, traffic: Traffic, cycles: int, warmup_cycles: int
) -> tuple[float, npt.NDArray[np.float64]]:
    """Return the mean packet latency in cycles, and the utilisation of every link.

    Args:
        shape: routers, nodes and links.
        traffic: pattern, rate, packet length and seed.
        cycles: cycles in which packets start.
        warmup_cycles: cycles whose packets are not counted.
    """
    state = packet_state(shape, NocTiming(flit_bytes=1, cycle_ps=1))
    total, count = _drive(state, flit_traffic(shape, traffic), cycles, warmup_cycles)
    return total / max(count, 1), state.used[:, 0] / cycles
