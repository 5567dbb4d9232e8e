"""Moving vectors through a system: inside a chip (`trains`), and from chip to chip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.between_chips import reduce_between, scatter_between, send_between
from cimsim.engine.network import Network
from cimsim.engine.noc.kernel import inlined, inner
from cimsim.engine.trains import reduce_local, scatter_local, send_local

__all__ = ["reduce_train", "scatter_trains", "send_train"]

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]


@inner
def send_train(
    net: Network, first_ps: int, last_ps: int, source: int, target: int, flits: int, vectors: int
) -> int:
    """Send the vectors of one visit and return when the last flit arrives.

    Args:
        net: the network.
        first_ps: when the first vector is ready.
        last_ps: when the last vector is ready.
        source: sending port.
        target: receiving port.
        flits: flits per vector.
        vectors: how many.
    """
    if net.chip[source] == net.chip[target]:
        return send_local(net, first_ps, last_ps, source, target, flits, vectors)
    return send_between(net, net.after, first_ps, last_ps, source, target, flits, vectors)


@inner
def _is_local(net: Network, port: int, others: Int64, count: int) -> bool:
    if net.gateway.size == 1:
        return True
    chip = net.chip[port]
    away = 0
    for k in range(count):
        away += net.chip[others[k]] != chip
    return away == 0


@inlined
def scatter_trains(
    net: Network,
    now_ps: int,
    source: int,
    targets: Int64,
    masks: UInt64,
    count: int,
    flits: int,
    firsts_ps: Int64,
    arrivals_ps: Int64,
) -> None:
    """Send the vectors of a flight from one port to several, each token once per link.

    Args:
        net: the network.
        now_ps: when the vectors are ready.
        source: sending port.
        targets: [>= count], receiving ports.
        masks: [>= count, words], tokens that each target takes.
        count: number of targets.
        flits: flits per vector.
        firsts_ps: out, [>= count], when all of the first vector is at each target.
        arrivals_ps: out, [>= count], when the last flit reaches each target.
    """
    if _is_local(net, source, targets, count):
        scatter_local(
            net, now_ps, now_ps, source, targets, masks, count, flits, firsts_ps, arrivals_ps
        )
    else:
        scatter_between(
            net, net.after, now_ps, source, targets, masks, count, flits, firsts_ps, arrivals_ps
        )


@inlined
def reduce_train(
    net: Network,
    first_ps: Int64,
    last_ps: Int64,
    sources: Int64,
    masks: UInt64,
    count: int,
    target: int,
    flits: int,
) -> int:
    """Add the results of several visits on their way to one port; return the last arrival.

    Args:
        net: the network.
        first_ps: [>= count], when the first result of each source is ready.
        last_ps: [>= count], when its last one is.
        sources: [>= count], sending ports.
        masks: [>= count, words], tokens of each source.
        count: number of sources.
        target: receiving port.
        flits: flits per vector.
    """
    if _is_local(net, target, sources, count):
        return reduce_local(net, first_ps, last_ps, sources, masks, count, target, flits)
    return reduce_between(net, net.after, first_ps, last_ps, sources, masks, count, target, flits)
