"""Routes as kernels see them: the next link, the end of a link, whole ways, distances.

A router has `LINKS` links to others, numbered from 0; link d of router r is `LINKS r + d` in the
whole network. In a grid (mesh, torus, concentrated mesh, ring) there are four: 0 +x, 1 -x, 2 +y,
3 -y; those over the edge of a mesh have a number and are never used.

Routes of a grid are in closed form, because it may have a million routers: dimension order, x
first. In a torus and a ring the shorter way round is taken; where both are equally long, packets
of a torus leave even coordinates upwards and odd ones downwards, those of a ring go upwards. All
other networks have tables, which `cimsim.chip.topology` makes. Either way the route to a router
depends only on where a packet is and where it goes, and the routes from a router are a tree, so
that a multicast and a reduction are trees too.

Several chips have equal networks that no route joins: their routers are numbered one chip after
the other, rows through, so that router r of a grid is at row r // width in all chips.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from cimsim.kernel_cache import cached

__all__ = [
    "ALTERNATE", "CHIP", "CLASSES", "HEIGHT", "LINKS", "ROUTERS", "UPWARDS", "WIDTH", "WRAP",
    "Routes", "channel_class", "fill_distances", "fill_next", "fill_way", "link_end",
    "longest_way", "next_link", "next_port", "router_distance",
]  # fmt: skip

Int64 = npt.NDArray[np.int64]

# Entries of Routes.geometry.
WRAP, WIDTH, HEIGHT, ROUTERS, CHIP, LINKS, CLASSES = range(7)
# Values of WRAP: no ring is closed; which way round goes where both are equally long.
ALTERNATE, UPWARDS = 1, 2

_OPTIONS: dict[str, Any] = {"_nrt": False}  # as `cimsim.engine.noc.kernel` says


class Routes(NamedTuple):
    """Routes of a network.

    Attributes:
        geometry: [7], whether rings are closed; columns and rows of a chip's grid; routers
            of all chips and of one; links of a router; classes of virtual channels.
        onward: [r, r], link from a router of a chip on the way to another, -1 to itself; empty
            for a grid, as the others.
        ends: [r LINKS], router at the end of a link, -1 where there is none.
        layer: [r], class of the virtual channels that packets of a router use.
    """

    geometry: Int64
    onward: Int64
    ends: Int64
    layer: Int64


@cached
@njit(**_OPTIONS)
def _step(wrap: int, here: int, there: int, size: int) -> int:
    """Return 1 or -1: which way a packet goes along a row or column."""
    if wrap == 0:
        return 1 if there > here else -1
    ahead = (there - here) % size
    if 2 * ahead == size:
        return 1 if wrap == UPWARDS or here % size % 2 == 0 else -1
    return 1 if 2 * ahead < size else -1


@cached
@njit(**_OPTIONS)
def _direction(geometry: Int64, router: int, target: int) -> int:
    """Return the direction of the next hop in a grid, -1 at the target."""
    width = geometry[WIDTH]
    here, there = router % width, target % width
    if here != there:
        return 0 if _step(geometry[WRAP], here, there, width) > 0 else 1
    here, there = router // width, target // width
    if here != there:
        return 2 if _step(geometry[WRAP], here, there, geometry[HEIGHT]) > 0 else 3
    return -1


@cached
@njit(**_OPTIONS)
def _neighbour(geometry: Int64, router: int, direction: int) -> int:
    """Return the router in a direction of a grid, -1 over a mesh's edge."""
    width, height = geometry[WIDTH], geometry[HEIGHT]
    local = router % (width * height)
    x, y = local % width, local // width
    if direction < 2:
        x += 1 - 2 * direction
    else:
        y += 1 - 2 * (direction - 2)
    if geometry[WRAP] == 0:
        if x < 0 or y < 0 or x >= width or y >= height:
            return -1
        return int(router - local + y * width + x)
    return int(router - local + (y % height) * width + x % width)


@cached
@njit(**_OPTIONS)
def next_port(routes: Routes, router: int, target: int) -> int:
    """Return which link of a router a packet to another takes, -1 at the target."""
    geometry = routes.geometry
    if routes.onward.size > 0:
        local = router % geometry[CHIP]
        link = routes.onward[local, target - router + local]
        return int(link if link < 0 else link - local * geometry[LINKS])
    return int(_direction(geometry, router, target))


@cached
@njit(**_OPTIONS)
def next_link(routes: Routes, router: int, target: int) -> int:
    """Return the number of the link that a packet to a router takes at another, or -1 there."""
    port = next_port(routes, router, target)
    return int(port if port < 0 else router * routes.geometry[LINKS] + port)


