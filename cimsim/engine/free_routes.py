"""Routes in closed form, where links are not contended: time, and what links carry.

`trains` walks every link; without contention on a grid of open rows that only adds up
constants, so these kernels count where a train starts and ends to use a row or column, and
`network.settle` sums that up. A test holds them against the walk.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.routes import ROUTERS, WIDTH
from cimsim.engine.network import Network
from cimsim.engine.noc.kernel import inner
from cimsim.engine.noc.packet import (
    BUSY_PS,
    CYCLE_PS,
    FLITS,
    INTERFACE_PS,
    LINK_PS,
    PACKETS,
    ROUTER_PS,
)

__all__ = ["reduce_free", "scatter_free", "send_free"]

Int64 = NDArray[np.int64]


@inner
def _port_use(net: Network, link: int, flits: int) -> None:
    used = net.packet.used[link]
    used[BUSY_PS] += flits * net.packet.config[CYCLE_PS]
    used[FLITS] += flits
    used[PACKETS] += 1


@inner
def _row_use(net: Network, y: int, start: int, end: int, flits: int) -> None:
    """Count a train along row y, from column `start` to column `end`."""
    if start == end:
        return
    direction, low, high = (0, start, end) if end > start else (1, end + 1, start + 1)
    for quantity, amount in ((0, flits), (1, 1)):
        net.spans[quantity, direction, y, low] += amount
        net.spans[quantity, direction, y, high] -= amount


@inner
def _column_use(net: Network, x: int, start: int, end: int, flits: int) -> None:
    """Count a train along column x, from row `start` to row `end`."""
    if start == end:
        return
    direction, low, high = (2, start, end) if end > start else (3, end + 1, start + 1)
    for quantity, amount in ((0, flits), (1, 1)):
        net.spans[quantity, direction, low, x] += amount
        net.spans[quantity, direction, high, x] -= amount


@inner
def scatter_free(
    net: Network,
    now_ps: int,
    source: int,
    targets: Int64,
    count: int,
    flits: int,
    arrivals_ps: Int64,
) -> None:
    """`scatter_trains` of one token where links are not contended, in closed form."""
    config = net.packet.config
    geometry = net.packet.routes.geometry
    width, base = geometry[WIDTH], 4 * geometry[ROUTERS]
    hop_ps = config[ROUTER_PS] + config[LINK_PS]
    router = net.router[source]
    x, y = router % width, router // width
    net.flags[1] += 1
    epoch = net.flags[1]
    _port_use(net, base + 2 * source, flits)
    leave = now_ps + config[INTERFACE_PS] + config[LINK_PS] + (flits - 1) * config[CYCLE_PS]
    west = east = x
    for k in range(count):
        router = net.router[targets[k]]
        tx, ty = router % width, router // width
        arrivals_ps[k] = leave + (abs(tx - x) + abs(ty - y) + 1) * hop_ps
        west, east = min(west, tx), max(east, tx)
        eject = base + 2 * targets[k] + 1
        if net.mark[eject] != epoch:
            net.mark[eject] = epoch
            _port_use(net, eject, flits)
        if net.mark[tx] != epoch:  # columns: the rows that the tree reaches in each
            net.mark[tx] = epoch
            net.head[tx] = net.tail[tx] = y
        net.head[tx], net.tail[tx] = min(net.head[tx], ty), max(net.tail[tx], ty)
    _row_use(net, y, x, east, flits)
    _row_use(net, y, x, west, flits)
    for k in range(count):
        tx = net.router[targets[k]] % width
        if net.mark[tx] == epoch:
            net.mark[tx] = 0
            _column_use(net, tx, y, net.tail[tx], flits)
            _column_use(net, tx, y, net.head[tx], flits)


@inner
def reduce_free(
    net: Network, last_ps: Int64, sources: Int64, count: int, target: int, flits: int
) -> int:
    """`reduce_train` of one token where links are not contended, in closed form."""
    config = net.packet.config
    geometry = net.packet.routes.geometry
    width, base = geometry[WIDTH], 4 * geometry[ROUTERS]
    hop_ps = config[ROUTER_PS] + config[LINK_PS]
    router = net.router[target]
    tx, ty = router % width, router // width
    net.flags[1] += 1
    epoch = net.flags[1]
    rest = config[INTERFACE_PS] + config[LINK_PS] + (flits - 1) * config[CYCLE_PS]
    arrival = np.int64(0)
    low = high = ty
    for k in range(count):
        router = net.router[sources[k]]
        x, y = router % width, router // width
        arrival = max(arrival, last_ps[k] + rest + (abs(tx - x) + abs(ty - y) + 1) * hop_ps)
        low, high = min(low, y), max(high, y)
        _port_use(net, base + 2 * sources[k], flits)
        if net.mark[y] != epoch:  # rows: the columns that the tree comes from in each
            net.mark[y] = epoch
            net.head[y] = net.tail[y] = tx
        net.head[y], net.tail[y] = min(net.head[y], x), max(net.tail[y], x)
    _column_use(net, tx, low, ty, flits)
    _column_use(net, tx, high, ty, flits)
    for k in range(count):
        y = net.router[sources[k]] // width
        if net.mark[y] == epoch:
            net.mark[y] = 0
            _row_use(net, y, net.head[y], tx, flits)
            _row_use(net, y, net.tail[y], tx, flits)
    _port_use(net, base + 2 * target + 1, flits)
    return int(arrival)


@inner
def send_free(net: Network, depart_ps: int, source: int, target: int, total: int) -> int:
    """`send_train` where links are not contended, in closed form."""
    config = net.packet.config
    geometry = net.packet.routes.geometry
    width, base = geometry[WIDTH], 4 * geometry[ROUTERS]
    hop_ps = config[ROUTER_PS] + config[LINK_PS]
    x, y = net.router[source] % width, net.router[source] // width
    tx, ty = net.router[target] % width, net.router[target] // width
    _port_use(net, base + 2 * source, total)
    _row_use(net, y, x, tx, total)
    _column_use(net, tx, y, ty, total)
    _port_use(net, base + 2 * target + 1, total)
    cycles = (total - 1) * config[CYCLE_PS]
    hops = abs(tx - x) + abs(ty - y) + 1
    return int(depart_ps + config[LINK_PS] + cycles + hops * hop_ps)