@cached
@njit(**_OPTIONS)
def link_end(routes: Routes, link: int) -> int:
    """Return the router that a link leads to, -1 over a mesh's edge."""
    geometry = routes.geometry
    if routes.onward.size > 0:
        links = geometry[LINKS]
        chip = geometry[CHIP]
        router = link // links
        first = router - router % chip
        end = routes.ends[link - first * links]
        return int(end if end < 0 else end + first)
    return int(_neighbour(geometry, link // 4, link % 4))


@cached
@njit(**_OPTIONS)
def _leg(
    wrap: int,
    router: int,
    here: int,
    there: int,
    size: int,
    stride: int,
    axis: int,
    way: Int64,
    n: int,
) -> int:
    """Write the links along a row (axis 0) or column (axis 2) behind n others; return how many."""
    if here == there:
        return n
    step = _step(wrap, here, there, size)
    direction = axis if step > 0 else axis + 1
    while here != there:
        way[n] = 4 * router + direction
        n += 1
        here += step
        router += step * stride
        if here == size:
            here, router = 0, router - size * stride
        elif here < 0:
            here, router = size - 1, router + size * stride
    return n


@cached
@njit(**_OPTIONS)
def longest_way(routes: Routes) -> int:
    """Return a number of links that no way exceeds."""
    geometry = routes.geometry
    if routes.onward.size > 0:
        return int(geometry[CHIP])
    return int(geometry[WIDTH] + geometry[HEIGHT])


@cached
@njit(**_OPTIONS)
def fill_way(routes: Routes, start: int, end: int, way: Int64) -> int:
    """Write the links from one router of a chip to another, in order; return how many.

    Args:
        routes: the network.
        start: first router.
        end: last router.
        way: out, at least as long as the longest way.
    """
    geometry = routes.geometry
    if routes.onward.size > 0:
        links = geometry[LINKS]
        first = start - start % geometry[CHIP]
        here, there, n = start - first, end - first, 0
        while here != there:
            link = routes.onward[here, there]
            way[n] = link + first * links
            n += 1
            here = routes.ends[link]
        return int(n)
    width, height, wrap = geometry[WIDTH], geometry[HEIGHT], geometry[WRAP]
    x, y, to_x, to_y = start % width, start // width, end % width, end // width
    n = _leg(wrap, start, x, to_x, width, 1, 0, way, 0)
    row = y - y % height  # first of the chip
    return int(_leg(wrap, start - x + to_x, y - row, to_y - row, height, width, 2, way, n))


@cached
@njit(**_OPTIONS)
def router_distance(routes: Routes, start: int, end: int) -> int:
    """Return the number of links on the way from one router of a chip to another."""
    geometry = routes.geometry
    if routes.onward.size > 0:
        hops = 0
        while start != end:
            start = link_end(routes, next_link(routes, start, end))
            hops += 1
        return int(hops)
    width, height = geometry[WIDTH], geometry[HEIGHT]
    dx = abs(end % width - start % width)
    dy = abs(end // width - start // width)
    if geometry[WRAP] != 0:
        dx = min(dx, width - dx)
        dy = min(dy, height - dy)
    return int(dx + dy)


@cached
@njit(**_OPTIONS)
def channel_class(routes: Routes, source: int, link: int) -> int:
    """Return the class of virtual channels that a packet takes on a link.

    In a torus and a ring it is 1 from the wrap-around link of a dimension on, the *dateline*
    (Dally and Seitz, IEEE Transactions on Computers C-36(5), 1987), 0 before; elsewhere it is
    the layer of the router at which the packet entered.

    Args:
        routes: the network.
        source: router at which the packet entered.
        link: the link.
    """
    geometry = routes.geometry
    if geometry[WRAP] == 0:
        return int(routes.layer[source]) if routes.layer.size > 0 else 0
    router, direction = link // 4, link % 4
    width = geometry[WIDTH]
    if direction < 2:
        size, start, here = width, source % width, router % width
    else:  # rows of several chips are numbered through
        size = geometry[HEIGHT]
        start, here = source // width % size, router // width % size
    if direction % 2 == 0:
        return int((here + 1) % size < start)
    return int((here - 1) % size > start)


@cached
@njit(**_OPTIONS)
def fill_next(routes: Routes, table: Int64) -> None:
    """Write the router after each on the way to each other into a table, [routers, routers]."""
    for router in range(table.shape[0]):
        for target in range(table.shape[1]):
            link = next_link(routes, router, target)
            table[router, target] = router if link < 0 else link_end(routes, link)


@cached
@njit(**_OPTIONS)
def fill_distances(routes: Routes, routers: Int64, table: Int64) -> None:
    """Write the distances between some routers of a chip into a table, [n, n]."""
    for a in range(routers.size):
        for b in range(routers.size):
            table[a, b] = router_distance(routes, routers[a], routers[b])
